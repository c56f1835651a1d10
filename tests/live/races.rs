//! Commands that meet on the same container: one of the legal ends comes of it, and nothing is left.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::exec::{Guest, awaits};
use crate::harness::{Live, Running};

fn run(live: &Live, words: &[&str]) -> Running {
    if words.first() == Some(&"pause") {
        // What is frozen would keep everybody waiting who has run something in it.
        let mut command = live.command("sh");
        let program = live.program().display().to_string();
        command.args(["-c", "\"$0\" pause \"$1\"; sleep 0.02; \"$0\" unpause \"$1\"", &program, words[1]]);
        return crate::harness::Run::of(command).within(60).start();
    }
    live.pybox(words.iter().copied()).within(60).start()
}

#[test]
fn removing_starting_and_ending_meet() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    // T18 of SECURITY.md.
    for round in 0..if crate::harness::long() { 1000_u64 } else { 25 } {
        let policy = if round % 2 == 0 { "no" } else { "always" };
        let pause = format!("sleep 0.0{}", round % 5);
        live.pybox(["create", "--name", "racer", "--restart", policy, &image, "sh", "-c", &pause]).ok();
        let started: Vec<Running> = (0..2).map(|_| run(&live, &["start", "racer"])).collect();
        std::thread::sleep(std::time::Duration::from_millis(round % 26 * 2));
        let removed = run(&live, &["rm", "-f", "racer"]);
        for started in started {
            let end = started.wait();
            assert!(matches!(end.code, Some(0 | 1)), "{end}");
            assert!(end.code == Some(0) || end.stderr.contains("hint:"), "{end}");
        }
        let end = removed.wait().exits(0);
        // Acknowledged, it never comes back.
        assert_eq!(end.text(), "racer");
        assert_eq!(live.pybox(["ps", "-a", "-q"]).ok(), "", "round {round}");
    }
    awaits(|| live.leftovers().is_empty());
    live.pybox(["check"]).run().exits(0);
}

#[test]
fn whatever_several_do_at_once_is_told_truly() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    live.pybox(["create", "--name", "shared", &image, "sh", "-c", script]).ok();
    let verbs: [&[&str]; 7] = [
        &["start", "shared"],
        &["stop", "-t", "2", "shared"],
        &["pause", "shared"],
        &["restart", "-t", "2", "shared"],
        &["kill", "shared"],
        &["exec", "shared", "true"],
        &["inspect", "--format", "{{.State.Status}}", "shared"],
    ];
    let mut state = 12345_usize;
    for _ in 0..20 {
        let running: Vec<(&[&str], Running)> = (0..6)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let verb = verbs[(state >> 33) % verbs.len()];
                (verb, run(&live, verb))
            })
            .collect();
        for (verb, running) in running {
            let end = running.wait();
            assert!(matches!(end.code, Some(0 | 1 | 125 | 137)), "{verb:?}: {end}");
            assert!(end.code == Some(0) || end.code == Some(137) || end.stderr.contains("hint:"), "{verb:?}: {end}");
            assert!(!end.stderr.contains("panicked") && !end.stderr.contains("locked"), "{verb:?}: {end}");
        }
        let status = live.pybox(["inspect", "--format", "{{.State.Status}}", "shared"]).ok();
        assert!(["created", "running", "paused", "exited"].contains(&status.as_str()), "{status}");
    }
    live.pybox(["rm", "-f", "shared"]).ok();
    awaits(|| live.leftovers().is_empty());
    live.pybox(["check"]).run().exits(0);
}

#[test]
fn orphans_of_the_container_are_nobodys_zombies() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    for init in [&[] as &[&str], &["--init"]] {
        // T26 of SECURITY.md.
        let script = "i=0; while [ $i -lt 5000 ]; do (true &) ; i=$((i+1)); done; touch /tmp/done; exec sleep 300";
        let words = ["run", "-d", "--name", "storm"].iter().chain(init).copied();
        live.pybox(words.chain([image.as_str(), "sh", "-c", script])).ok();
        awaits(|| live.pybox(["exec", "storm", "test", "-e", "/tmp/done"]).run().code == Some(0));
        let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "storm"]).ok();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let monitor = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).expect("a parent").to_owned();
        let children =
            || std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).expect("children");
        // Whoever serves its files is the monitor's child, too.
        let serves = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "pybox-overlay")
        };
        awaits(|| children().split_whitespace().filter(|pid| !serves(pid)).count() == 1);
        // A first process ignores what it has no handler for; below a reaper it is no first process.
        live.pybox(["kill", "-s", "TERM", "storm"]).ok();
        let status = || live.pybox(["inspect", "--format", "{{.State.Status}}", "storm"]).ok();
        if init.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert_eq!(status(), "running");
        } else {
            awaits(|| status() == "exited");
            assert_eq!(live.pybox(["inspect", "--format", "{{.State.ExitCode}}", "storm"]).ok(), "143");
        }
        live.pybox(["rm", "-f", "storm"]).ok();
    }
    awaits(|| live.leftovers().is_empty());
}

#[test]
fn signals_that_meet_the_end_do_not_hide_it() {
    let Some(live) = Live::new() else { return };
    // A word that the monitor has not read when it closes must not cost us its own last one.
    for _ in 0..20 {
        let mut running = live.sh(&[], "echo begun; sleep 0.1; exit 7").start();
        running.shows("begun");
        while running.passes_on(Signal::SIGUSR1) {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        running.wait().exits(7);
    }
}

#[test]
fn who_asks_a_monitor_that_goes_is_told_so_or_starts_it_again() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let asks: [(&[&str], i32, &str); 3] = [
        (&["restart", "-t", "0", "guest"], 0, ""),
        (&["pause", "guest"], 1, "container guest is not running"),
        (&["attach", "guest"], 1, "container guest is not running"),
    ];
    for (words, code, says) in asks {
        live.pybox(["start", "guest"]).ok();
        let monitor = Pid::from_raw(guest.pids().1.try_into().expect("a pid"));
        kill(monitor, Signal::SIGSTOP).expect("stop it");
        let asking = live.pybox(words.iter().copied()).start();
        // Whether they have asked by then or not, what they hear is the same.
        std::thread::sleep(std::time::Duration::from_millis(300));
        kill(monitor, Signal::SIGKILL).expect("kill it");
        let end = asking.wait().exits(code);
        assert!(end.stderr.contains(says), "{end}");
    }
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
