//! T3: a monitor is killed at each of its steps. Its container ends, "monitor lost", and nothing of it is left.

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::awaits;
use crate::harness::Live;

/// Up to the first word to whoever started it.
const STARTING: [&str; 9] = [
    "monitor.told",
    "monitor.listening",
    "monitor.compiled",
    "launch.cloned",
    "launch.mapped",
    "launch.held",
    "monitor.recorded",
    "launch.executed",
    "monitor.started_told",
];

/// From the container's output on.
const ENDING: [&str; 6] = [
    "monitor.output_copied",
    "monitor.exit_reaped",
    "monitor.over",
    "monitor.exit_written",
    "monitor.unlocked",
    "monitor.end_told",
];

fn strike(live: &Live, point: &str, flags: &[&str]) {
    let after = format!("{point} of run {flags:?}");
    let image = live.image("busybox");
    let words = ["run", "--name", "struck"].into_iter().chain(flags.iter().copied());
    let script = "touch /tmp/ready; sleep 0.3; echo out; sleep 0.1; exit 7";
    let end = faulty(live, &format!("{point}:kill"), words.chain([image.as_str(), "sh", "-c", script])).run();
    assert!(!end.stderr.contains("panicked"), "after {after}: {end}");
    assert!(matches!(end.code, Some(0 | 7)) || end.stderr.contains("hint:"), "after {after}: {end}");
    // The end was written down, and then it is told.
    let written = ["monitor.exit_written", "monitor.unlocked", "monitor.end_told"].contains(&point);
    if flags.contains(&"--rm") {
        awaits(|| field(live, "struck", ".State.Status").is_none());
    } else {
        awaits(|| field(live, "struck", ".State.Status").as_deref() == Some("exited"));
        let told = field(live, "struck", "printf \"%v %s\" .State.ExitCode .State.Error").expect("a state");
        match told.split_once(' ') {
            Some(("7", "")) => assert!(written, "after {after}: {told}"),
            Some(("137", "monitor lost")) => assert!(!written, "after {after}: {told}"),
            // It never ran, and whoever started it was there to write down why.
            Some(("125", why)) => assert!(why.contains("monitor"), "after {after}: {told}"),
            _ => panic!("after {after}: {told}"),
        }
        if ["monitor.output_copied", "monitor.exit_reaped"].contains(&point) {
            assert_eq!(ordinary(live, ["logs", "struck"]).exits(0).text(), "out", "after {after}");
        }
        whole(live, &after);
        // It starts again as if nothing had been.
        assert_eq!(ordinary(live, ["start", "-a", "struck"]).exits(7).text().lines().last(), Some("out"));
        ordinary(live, ["rm", "struck"]).exits(0);
    }
    gone(live, &after);
}

#[test]
fn a_monitor_is_killed_at_each_step_of_a_start() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in STARTING {
        for flags in [&["-d"] as &[&str], &[], &["-d", "--rm"], &["--rm"], &["-d", "--init"]] {
            strike(&live, point, flags);
        }
    }
}

#[test]
fn a_monitor_is_killed_at_each_step_of_an_end() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    for point in ENDING {
        for flags in [&["-d"] as &[&str], &[], &["-d", "--rm"], &["--rm"]] {
            strike(&live, point, flags);
        }
    }
}

#[test]
fn a_restart_policy_is_followed_once() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    let script = "echo begun >> /count; touch /tmp/ready; exec sleep 300";
    let words = ["run", "-d", "--restart", "always", "--name", "struck", &image, "sh", "-c", script];
    // Killed while it hears of an exec.
    faulty(&live, "monitor.exec_joining:kill", words).run().exits(0);
    let end = ordinary(&live, ["exec", "struck", "true"]);
    assert!(end.code != Some(0) && end.stderr.contains("hint:"), "{end}");
    for _ in 0..3 {
        assert_eq!(field(&live, "struck", ".State.Status").as_deref(), Some("exited"));
    }
    assert_eq!(ordinary(&live, ["start", "--all-due"]).exits(0).text(), "struck");
    assert_eq!(ordinary(&live, ["start", "--all-due"]).exits(0).text(), "");
    awaits(|| ordinary(&live, ["exec", "struck", "cat", "/count"]).text() == "begun\nbegun");
    whole(&live, "a lost monitor");
    ordinary(&live, ["rm", "-f", "struck"]).exits(0);
    gone(&live, "a lost monitor");
}

#[test]
fn an_exec_ends_with_its_monitor() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    for point in ["monitor.exec_joining:kill", "monitor.exec_running:kill"] {
        for flags in [&["exec"] as &[&str], &["exec", "-d"], &["exec", "-t"]] {
            faulty(&live, point, ["run", "-d", "--name", "struck", &image, "sleep", "300"]).run().exits(0);
            let end = ordinary(&live, flags.iter().copied().chain(["struck", "sleep", "200"]));
            assert!(end.code != Some(0) && end.stderr.contains("hint:"), "{point}: {end}");
            assert_eq!(field(&live, "struck", ".State.Error").as_deref(), Some("monitor lost"));
            ordinary(&live, ["rm", "struck"]).exits(0);
            gone(&live, point);
        }
    }
}

#[test]
fn a_monitor_is_killed_while_it_starts_its_container_again() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    for point in ["launch.cloned@2", "launch.held@2", "monitor.recorded@2", "launch.executed@2", "launch.executed@3"] {
        let words = ["run", "-d", "--restart", "always", "--name", "struck", &image, "sh", "-c", "sleep 0.1; exit 5"];
        faulty(&live, &format!("{point}:kill"), words).run().exits(0);
        awaits(|| field(&live, "struck", ".State.Status").as_deref() == Some("exited"));
        let told = field(&live, "struck", "printf \"%v %s\" .State.ExitCode .State.Error");
        assert_eq!(told.as_deref(), Some("137 monitor lost"), "after {point}");
        whole(&live, point);
        ordinary(&live, ["rm", "-f", "struck"]).exits(0);
        gone(&live, point);
    }
}
