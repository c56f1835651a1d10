//! Downloads that end in the middle and go on later.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pybox::engine::api::FailureKind;

use super::evil_registry::{Body, EvilRegistry, Reply};
use super::layers::{Layer, LayeredImage};
use super::{Home, here, noise};

/// An image of one large layer, whose first request is answered with half of it.
fn half_served(then: impl Fn() -> Reply + Send + Sync + 'static) -> (EvilRegistry, LayeredImage) {
    let image = LayeredImage::new(&here(), vec![Layer::of("gzip", &[("a", &noise(600_000))])]);
    let (served, layer, count) = (image.clone(), image.layers[0].clone(), AtomicUsize::new(0));
    let digest = layer.digest().to_string();
    let registry = EvilRegistry::start(move |seen| {
        if !seen.target.ends_with(&digest) {
            return served.serve(seen);
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::ok("").body(Body::Cut { claimed: layer.blob.len(), sent: layer.blob[..300_000].to_vec() }),
            1 => then(),
            _ => served.serve(seen),
        }
    });
    (registry, image)
}

#[test]
fn the_next_pull_goes_on_where_the_last_one_stopped() {
    let home = Home::new();
    let (registry, image) = half_served(|| Reply::status(403));
    let name = format!("{}/x:1", registry.address());
    assert_eq!(home.pull(&name).expect_err("cut, then refused").kind, FailureKind::Denied);
    assert_eq!(std::fs::metadata(home.partial(&image.layers[0].digest())).unwrap().len(), 300_000);
    home.pull(&name).unwrap();
    let asked = registry.seen(image.layers[0].digest().hex());
    assert_eq!(asked[2].header("range"), Some("bytes=300000-"));
    assert_eq!(std::fs::read(home.layer(&image.layers[0]).join("a")).unwrap(), noise(600_000));
    assert_eq!(home.in_the_making().len(), 1, "{:?}", home.in_the_making());
}

#[test]
fn a_beginning_that_was_changed_is_thrown_away() {
    let home = Home::new();
    let (registry, image) = half_served(|| Reply::status(403));
    let name = format!("{}/x:1", registry.address());
    home.pull(&name).expect_err("cut, then refused");
    let mut bytes = image.layers[0].blob[..300_000].to_vec();
    bytes[150_000] ^= 1;
    std::fs::write(home.partial(&image.layers[0].digest()), bytes).unwrap();
    home.pull(&name).unwrap();
    assert_eq!(std::fs::read(home.layer(&image.layers[0]).join("a")).unwrap(), noise(600_000));
    assert_eq!(home.store().read_blob(&image.layers[0].digest(), u64::MAX).unwrap(), image.layers[0].blob);
}

#[test]
fn ctrl_c_stops_within_a_second_and_keeps_what_came() {
    let home = Home::new();
    let image = LayeredImage::new(&here(), vec![Layer::of("gzip", &[("a", &noise(600_000))])]);
    let (served, layer) = (image.clone(), image.layers[0].clone());
    let digest = layer.digest().to_string();
    let registry = EvilRegistry::start(move |seen| {
        if seen.target.ends_with(&digest) {
            Reply::ok("").body(Body::Stalled { claimed: layer.blob.len(), sent: layer.blob[..300_000].to_vec() })
        } else {
            served.serve(seen)
        }
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_pybox"))
        .arg("--root")
        .arg(home.root())
        .args(["pull", &format!("{}/x:1", registry.address())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partial = pybox::store::Layout::new(&home.root()).ingest(&image.layers[0].digest());
    let began = Instant::now();
    while std::fs::metadata(&partial).map_or(0, |found| found.len()) < 300_000 {
        assert!(began.elapsed() < Duration::from_secs(20), "the download did not begin: {}", partial.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    let stopped = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    assert_eq!(status.code(), Some(130));
    assert_eq!(std::fs::metadata(&partial).unwrap().len(), 300_000);
    assert!(super::names(&home.root().join("images/layers")).is_empty());
    assert!(super::names(&home.root().join("trash")).is_empty());
}
