//! Archives whose reading is interrupted: at once, with nothing left; and what is left by who was killed goes next time.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::harness::{Live, Running};

/// What is on its way into the store.
fn halves(live: &Live) -> Vec<String> {
    let entries = fs::read_dir(live.root().join("images/ingest")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

/// A pipe that has a name, of the test user.
fn fifo(live: &Live, name: &str) -> PathBuf {
    let path = live.dir.join(name);
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    live.user.owns(&path, 0o600).expect("give it to the test user");
    path
}

/// Starts a verb that reads from a pipe, gives it `bytes`, and waits until something is on its way.
fn begun(live: &Live, words: &[&str], bytes: &[u8]) -> (Running, File) {
    let path = fifo(live, &format!("pipe-{}", live.dir.read_dir().expect("list").count()));
    let place = path.to_string_lossy();
    let words = words.iter().map(|word| if *word == "PIPE" { place.as_ref() } else { word });
    let before = halves(live).len();
    let running = live.pybox(words).start();
    let mut pipe = File::options().write(true).open(&path).expect("open the pipe");
    pipe.write_all(bytes).expect("write");
    let asked = Instant::now();
    while halves(live).len() <= before {
        assert!(asked.elapsed() < Duration::from_secs(20), "nothing is on its way");
        std::thread::sleep(Duration::from_millis(5));
    }
    (running, pipe)
}

fn saved(live: &Live, kind: &str) -> Vec<u8> {
    let file = live.dir.join(kind).to_string_lossy().into_owned();
    live.pybox(["save", "--format", kind, "-o", &file, &live.image("busybox")]).ok();
    fs::read(file).expect("an archive")
}

#[test]
fn what_reads_an_archive_is_interrupted_and_leaves_nothing() {
    let Some(live) = Live::new() else { return };
    live.pybox(["pull", "-q", &live.image("busybox")]).ok();
    let archives = [saved(&live, "docker-archive"), saved(&live, "oci-archive")];
    live.pybox(["rmi", &live.image("busybox")]).ok();
    live.pybox(["system", "prune", "-f"]).ok();
    let blobs = || fs::read_dir(live.root().join("images/blobs/sha256")).expect("list").count();
    let none = blobs();
    let half = |archive: &[u8]| archive[..archive.len() / 2].to_vec();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for (words, bytes) in [
            (&["import", "PIPE", "made:1"] as &[&str], vec![7; 3 << 20]),
            (&["load", "-q", "-i", "PIPE"], half(&archives[0])),
            (&["load", "-q", "-i", "PIPE"], half(&archives[1])),
        ] {
            let (running, pipe) = begun(&live, words, &bytes);
            let asked = Instant::now();
            running.signal(signal);
            let end = running.wait().exits(130).says("interrupted");
            assert!(!end.stderr.contains("hint:"), "{end}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}: {end}", asked.elapsed());
            assert_eq!((halves(&live), blobs()), (Vec::new(), none), "{end}");
            drop(pipe);
        }
    }
    assert_eq!(live.pybox(["images", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
    live.pybox(["check"]).run().exits(0);
}

/// A layer that takes its time to be unpacked.
#[test]
fn unpacking_is_interrupted_too() {
    let Some(live) = Live::new() else { return };
    let tree = live.directory("tree");
    for number in 0..40 {
        let below = live.directory(&format!("tree/{number}"));
        for file in 0..250 {
            fs::write(below.join(file.to_string()), "x").expect("write");
        }
    }
    let running = live.pybox(["import", &tree.to_string_lossy(), "made:1"]).start();
    let layers = live.root().join("images/layers");
    let partial = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let asked = Instant::now();
    while !partial(&layers) {
        assert!(asked.elapsed() < Duration::from_secs(20), "nothing is unpacked");
        std::thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::SIGINT);
    let end = running.wait();
    // It may have been quicker.
    if end.code != Some(0) {
        end.exits(130).says("interrupted");
        assert!(!partial(&layers), "half a layer");
        assert_eq!(live.pybox(["images", "-aq"]).ok(), "");
    }
    assert_eq!((halves(&live), live.leftovers()), (Vec::new(), Vec::new()));
    live.pybox(["check"]).run().exits(0);
}

#[test]
fn what_the_killed_have_left_goes_and_what_others_write_stays() {
    let Some(live) = Live::new() else { return };
    let (other, mut others) = begun(&live, &["import", "PIPE", "other:1"], &[0; 1024]);
    let theirs = halves(&live);
    let (killed, pipe) = begun(&live, &["import", "PIPE", "killed:1"], &vec![7; 1 << 20]);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.wait().signal, Some(9));
    drop(pipe);
    assert_eq!(halves(&live).len(), 2, "what was killed has left it");
    let directory = live.directory("tree");
    live.file("tree/file", "content");
    live.pybox(["import", &directory.to_string_lossy(), "third:1"]).ok();
    assert_eq!(halves(&live), theirs, "the other one is at it still");
    // The rest of an archive of nothing.
    others.write_all(&[0; 9216]).expect("write");
    drop(others);
    other.wait().exits(0);
    assert_eq!(halves(&live), Vec::<String>::new());
    live.pybox(["check"]).run().exits(0);
}
