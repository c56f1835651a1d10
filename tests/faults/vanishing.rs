//! T30: things are deleted under our feet. Each is named, and `rm -f` always works.

use std::fs;
use std::path::PathBuf;

use crate::aftermath::{field, gone, ordinary, processes, whole, with_busybox};
use crate::guest::awaits;
use crate::harness::{Live, Outcome};

const STEADY: &str = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done";

fn bundle(live: &Live) -> PathBuf {
    let id = field(live, "victim", ".Id").expect("an id");
    live.root().join("containers").join(id)
}

fn steady(live: &Live, flags: &[&str]) {
    let image = live.image("busybox");
    let words = ["run", "-d", "--name", "victim"].into_iter().chain(flags.iter().copied());
    ordinary(live, words.chain([image.as_str(), "sh", "-c", STEADY])).exits(0);
    awaits(|| ordinary(live, ["exec", "victim", "test", "-e", "/tmp/ready"]).code == Some(0));
}

/// It works, or says why not and what to do.
#[track_caller]
fn sound(end: Outcome) -> Outcome {
    assert!(end.signal.is_none() && !end.stderr.contains("panicked"), "{end}");
    // What `check` finds is its answer, each with what to do.
    let says = !end.stdout.is_empty() || end.stderr.to_lowercase().contains("hint:");
    assert!(end.code == Some(0) || says, "no hint: {end}");
    end
}

#[test]
fn files_of_a_container_that_runs() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    let objects = [
        "config.json",
        "container.json",
        "start.json",
        "run.json",
        "control",
        "hosts",
        "log",
        "upper",
        "work",
        "rootfs",
        "",
    ];
    for object in objects {
        steady(&live, &[]);
        let path = bundle(&live).join(object);
        if path.is_dir() {
            fs::remove_dir_all(&path).expect("remove");
        } else if path.exists() {
            fs::remove_file(&path).expect("remove");
        }
        for words in [
            &["ps", "-a"] as &[&str],
            &["inspect", "victim"],
            &["logs", "victim"],
            &["exec", "victim", "true"],
            &["diff", "victim"],
            &["top", "victim"],
            &["stats", "--no-stream", "victim"],
            &["pause", "victim"],
            &["unpause", "victim"],
            &["commit", "-q", "victim", "kept:1"],
            &["cp", "victim:/etc/passwd", "-"],
            &["restart", "-t", "2", "victim"],
            &["stop", "-t", "2", "victim"],
            &["start", "victim"],
        ] {
            sound(ordinary(&live, words.iter().copied()));
        }
        sound(ordinary(&live, ["rm", "-f", "victim"])).exits(0);
        ordinary(&live, ["rmi", "-f", "kept:1"]);
        awaits(|| processes(&live).is_empty());
        gone(&live, &format!("the loss of {object:?}"));
    }
}

#[test]
fn records_of_a_container_that_runs_are_rubbish() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    for object in ["run.json", "run.json and control", "config.json", "start.json"] {
        steady(&live, &[]);
        let bundle = bundle(&live);
        for file in object.split(" and ") {
            if file == "control" {
                fs::remove_file(bundle.join(file)).expect("remove");
            } else {
                fs::write(bundle.join(file), "{\"init\":").expect("write");
            }
        }
        for words in [&["ps", "-a"] as &[&str], &["inspect", "victim"], &["exec", "victim", "true"]] {
            sound(ordinary(&live, words.iter().copied()));
        }
        sound(ordinary(&live, ["rm", "-f", "victim"])).exits(0);
        awaits(|| processes(&live).is_empty());
        gone(&live, &format!("rubbish in {object}"));
    }
}

#[test]
fn what_is_mounted_in_a_container() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let source = live.directory("source");
    fs::write(source.join("file"), "x").expect("write");
    steady(&live, &["-v", "data:/data", "-v", &format!("{}:/source", source.display())]);
    fs::remove_dir_all(live.root().join("volumes/data")).expect("remove");
    fs::remove_dir_all(&source).expect("remove");
    sound(ordinary(&live, ["exec", "victim", "true"])).exits(0);
    sound(ordinary(&live, ["stop", "-t", "5", "victim"])).exits(0);
    let end = sound(ordinary(&live, ["start", "victim"]));
    assert!(end.code != Some(0) && (end.stderr.contains("data") || end.stderr.contains("source")), "{end}");
    assert_eq!(field(&live, "victim", ".State.Status").as_deref(), Some("exited"));
    for words in [&["volume", "ls"] as &[&str], &["cp", "victim:/etc/passwd", "-"], &["diff", "victim"]] {
        sound(ordinary(&live, words.iter().copied()));
    }
    ordinary(&live, ["rm", "-f", "victim"]).exits(0);
    let end = ordinary(
        &live,
        ["run", "--rm", "--mount", &format!("type=bind,source={},target=/s", source.display()), &image, "true"],
    );
    end.refuses(125, &source.display().to_string());
    gone(&live, "the loss of mounts");
}

#[test]
fn parts_of_an_image() {
    let Some(live) = Live::new() else { return };
    let image = live.image("layered");
    for part in ["images/layers", "images/blobs/sha256", "images/init", "images/ingest", "locks", "trash", "cache"] {
        ordinary(&live, ["pull", "-q", &image]).exits(0);
        // Who notes that the layers are on disk may be at it just now.
        awaits(|| fs::remove_dir_all(live.root().join(part)).is_ok());
        let end = sound(ordinary(&live, ["run", "--rm", &image, "cat", "/was-dir"]));
        if end.code != Some(0) {
            // It is said what is missing, and pulling again brings it back.
            sound(ordinary(&live, ["check"])).exits(1);
            sound(ordinary(&live, ["pull", "-q", &image]));
            let end = sound(ordinary(&live, ["run", "--rm", &image, "cat", "/was-dir"]));
            assert_eq!(end.exits(0).text(), "a file now", "{part}");
        }
        whole(&live, part);
        gone(&live, &format!("the loss of {part}"));
        ordinary(&live, ["rmi", "-f", &image]).exits(0);
    }
}
