//! Pushing to a real registry: what is sent and what is not, and what others read there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fixture::registry::{self, Own};
use crate::fixture::{layout, tool};
use crate::harness::Live;

/// A registry of the test's own.
fn shelf(live: &Live) -> String {
    registry::own(&live.dir.join("registry"), &Own::default()).expect("a registry")
}

/// The document that a name means, as skopeo reads it.
fn raw(image: &str) -> String {
    tool("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]).expect("skopeo inspect")
}

/// Requests that `--debug` told of, by method.
fn requests<'a>(said: &'a str, method: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.contains(&format!("{method} 127.0.0.1"))).collect()
}

#[test]
fn what_is_pushed_is_what_was_pulled() {
    let Some(live) = Live::new() else { return };
    let shelf = shelf(&live);
    for name in ["layered", "busybox-zstd", "busybox-schema2"] {
        let image = live.image(name);
        live.pybox(["pull", &image]).ok();
        let there = format!("{shelf}/some/{name}:v1");
        let pushed = live.pybox(["push", &image, &there]).run().exits(0);
        assert_eq!(pushed.text(), there);
        let digest = format!("digest: sha256:{}", layout::sha256(raw(&there).as_bytes()));
        assert!(pushed.stderr.contains(&digest), "{pushed}");
        assert_eq!(raw(&there), raw(&image), "{name}");
        // All of it: skopeo checks every digest on its way.
        let copy = live.dir.join(format!("copy-{name}"));
        let source = format!("docker://{there}");
        let arguments = ["copy", "-q", "--insecure-policy", "--src-tls-verify=false", &source];
        tool("skopeo", &[&arguments[..], &[&format!("dir:{}", copy.display())]].concat()).expect("skopeo copy");
        live.pybox(["rmi", &image]).ok();
        live.pybox(["pull", &there]).ok();
        assert!(live.pybox(["run", "--rm", &there, "cat", "/etc/os-release"]).ok().contains("ID=busybox"));
        live.pybox(["rmi", &there]).ok();
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let Some(live) = Live::new() else { return };
    let (shelf, image) = (shelf(&live), live.image("layered"));
    live.pybox(["pull", &image]).ok();
    let one = format!("{shelf}/team/one:1");
    live.pybox(["tag", &image, &one]).ok();
    live.pybox(["push", &one]).ok();
    let again = live.pybox(["--debug", "push", &one]).run().exits(0);
    assert!(requests(&again.stderr, "POST").is_empty() && requests(&again.stderr, "PATCH").is_empty(), "{again}");
    assert_eq!(requests(&again.stderr, "PUT").len(), 1, "the manifest alone: {again}");
    assert_eq!(again.stderr.matches("already there").count(), 4, "{again}");
    // Another repository of the registry has the layers already.
    let two = format!("{shelf}/team/two:1");
    let mounted = live.pybox(["--debug", "push", &one, &two]).run().exits(0);
    assert_eq!(mounted.stderr.matches("mounted from team/one").count(), 3, "{mounted}");
    assert_eq!(raw(&two), raw(&one));
    // Its name by digest is known now, and goes with its tag.
    let digests = live.pybox(["inspect", "--format", "{{join .RepoDigests \" \"}}", &one]).ok();
    assert!(digests.contains(&format!("{shelf}/team/one@sha256:")), "{digests}");
    assert!(!digests.contains("team/two"), "{digests}");
}

#[test]
fn several_tags_and_all_tags() {
    let Some(live) = Live::new() else { return };
    let (shelf, image) = (shelf(&live), live.image("busybox"));
    live.pybox(["pull", &image]).ok();
    let names: Vec<String> = ["a:1", "a:2", "b"].iter().map(|name| format!("{shelf}/{name}")).collect();
    let said = live.pybox([&["push".to_owned(), image.clone()][..], &names].concat()).ok();
    assert_eq!(said, format!("{}\n{}\n{}:latest", names[0], names[1], names[2]));
    for name in &names {
        assert_eq!(raw(name), raw(&image));
    }
    for tag in ["x", "y"] {
        live.pybox(["tag", &image, &format!("{shelf}/all:{tag}")]).ok();
    }
    let all = format!("{shelf}/all");
    assert_eq!(live.pybox(["push", "--quiet", "--all-tags", &all]).ok(), format!("{all}:x\n{all}:y"));
    assert_eq!(raw(&format!("{all}:y")), raw(&image));
    let moved = format!("{shelf}/elsewhere");
    assert_eq!(live.pybox(["push", "-qa", &all, &moved]).ok(), format!("{moved}:x\n{moved}:y"));
    let id = live.pybox(["images", "-q", &image]).ok();
    live.pybox(["push", &id]).run().refuses(1, "says not where to push to");
    live.pybox(["push", "-q", &id, &format!("{shelf}/by-id:1")]).ok();
    live.pybox(["push", "-a", &format!("{all}:x")]).run().refuses(1, "is one tag");
    live.pybox(["push", "nosuch:1"]).run().refuses(1, "nosuch:1");
}

#[test]
fn an_image_of_several_platforms_stays_one() {
    let Some(live) = Live::new() else { return };
    let (shelf, image) = (shelf(&live), live.image("busybox-multi"));
    live.pybox(["pull", &image]).ok();
    let alone = format!("{shelf}/alone:1");
    live.pybox(["push", &image, &alone]).run().exits(0).says("is pushed alone");
    assert!(raw(&alone).contains("\"layers\""), "{}", raw(&alone));
    live.pybox(["pull", "--platform", &format!("linux/{}", layout::foreign()), &image]).ok();
    live.pybox(["pull", &image]).ok();
    let whole = format!("{shelf}/whole:1");
    live.pybox(["push", &image, &whole]).ok();
    assert_eq!(raw(&whole), raw(&image));
    let source = format!("docker://{whole}");
    let copy = format!("dir:{}", live.dir.join("copy").display());
    tool("skopeo", &["copy", "-q", "--all", "--insecure-policy", "--src-tls-verify=false", &source, &copy])
        .expect("all of it");
    // One platform is here, and the registry has the other: the index is whole there.
    let mut other = Live::new().expect("another world");
    other.store = other.dir.join("other");
    other.pybox(["pull", &whole]).ok();
    other.pybox(["push", &whole, &format!("{shelf}/whole:2")]).ok();
    assert_eq!(raw(&format!("{shelf}/whole:2")), raw(&image));
}

/// Where a connection breaks: at the chunk with this number, when so much of it has gone.
#[derive(Clone, Copy)]
struct Break {
    chunk: usize,
    after: usize,
}

/// Passes bytes on to a registry, and breaks a connection once; the address, and how many bytes went.
fn breaker(registry: &str, at: Break) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (registry, chunks, bytes) = (registry.to_owned(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let passed = Arc::clone(&bytes);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&registry).expect("the registry");
            let (mut back, mut out) = (server.try_clone().expect("clone"), client.try_clone().expect("clone"));
            std::thread::spawn(move || std::io::copy(&mut back, &mut out).ok());
            let (chunks, bytes) = (Arc::clone(&chunks), Arc::clone(&bytes));
            std::thread::spawn(move || pass(client, server, (&chunks, &bytes), at));
        }
    });
    (address, passed)
}

