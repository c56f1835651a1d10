//! ^C at a build, whatever it is doing: it ends at once, with 130, and takes along all that it has started.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::build::{build, context, says};
use crate::harness::{Live, Running};

/// Waits for what has to come about first.
fn awaits(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(40), "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends the signal; it has to end soon, and leave nothing.
#[track_caller]
fn ends(live: &Live, running: Running, signal: Signal) {
    let asked = Instant::now();
    running.signal(signal);
    let end = running.wait().exits(130).says("interrupted");
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}: {end}", asked.elapsed());
    assert!(!end.stderr.contains("panicked"), "{end}");
    assert_eq!(live.leftovers(), Vec::<String>::new(), "{end}");
    let ingest = fs::read_dir(live.root().join("images/ingest")).into_iter().flatten().flatten();
    let halves: Vec<_> = ingest.map(|entry| entry.file_name()).filter(|name| !is_lock(name)).collect();
    assert!(halves.iter().all(|name| !name.to_string_lossy().contains(".partial-")), "{halves:?}");
}

fn is_lock(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().ends_with(".lock")
}

#[test]
fn a_command_ends_and_finished_steps_stay() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    // Deaf, and with children that are deaf, too.
    let deaf = "trap '' INT TERM HUP; (trap '' INT TERM HUP; sleep 301) & echo begun; sleep 300";
    let context = context(
        &live,
        "context",
        &[("Dockerfile", &format!("FROM {base}\nRUN echo kept > /kept\nCOPY file /file\nRUN {deaf}\n")), ("file", "f")],
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let running = build(&live, &context, &["-t", "x"]).start();
        awaits("the third step", || {
            let steps = fs::read_dir(live.root().join("cache/layers")).into_iter().flatten().count();
            let bundles = fs::read_dir(live.root().join("containers")).into_iter().flatten().flatten();
            steps == 2 && bundles.filter(|entry| entry.path().join("run.json").exists()).count() == 1
        });
        std::thread::sleep(Duration::from_millis(100));
        ends(&live, running, signal);
        live.pybox(["inspect", "x"]).run().exits(1);
    }
    live.file(
        "context/Dockerfile",
        format!("FROM {base}\nRUN echo kept > /kept\nCOPY file /file\nRUN cat /kept /file\n"),
    );
    let end = build(&live, &context, &["-t", "x"]).run().exits(0);
    assert_eq!(end.stderr.matches("(cached)").count(), 2, "{end}");
    assert_eq!(says(&live, "x", "cat /kept"), "kept");
    live.pybox(["check"]).run().exits(0);
}

/// Accepts, reads the request, answers as far as `begin` goes, and then says nothing more.
fn silent(begin: &'static str) -> (String, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(begin.as_bytes());
            kept.push(stream);
            tell.send(()).ok();
        }
    });
    (address, told)
}

#[test]
fn a_download_and_a_pull_end() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let context = context(&live, "context", &[]);
    let (address, asked) = silent("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun");
    live.file("context/Dockerfile", format!("FROM {base}\nADD http://{address}/file /x\n"));
    let running = build(&live, &context, &["--network", "host", "-t", "x"]).start();
    asked.recv_timeout(Duration::from_secs(40)).expect("a request");
    std::thread::sleep(Duration::from_millis(200));
    ends(&live, running, Signal::SIGINT);
    let (address, asked) = silent("");
    for file in [format!("FROM {address}/name\n"), format!("FROM {base}\nCOPY --from={address}/name /a /b\n")] {
        live.file("context/Dockerfile", file);
        let running = build(&live, &context, &["-t", "x"]).start();
        asked.recv_timeout(Duration::from_secs(40)).expect("a request");
        std::thread::sleep(Duration::from_millis(100));
        ends(&live, running, Signal::SIGINT);
    }
    live.pybox(["check"]).run().exits(0);
}

/// Processes of any user that have `words` in their environment: mmdebstrap's are not all the test user's.
fn with_environment(words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(words) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("{} {}", entry.file_name().display(), name.trim()));
        }
    }
    found
}

/// Directories that mmdebstrap of the test user has to work in.
fn scratches(live: &Live) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = fs::metadata(live.dir.join("home")).expect("the home").uid();
    let all = fs::read_dir("/var/tmp").expect("list").flatten().map(|entry| entry.path());
    let ours = all.filter(|path| path.to_string_lossy().contains("/pybox-debootstrap-"));
    ours.filter(|path| fs::metadata(path).is_ok_and(|facts| facts.uid() == uid)).collect()
}

#[test]
fn mmdebstrap_ends_with_all_it_has_started() {
    let Some(live) = Live::new() else { return };
    let codename = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = codename.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    if codename.is_empty() || !PathBuf::from("/usr/bin/mmdebstrap").exists() {
        return crate::fixture::skip("no mmdebstrap, or no Debian");
    }
    let boxfile = format!("[box]\nbase = \"debootstrap:{codename}\"\n");
    let context = context(&live, "context", &[("boxfile.toml", &boxfile)]);
    // Early, and when packages are being unpacked or downloaded.
    for milliseconds in [50, 2500] {
        let before = scratches(&live);
        let running = build(&live, &context, &["-t", "d"]).within(120).start();
        let mut scratch = None;
        awaits("mmdebstrap's directory", || {
            scratch = scratches(&live).into_iter().find(|path| !before.contains(path) && path.join(".").exists());
            let has_root = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
            scratch.as_ref().is_some_and(has_root)
        });
        let scratch = scratch.expect("a directory");
        std::thread::sleep(Duration::from_millis(milliseconds));
        let asked = Instant::now();
        running.signal(Signal::SIGINT);
        let end = running.wait();
        if end.stderr.contains("could not make") {
            return crate::fixture::skip("Debian's packages cannot be reached");
        }
        let end = end.exits(130).says("interrupted");
        assert!(asked.elapsed() < Duration::from_secs(6), "{:?}: {end}", asked.elapsed());
        awaits("the end of all processes", || with_environment(&scratch.to_string_lossy()).is_empty());
        assert!(!scratch.exists(), "{} is left", scratch.display());
        assert_eq!(live.leftovers(), Vec::<String>::new());
    }
    live.pybox(["check"]).run().exits(0);
}
