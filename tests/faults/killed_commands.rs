//! T2: a command is killed at each of its steps. Its container is absent, or all there and to be dealt with.

use std::time::Duration;

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::awaits;
use crate::harness::Live;

/// What `run` comes by, whoever stays with the container.
const EACH: [&str; 19] = [
    "run.image_found",
    "run.monitor_spawned",
    "create.bundle_made",
    "create.bundle_locked",
    "volume.made",
    "volume.copied",
    "create.volumes_held",
    "create.config_written",
    "create.filled",
    "create.start_kept",
    "create.row_inserted",
    "create.row_kept",
    "run.id_written",
    "start.before_told",
    "start.told",
    "start.started_seen",
    "start.row_running",
    "run.outcome_seen",
    "run.outcome_written",
];

/// What only who stays comes by.
const STAYING: [&str; 2] = ["start.attached", "start.exit_seen"];

/// What only who stays with a container that is to be removed comes by.
const REMOVING: [&str; 4] = ["remove.begun", "remove.row_gone", "remove.bundle_gone", "remove.files_gone"];

/// The image's /data has files, so the volume is filled; the script ends with 7 by itself, or 3 when it is asked to.
const BRIEF: &str = "echo out; sleep 0.2; exit 7";
const STEADY: &str = "trap 'exit 3' TERM; echo out; touch /tmp/ready; while :; do sleep 0.05; done";

fn strike(live: &Live, point: &str, flags: &[&str], script: &str) {
    let after = format!("{point} of run {flags:?}");
    let image = live.image("busybox");
    let words = ["run", "--name", "struck", "-v", "data:/etc"].into_iter().chain(flags.iter().copied());
    let end = faulty(live, &format!("{point}:kill"), words.chain([image.as_str(), "sh", "-c", script])).run();
    assert_eq!(end.signal, Some(9), "{point} was not passed: {end}");
    let removes = flags.contains(&"--rm");
    // Who only looks sees one of the states that there are.
    ordinary(live, ["ps", "-a"]).exits(0);
    let status = || field(live, "struck", ".State.Status");
    if point == "start.told" {
        // Its monitor is about to start it.
        awaits(|| status().as_deref() != Some("created"));
    }
    match status().as_deref() {
        None => {}
        Some("created") => {
            assert!(!removes, "after {after}: what was to be removed stays");
            ordinary(live, ["start", "struck"]).exits(0);
            awaits(|| ordinary(live, ["logs", "struck"]).text().lines().next() == Some("out"));
        }
        Some("running") => adoptable(live, script, &after),
        Some("exited") => {
            let code = field(live, "struck", ".State.ExitCode");
            assert!(!removes && code.as_deref() == Some("7"), "after {after}: {code:?}");
        }
        Some(other) => panic!("after {after}: {other}"),
    }
    whole(live, &after);
    ordinary(live, ["rm", "-f", "struck"]);
    // Its name is free, and its volume is whole.
    let words = ["run", "--rm", "--name", "struck", "-v", "data:/etc", &image, "cat", "/etc/passwd"];
    assert!(ordinary(live, words).exits(0).text().contains("root:"), "after {after}");
    gone(live, &after);
    ordinary(live, ["volume", "rm", "data"]).exits(0);
}

/// It can be attached to, spoken to, and ends with a code of its own.
fn adoptable(live: &Live, script: &str, after: &str) {
    if script == STEADY {
        let attached = live.pybox(["attach", "--no-stdin", "struck"]).start();
        awaits(|| ordinary(live, ["exec", "struck", "test", "-e", "/tmp/ready"]).code == Some(0));
        // The attachment, too, may take a moment to arrive.
        std::thread::sleep(Duration::from_millis(100));
        ordinary(live, ["stop", "-t", "5", "struck"]).exits(0);
        let end = attached.wait();
        // Attached a moment late, or to one with --rm that is gone by now, it says so.
        assert!(end.code == Some(3) || end.stderr.contains("hint:"), "after {after}: {end}");
    } else {
        let end = ordinary(live, ["wait", "struck"]);
        assert!(end.text() == "7" || end.stderr.contains("no such container"), "after {after}: {end}");
    }
}

#[test]
fn a_run_that_detaches_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in EACH {
        strike(&live, point, &["-d"], STEADY);
    }
}

#[test]
fn a_run_that_detaches_and_removes_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in EACH {
        strike(&live, point, &["-d", "--rm"], STEADY);
    }
}

#[test]
fn a_run_that_stays_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in EACH.into_iter().chain(STAYING) {
        strike(&live, point, &[], BRIEF);
    }
}

#[test]
fn a_run_that_stays_and_removes_is_killed_at_each_step() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in EACH.into_iter().chain(STAYING).chain(REMOVING) {
        strike(&live, point, &["--rm"], BRIEF);
    }
}