fn pass(mut from: TcpStream, mut to: TcpStream, (chunks, bytes): (&AtomicUsize, &AtomicUsize), at: Break) {
    let mut buffer = vec![0; 64 << 10];
    let mut left = None;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if buffer.starts_with(b"PATCH ") && chunks.fetch_add(1, Ordering::SeqCst) == at.chunk {
            left = Some(at.after);
        }
        let breaks = left.is_some_and(|left| left < count);
        left = left.map(|left| left.saturating_sub(count));
        if breaks || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        bytes.fetch_add(count, Ordering::SeqCst);
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

/// The largest blob of the store.
fn largest(live: &Live) -> u64 {
    let blobs = std::fs::read_dir(live.root().join("images/blobs/sha256")).expect("blobs").flatten();
    blobs.map(|entry| entry.metadata().expect("stat").len()).max().expect("a blob")
}

#[test]
fn a_push_over_a_connection_that_breaks_goes_on() {
    let Some(live) = Live::new() else { return };
    let (shelf, image) = (shelf(&live), live.debian());
    live.pybox(["pull", &image]).within(120).ok();
    let size = largest(&live);
    assert!(size > 17 << 20, "the image is to have a layer of more than one chunk: {size}");
    // Between two chunks this registry remembers an upload: the first chunk does not go twice. Within one it forgets.
    for (name, after, most) in [("between", 0, size + (1 << 20)), ("within", 1 << 20, 2 * size)] {
        let (proxy, passed) = breaker(&shelf, Break { chunk: 1, after });
        let broken = live.pybox(["push", &image, &format!("{proxy}/{name}:1")]).within(120).run().exits(0);
        assert!(broken.stderr.contains("attempt 2"), "{name}: {broken}");
        // What else went are headers and small blobs.
        let passed = passed.load(Ordering::SeqCst) as u64;
        assert!(passed < most, "{name}: {passed} bytes went for a blob of {size}");
        assert_eq!(raw(&format!("{shelf}/{name}:1")), raw(&image), "{name}");
    }
}

#[test]
fn a_push_that_was_killed_is_done_by_the_next() {
    let Some(live) = Live::new() else { return };
    let (shelf, image) = (shelf(&live), live.debian());
    live.pybox(["pull", &image]).within(120).ok();
    let there = format!("{shelf}/killed:1");
    for milliseconds in [30, 100, 200] {
        let running = live.pybox(["push", &image, &there]).start();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        nix::sys::signal::killpg(running.pid(), nix::sys::signal::Signal::SIGKILL).ok();
        running.wait();
    }
    let running = live.pybox(["push", &image, &there]).start();
    std::thread::sleep(std::time::Duration::from_millis(60));
    running.signal(nix::sys::signal::Signal::SIGINT);
    let interrupted = running.wait();
    assert!(matches!(interrupted.code, Some(130 | 0)), "{interrupted}");
    live.pybox(["push", &image, &there]).within(120).ok();
    assert_eq!(raw(&there), raw(&image));
    // Nothing keeps the image any more.
    live.pybox(["rmi", &image]).ok();
    assert_eq!(blobs(&live.root()), 0);
}

fn blobs(root: &Path) -> usize {
    std::fs::read_dir(root.join("images/blobs/sha256")).into_iter().flatten().count()
}

#[test]
fn refusals_say_what_to_do() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    // The shared registry is read-only.
    live.pybox(["push", &image, &live.image("new:1")]).run().refuses(1, "it answers 405");
    live.pybox(["push", &image, "127.0.0.1:1/x:1"]).run().refuses(1, "reach the registry");
    live.pybox(["push", &image, "nosuch.invalid/x:1"]).run().refuses(1, "reach the registry");
    let digest = format!("127.0.0.1:1/x@sha256:{}", "0".repeat(64));
    live.pybox(["push", &image, &digest]).run().refuses(1, "has a digest");
    live.pybox(["push", &image, "Bad Name"]).run().refuses(1, "invalid image reference");
}
