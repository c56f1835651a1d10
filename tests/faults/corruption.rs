//! T29: what is kept is damaged: bytes are flipped, files cut or filled with zeroes. It is found, never used in
//! silence, and put right where it can be; no other container and no other image pays for it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::aftermath::{field, gone, ordinary, temporary_free, whole};
use crate::guest::awaits;
use crate::harness::{Live, Outcome};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Flip,
    Cut,
    Zero,
    Empty,
}

const ALL: [Damage; 4] = [Damage::Flip, Damage::Cut, Damage::Zero, Damage::Empty];

impl Damage {
    fn does(self, path: &Path) {
        let mut bytes = fs::read(path).expect("read");
        let middle = bytes.len() / 2;
        match self {
            Self::Flip => bytes.iter_mut().skip(middle).take(9).for_each(|byte| *byte ^= 0x55),
            Self::Cut => bytes.truncate(middle),
            Self::Zero => bytes.iter_mut().for_each(|byte| *byte = 0),
            Self::Empty => bytes.clear(),
        }
        // In place: whoever has it open sees it.
        fs::write(path, bytes).expect("write");
    }
}

#[track_caller]
fn sound(end: Outcome) -> Outcome {
    assert!(end.signal.is_none() && !end.stderr.contains("panicked"), "{end}");
    assert!(end.code == Some(0) || end.stderr.to_lowercase().contains("hint:") || !end.stdout.is_empty(), "{end}");
    end
}

/// A store with two images, and containers in three states.
fn furnished(live: &Live) -> String {
    let image = live.image("busybox");
    ordinary(live, ["pull", "-q", &image]).exits(0);
    ordinary(live, ["run", "--name", "ended", &image, "sh", "-c", "echo written; echo kept > /kept; exit 7"]).exits(7);
    let script = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done";
    ordinary(live, ["run", "-d", "--name", "steady", "-v", "data:/data", &image, "sh", "-c", script]).exits(0);
    ordinary(live, ["create", "--name", "made", &image, "echo", "made"]).exits(0);
    awaits(|| ordinary(live, ["exec", "steady", "test", "-e", "/tmp/ready"]).code == Some(0));
    image
}

/// All of it is there, and works.
#[track_caller]
fn all_there(live: &Live, after: &str) {
    let states = ordinary(live, ["ps", "-a", "--format", "{{.Names}} {{.State}}"]).exits(0).text();
    let mut states: Vec<&str> = states.lines().collect();
    states.sort_unstable();
    assert_eq!(states, ["ended exited", "made created", "steady running"], "after {after}");
    assert_eq!(field(live, "ended", ".State.ExitCode").as_deref(), Some("7"), "after {after}");
    assert_eq!(ordinary(live, ["logs", "ended"]).text(), "written", "after {after}");
    ordinary(live, ["exec", "steady", "true"]).exits(0);
    assert!(ordinary(live, ["diff", "ended"]).exits(0).text().contains("/kept"), "after {after}");
}

fn cleared(live: &Live, after: &str) {
    ordinary(live, ["rm", "-f", "ended", "steady", "made"]).exits(0);
    ordinary(live, ["volume", "rm", "data"]).exits(0);
    gone(live, after);
}

#[test]
fn the_database() {
    let Some(live) = Live::new() else { return };
    let image = furnished(&live);
    let root = live.root();
    let file = |suffix: &str| root.join(format!("pybox.db{suffix}"));
    let cases = ["", "-wal", "-shm", "all"].into_iter().flat_map(|which| ALL.map(|damage| (which, Some(damage))));
    for (which, damage) in cases.chain([("", None), ("-wal", None), ("-shm", None), ("all", None)]) {
        let after = format!("{damage:?} of pybox.db{which}");
        let suffixes: &[&str] = if which == "all" { &["", "-wal", "-shm"] } else { &[which] };
        for path in suffixes.iter().map(|suffix| file(suffix)).filter(|path| path.exists()) {
            match damage {
                Some(damage) => damage.does(&path),
                None => fs::remove_file(&path).expect("remove"),
            }
        }
        // It works, or it says what to do.
        for words in [&["ps", "-a"] as &[&str], &["images"], &["inspect", "ended"], &["check"]] {
            sound(ordinary(&live, words.iter().copied()));
        }
        ordinary(&live, ["check", "--repair"]).exits(0);
        all_there(&live, &after);
        whole(&live, &after);
        // Nothing has to be downloaded for it.
        ordinary(&live, ["run", "--rm", "--pull", "missing", &image, "true"]).exits(0);
        assert_eq!(ordinary(&live, ["start", "-a", "made"]).exits(0).text(), "made", "after {after}");
        ordinary(&live, ["rm", "made"]).exits(0);
        ordinary(&live, ["create", "--name", "made", &image, "echo", "made"]).exits(0);
    }
    cleared(&live, "a damaged database");
}

