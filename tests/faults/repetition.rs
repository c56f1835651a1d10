//! T25: the same thing again and again leaves descriptors, memory, keys, mounts and namespaces as they were.
//! Execs stand in tests/live/exec_storms.rs.

use std::fs;
use std::time::Duration;

use crate::aftermath::{gone, long, ordinary, with_busybox};
use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};

/// What the kernel keeps for the test user and the monitor.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    children: usize,
    keys: usize,
    mounts: usize,
}

fn holdings(live: &Live, monitor: u32) -> Holdings {
    let count = |what: &str| fs::read_dir(format!("/proc/{monitor}/{what}")).map_or(0, Iterator::count);
    let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap_or_default();
    let mounts = fs::read_to_string(format!("/proc/{monitor}/mountinfo")).unwrap_or_default();
    Holdings {
        descriptors: count("fd"),
        threads: count("task"),
        children: children.split_whitespace().count(),
        keys: keys(live),
        mounts: mounts.lines().count(),
    }
}

/// The session keyrings of this test's containers.
fn keys(live: &Live) -> usize {
    let keys = Run::of({
        let mut command = live.command("cat");
        command.arg("/proc/keys");
        command
    });
    let ids = fs::read_dir(live.root().join("containers")).into_iter().flatten().flatten();
    let ids: Vec<String> = ids.map(|entry| entry.file_name().to_string_lossy()[..12].to_owned()).collect();
    keys.ok().lines().filter(|line| ids.iter().any(|id| line.contains(&format!("_pybox.{id}")))).count()
}

/// KiB that are its own.
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("memory");
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("a field");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
fn attaching_again_and_again() {
    let Some(live) = Live::new() else { return };
    with_busybox(&live);
    let guest = Guest::runs(&live, &["-i"], "touch /tmp/ready; exec sleep 3000");
    let (_, monitor) = guest.pids();
    let one = |number: u32| {
        // Half of them leave by themselves, half are killed.
        let flags: &[&str] =
            if number.is_multiple_of(2) { &["attach", "--sig-proxy=false", "guest"] } else { &["attach", "guest"] };
        let attached = live.pybox(flags.iter().copied()).stdin("x\n").start();
        std::thread::sleep(Duration::from_millis(30));
        attached.signal(if number.is_multiple_of(2) {
            nix::sys::signal::Signal::SIGTERM
        } else {
            nix::sys::signal::Signal::SIGKILL
        });
        attached.wait();
    };
    (0..20).for_each(one);
    let settled = || holdings(&live, monitor).descriptors;
    std::thread::sleep(Duration::from_millis(300));
    let before = holdings(&live, monitor);
    // Awake: what it lets go of when it sleeps for long does not count. On a busy machine it may sleep before it is looked
    // at; what has leaked is there each time.
    let looks = || {
        (0..5).map(|_| {
            one(1);
            memory(monitor)
        })
    };
    let memory_before = looks().max().expect("a look");
    (0..if long() { 10_000 } else { 200 }).for_each(one);
    awaits(|| settled() == before.descriptors);
    awaits(|| holdings(&live, monitor).keys <= before.keys);
    assert_eq!(Holdings { keys: before.keys, ..holdings(&live, monitor) }, before);
    let grown = looks().min().expect("a look").saturating_sub(memory_before);
    assert!(grown <= 256, "the monitor has grown by {grown} KiB");
    drop(guest);
    gone(&live, "attaching");
}

#[test]
fn starting_and_stopping_again_and_again() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let flags = ["-v", "data:/data", "--health-cmd", "true", "--health-interval", "100ms"];
    let words = ["create", "--name", "guest"].into_iter().chain(flags);
    ordinary(&live, words.chain([&image, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"])).exits(0);
    let one = |number: u32| {
        ordinary(&live, ["start", "guest"]).exits(0);
        match number % 3 {
            0 => ordinary(&live, ["stop", "-t", "5", "guest"]).exits(0),
            1 => ordinary(&live, ["kill", "guest"]).exits(0),
            _ => ordinary(&live, ["restart", "-t", "0", "guest"]).exits(0),
        };
        ordinary(&live, ["stop", "-t", "0", "guest"]).exits(0);
    };
    (0..3).for_each(one);
    let files = || fs::read_dir(live.root().join("containers")).expect("bundles").flatten().next().expect("one").path();
    let count = || fs::read_dir(files()).expect("a bundle").count();
    // The kernel lets go of session keyrings in its own time.
    awaits(|| keys(&live) == 0);
    let before = (0, count());
    (0..if long() { 5_000 } else { 40 }).for_each(one);
    awaits(|| (keys(&live), count()) == before);
    assert_eq!(live.leftovers().len(), 1, "the bundle alone");
    ordinary(&live, ["rm", "guest"]).exits(0);
    ordinary(&live, ["volume", "rm", "data"]).exits(0);
    gone(&live, "starting and stopping");
}
