//! Containers that live on: detached, stopped, started again, waited for, paused, attached to.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::Live;

/// Ends with 3 when it is asked to.
const OBEDIENT: &str = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done";

/// A detached container of busybox that runs `script`; its id.
fn detached(live: &Live, flags: &[&str], script: &str) -> String {
    let image = live.image("busybox");
    let words = ["run", "-d"].iter().chain(flags).copied();
    let id = live.pybox(words.chain([image.as_str(), "sh", "-c", script])).ok();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    id
}

/// A field of `inspect`, as text.
fn shown(live: &Live, name: &str, field: &str) -> String {
    live.pybox(["inspect", "--format", &format!("{{{{{field}}}}}"), name]).ok()
}

/// Waits until a field of `inspect` reads so.
#[track_caller]
fn awaits(live: &Live, name: &str, field: &str, wanted: &str) {
    let started = Instant::now();
    loop {
        let is = shown(live, name, field);
        if is == wanted {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{field} of {name} stays {is}, not {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a container's script has come to its `touch /tmp/ready`.
fn ready(live: &Live, name: &str) {
    let started = Instant::now();
    // Not by /proc/PID/root: a file system that our server shows is for the container's ids alone.
    while live.pybox(["exec", name, "test", "-e", "/tmp/ready"]).run().code != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(30), "{name} does not come to its mark");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_detached_container_runs_stops_and_starts_again() {
    let Some(live) = Live::new() else { return };
    let id = detached(&live, &["--name", "web"], OBEDIENT);
    ready(&live, "web");
    assert_eq!(live.pybox(["ps", "-q", "--no-trunc"]).ok(), id);
    assert_eq!(shown(&live, "web", ".State.Status"), "running");
    assert_eq!(live.pybox(["stop", "web"]).ok(), "web");
    assert_eq!(shown(&live, "web", ".State.ExitCode"), "3");
    assert_eq!(live.pybox(["stop", "web"]).ok(), "web");
    assert_eq!(live.pybox(["start", &id[..12]]).ok(), &id[..12]);
    assert_eq!(live.pybox(["start", "web"]).ok(), "web");
    ready(&live, "web");
    let pid = shown(&live, "web", ".State.Pid");
    assert_eq!(live.pybox(["restart", "web"]).ok(), "web");
    assert_ne!(shown(&live, "web", ".State.Pid"), pid);
    live.pybox(["rm", "web"]).run().refuses(1, "running");
    assert_eq!(live.pybox(["rm", "-f", "web"]).ok(), "web");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn files_outlive_a_restart_and_a_new_start() {
    let Some(live) = Live::new() else { return };
    detached(
        &live,
        &["--name", "c"],
        "echo x >> /count; trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 0.05; done",
    );
    ready(&live, "c");
    live.pybox(["restart", "c"]).ok();
    live.pybox(["stop", "c"]).ok();
    live.pybox(["start", "c"]).ok();
    // It is up before its script has got so far.
    crate::guest::awaits(|| live.pybox(["exec", "c", "wc", "-l", "/count"]).ok() == "3 /count");
    assert_eq!(live.pybox(["exec", "c", "cat", "/count"]).ok(), "x\nx\nx");
    live.pybox(["rm", "-f", "c"]).ok();
    // A container with --rm is mounted without care for power cuts, and can be restarted all the same.
    detached(&live, &["--name", "v", "--rm"], OBEDIENT);
    ready(&live, "v");
    live.pybox(["restart", "v"]).ok();
    assert_eq!(shown(&live, "v", ".State.Status"), "running");
    live.pybox(["stop", "v"]).ok();
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn create_makes_and_start_runs() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let file = live.dir.join("id");
    let cidfile = file.display().to_string();
    let id =
        live.pybox(["create", "--name", "made", "--cidfile", &cidfile, &image, "sh", "-c", "echo out; exit 7"]).ok();
    let id = id.lines().last().expect("an id").to_owned();
    assert_eq!(std::fs::read_to_string(&file).expect("the id"), id);
    assert_eq!(shown(&live, "made", ".State.Status"), "created");
    let end = live.pybox(["start", "--attach", "made"]).run().exits(7);
    assert_eq!(end.text(), "out");
    assert_eq!(live.pybox(["start", "-a", "made"]).run().exits(7).text(), "out");
    live.pybox(["create", "--cidfile", &cidfile, &image]).run().refuses(125, "--cidfile");
    assert_eq!(live.pybox(["ps", "-aq"]).ok().lines().count(), 1);
    // With --rm it waits for its start, and goes after its end.
    live.pybox(["create", "--rm", "--name", "once", &image, "true"]).ok();
    assert_eq!(live.pybox(["ps", "-aq"]).ok().lines().count(), 2);
    live.pybox(["start", "-a", "once"]).ok();
    live.pybox(["rm", "made"]).ok();
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_does_not_obey_is_killed() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "deaf"], "trap '' TERM; touch /tmp/ready; while :; do sleep 0.05; done");
    ready(&live, "deaf");
    live.pybox(["stop", "-t", "1", "deaf"]).ok();
    assert_eq!(shown(&live, "deaf", ".State.ExitCode"), "137");
    detached(
        &live,
        &["--name", "other", "--stop-signal", "USR1"],
        "trap 'exit 9' USR1; touch /tmp/ready; while :; do sleep 0.05; done",
    );
    ready(&live, "other");
    live.pybox(["stop", "-t", "30", "other"]).ok();
    assert_eq!(shown(&live, "other", ".State.ExitCode"), "9");
    live.pybox(["rm", "deaf", "other"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn signals_and_waits() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "a"], "trap 'exit 5' USR1; touch /tmp/ready; while :; do sleep 0.05; done");
    detached(&live, &["--name", "b"], OBEDIENT);
    ready(&live, "a");
    ready(&live, "b");
    let waiting = live.pybox(["wait", "a", "b"]).start();
    assert_eq!(live.pybox(["kill", "-s", "SIGUSR1", "a"]).ok(), "a");
    live.pybox(["kill", "b"]).ok();
    assert_eq!(waiting.wait().exits(0).text(), "5\n137");
    assert_eq!(live.pybox(["wait", "a"]).ok(), "5");
    live.pybox(["kill", "a"]).run().refuses(1, "is not running");
    live.pybox(["wait", "nobody"]).run().refuses(1, "nobody");
    live.pybox(["stop", "nobody"]).run().refuses(1, "nobody");
    live.pybox(["kill", "-s", "NOSUCH", "a"]).run().refuses(1, "NOSUCH");
    live.pybox(["rm", "a", "b"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn several_stop_at_the_same_time() {
    let Some(live) = Live::new() else { return };
    let names: Vec<String> = (0..5).map(|number| format!("n{number}")).collect();
    for name in &names {
        detached(&live, &["--name", name], OBEDIENT);
    }
    for name in &names {
        ready(&live, name);
    }
    let words = ["stop"].into_iter().map(str::to_owned).chain(names.iter().cloned()).chain(["nobody".to_owned()]);
    let end = live.pybox(words).run().exits(1).says("nobody");
    assert_eq!(end.text(), names.join("\n"));
    assert_eq!(live.pybox(["ps", "-q"]).ok(), "");
    live.pybox(["rm"].into_iter().map(str::to_owned).chain(names)).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_detached_container_with_rm_goes_by_itself() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--rm", "--name", "brief"], "sleep 0.2");
    let started = Instant::now();
    while live.root().join("containers").read_dir().expect("bundles").next().is_some() {
        assert!(started.elapsed() < Duration::from_secs(20), "it stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn policies_start_it_again() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "fails", "--restart", "on-failure:2"], "echo x >> /count; exit 4");
    awaits(&live, "fails", ".State.Status", "exited");
    assert_eq!(shown(&live, "fails", ".State.ExitCode"), "4");
    let files = std::fs::read_dir(live.root().join("containers")).expect("bundles").flatten().next().expect("a bundle");
    let count = std::fs::read_to_string(files.path().join("upper/count")).expect("the file");
    assert_eq!(count, "x\nx\nx\n");
    let good = detached(&live, &["--name", "good", "--restart", "on-failure"], "exit 0");
    awaits(&live, &good, ".State.Status", "exited");
    // Killed from inside it comes back, stopped by the user it does not.
    detached(&live, &["--name", "always", "--restart", "always"], OBEDIENT);
    ready(&live, "always");
    let pid: i32 = shown(&live, "always", ".State.Pid").parse().expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
    let started = Instant::now();
    while [pid.to_string(), "0".to_owned()].contains(&shown(&live, "always", ".State.Pid")) {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come back");
    }
    live.pybox(["stop", "always"]).ok();
    assert_eq!(shown(&live, "always", ".State.Status"), "exited");
    // What was running and is to run, after the machine was restarted or by a unit at login.
    assert_eq!(live.pybox(["start", "--all-due"]).ok(), "always");
    assert_eq!(live.pybox(["start", "--all-due"]).ok(), "");
    live.pybox(["rm", "-f", "always", "good", "fails"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn time_limits_and_frozen_containers() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "short", "--timeout", "1"], "sleep 300");
    assert_eq!(live.pybox(["wait", "short"]).ok(), "137");
    assert_eq!(shown(&live, "short", ".State.Error"), "its time was up");
    let seen = live.directory("seen");
    let volume = format!("{}:/seen", seen.display());
    let script = "touch /tmp/ready; while :; do echo x >> /seen/ticks; sleep 0.02; done";
    detached(&live, &["--name", "ice", "-v", &volume], script);
    ready(&live, "ice");
    let ticks = || std::fs::metadata(seen.join("ticks")).map_or(0, |facts| facts.len());
    live.pybox(["pause", "ice"]).ok();
    assert_eq!(shown(&live, "ice", ".State.Status"), "paused");
    live.pybox(["pause", "ice"]).run().refuses(1, "already paused");
    let before = ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(), before);
    live.pybox(["unpause", "ice"]).ok();
    let started = Instant::now();
    while ticks() == before {
        assert!(started.elapsed() < Duration::from_secs(20), "it stays frozen");
    }
    live.pybox(["unpause", "ice"]).run().refuses(1, "not paused");
    live.pybox(["pause", "ice"]).ok();
    live.pybox(["start", "ice"]).run().refuses(1, "paused");
    // A frozen container can be stopped.
    live.pybox(["stop", "-t", "1", "ice"]).ok();
    live.pybox(["rm", "ice", "short"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn attached_callers_come_and_go() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "cat", "-i"], "touch /tmp/ready; while read line; do echo got $line; done; exit 6");
    ready(&live, "cat");
    // Input of a caller that ends leaves the program's open.
    let one = live.pybox(["attach", "cat"]).stdin("one\n").start();
    one.shows("got one\n");
    one.signal(Signal::SIGKILL);
    assert_eq!(one.wait().text(), "got one");
    assert_eq!(shown(&live, "cat", ".State.Status"), "running");
    let two = live.pybox(["attach", "--no-stdin", "cat"]).start();
    let mut three = live.pybox(["attach", "--sig-proxy=false", "cat"]).typed().start();
    // Who attaches sees what comes from then on: the first that it sees says that it is there.
    let started = Instant::now();
    while !(two.has_shown("got hello\n") && three.has_shown("got hello\n")) {
        assert!(started.elapsed() < Duration::from_secs(20), "nobody hears anything");
        three.types("hello\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    three.types("three\n");
    three.shows("got three\n");
    two.shows("got three\n");
    three.signal(Signal::SIGTERM);
    assert!(three.wait().exits(0).text().ends_with("got three"));
    live.pybox(["kill", "cat"]).ok();
    assert!(two.wait().exits(137).text().ends_with("got three"));
    live.pybox(["attach", "cat"]).run().refuses(1, "is not running");
    live.pybox(["rm", "cat"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lost_monitor_takes_its_container_with_it() {
    let Some(live) = Live::new() else { return };
    detached(&live, &["--name", "orphan"], OBEDIENT);
    ready(&live, "orphan");
    let bundle = std::fs::read_dir(live.root().join("containers")).expect("bundles").flatten().next().expect("one");
    let run: Value =
        serde_json::from_slice(&std::fs::read(bundle.path().join("run.json")).expect("run.json")).expect("JSON");
    let pid = run["monitor"]["pid"].as_i64().expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL)
        .expect("kill");
    awaits(&live, "orphan", ".State.Status", "exited");
    assert_eq!(shown(&live, "orphan", ".State.ExitCode"), "137");
    assert_eq!(shown(&live, "orphan", ".State.Error"), "monitor lost");
    // It can be started again.
    live.pybox(["start", "orphan"]).ok();
    ready(&live, "orphan");
    live.pybox(["rm", "-f", "orphan"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