/// Blobs of an image: its manifest, its configuration and its only layer, in this order.
fn blobs(live: &Live) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(live.root().join("images/blobs/sha256"))
        .expect("blobs")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    all.sort_by_key(|path| fs::metadata(path).map_or(0, |facts| facts.len()));
    all
}

#[test]
fn what_an_image_is_made_of() {
    let Some(live) = Live::new() else { return };
    let image = furnished(&live);
    let count = blobs(&live).len();
    for number in 0..count {
        for damage in ALL {
            let path = blobs(&live)[number].clone();
            let after = format!("{damage:?} of blob {number} of {count}");
            damage.does(&path);
            let found = ordinary(&live, ["check", "--full"]).exits(1);
            assert!(!found.stdout.is_empty(), "{after}: {found}");
            sound(ordinary(&live, ["run", "--rm", &image, "true"]));
            sound(ordinary(&live, ["save", "-o", "/dev/null", &image]));
            // Repaired, and pulled again, it is as it was.
            sound(live.pybox(["check", "--full", "--repair"]).run());
            sound(ordinary(&live, ["pull", "-q", &image])).exits(0);
            whole(&live, &after);
            all_there(&live, &after);
            ordinary(&live, ["run", "--rm", &image, "true"]).exits(0);
        }
    }
    cleared(&live, "damaged blobs");
}

#[test]
fn the_marker_of_a_layer() {
    let Some(live) = Live::new() else { return };
    let image = furnished(&live);
    for damage in ALL {
        let layers = fs::read_dir(live.root().join("images/layers")).expect("layers").flatten();
        for layer in layers {
            damage.does(&layer.path().join("complete"));
        }
        let end = sound(ordinary(&live, ["run", "--rm", &image, "echo", "fine"]));
        assert!(end.code == Some(0) || end.stderr.contains("layer"), "{damage:?}: {end}");
        sound(ordinary(&live, ["check", "--repair"]));
        sound(ordinary(&live, ["pull", "-q", &image])).exits(0);
        whole(&live, &format!("{damage:?} of a marker"));
        assert_eq!(ordinary(&live, ["run", "--rm", &image, "echo", "fine"]).exits(0).text(), "fine", "{damage:?}");
        all_there(&live, &format!("{damage:?} of a marker"));
    }
    cleared(&live, "damaged markers");
}

#[test]
fn the_records_of_a_container() {
    let Some(live) = Live::new() else { return };
    furnished(&live);
    let bundle = |name: &str| live.root().join("containers").join(field(&live, name, ".Id").expect("an id"));
    for file in ["config.json", "start.json", "container.json", "exit.json", "run.json", "log", "hosts"] {
        for damage in ALL {
            let after = format!("{damage:?} of {file}");
            let path = bundle("ended").join(file);
            let good = fs::read(&path).expect("read");
            damage.does(&path);
            for words in [
                &["ps", "-a"] as &[&str],
                &["inspect", "ended"],
                &["logs", "ended"],
                &["diff", "ended"],
                &["start", "ended"],
                &["wait", "ended"],
                &["commit", "-q", "ended"],
                &["check"],
            ] {
                sound(ordinary(&live, words.iter().copied()));
            }
            // It did not end with success, whatever its record says now.
            if file == "exit.json" {
                assert_ne!(field(&live, "ended", ".State.ExitCode").as_deref(), Some("0"), "after {after}");
            }
            ordinary(&live, ["exec", "steady", "true"]).exits(0);
            sound(ordinary(&live, ["rm", "-f", "ended"])).exits(0);
            temporary_free(&live, &after);
            drop(good);
            let image = live.image("busybox");
            ordinary(&live, ["run", "--name", "ended", &image, "sh", "-c", "echo written; echo kept > /kept; exit 7"])
                .exits(7);
        }
    }
    all_there(&live, "damaged records");
    for (name, rubbish) in [("events.jsonl", "\0\0{\"time\":"), ("locks/schema", "x"), ("locks/layer-x", "y")] {
        fs::write(live.root().join(name), rubbish).expect("write");
        live.user.owns(&live.root().join(name), 0o600).expect("give it to the test user");
    }
    sound(ordinary(&live, ["events", "--since", "1h", "--until", "0s"])).exits(0);
    all_there(&live, "damaged events and locks");
    cleared(&live, "damaged records");
}
