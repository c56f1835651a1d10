//! Many execs, at once and one after another: the monitor is afterwards what it was before.

use std::fs;

use crate::exec::{Guest, awaits};
use crate::harness::{Live, Running};

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    children: Vec<u32>,
    threads: usize,
}

fn holdings(pid: u32) -> Holdings {
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).expect("a process").count();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    let mut children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    children.sort_unstable();
    Holdings { descriptors: count("fd"), children, threads: count("task") }
}

/// What it holds when it has done what it was about to do.
fn holdings_at_rest(pid: u32) -> Holdings {
    let mut last = holdings(pid);
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = holdings(pid);
        if now == last {
            return now;
        }
        last = now;
    }
}

/// KiB that are its own.
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("memory");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number")
    };
    field("Private_Dirty:")
}

/// How many execs are made one after another: T25 of SECURITY.md.
fn many() -> u32 {
    if crate::harness::long() { 10_000 } else { 1_000 }
}

/// The session keyrings of this test's container; root sees no other's, so the test user looks.
fn keys(live: &Live) -> usize {
    let mut command = live.command("cat");
    command.arg("/proc/keys");
    let id = live.pybox(["inspect", "--format", "{{.Id}}", "guest"]).ok();
    let keys = crate::harness::Run::of(command).ok();
    keys.lines().filter(|line| line.contains(&format!("_pybox.{}", &id[..12]))).count()
}

#[test]
fn two_hundred_at_once_leave_nothing() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::sleeps(&live, &[]);
    let (_, monitor) = guest.pids();
    guest.exec(&[], &["true"]).ok();
    let before = holdings_at_rest(monitor);
    let running: Vec<Running> = (0..200)
        .map(|number| guest.exec(&["-i"], &["sh", "-c", &format!("cat; exit {}", number % 100)]).stdin("bytes\n"))
        .map(|run| run.within(180).start())
        .collect();
    for (number, running) in running.into_iter().enumerate() {
        let end = running.wait().exits(i32::try_from(number % 100).expect("small"));
        assert!(end.text() == "bytes" && end.stderr.is_empty(), "{end}");
    }
    awaits(|| holdings(monitor) == before);
    // The container's shell and its sleep are all there is.
    assert!(guest.exec(&[], &["ps"]).ok().lines().count() <= 4);
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn many_one_after_another_leave_nothing() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &["--init"], "touch /tmp/ready; exec sleep 3000");
    let (_, monitor) = guest.pids();
    let one = |number: u32| {
        match number % 4 {
            0 => guest.exec(&["-d"], &["true"]).run().exits(0),
            1 => guest.exec(&[], &["nosuch"]).run().exits(127),
            2 => guest.exec(&["-t"], &["echo", "x"]).run().exits(0),
            _ => guest.exec(&[], &["true"]).run().exits(0),
        };
    };
    let children = holdings_at_rest(monitor).children;
    // The heap finds its shape with the first of each kind.
    (0..80).for_each(one);
    awaits(|| holdings(monitor).children == children);
    // Awake: what it lets go of when it sleeps for long does not count.
    one(3);
    let (before, memory_before) = (holdings_at_rest(monitor), memory(monitor));
    let mounts = || fs::read_to_string(format!("/proc/{monitor}/mountinfo")).expect("mounts").lines().count();
    let (keys_before, mounts_before) = (keys(&live), mounts());
    (0..many()).for_each(one);
    awaits(|| holdings(monitor) == before);
    awaits(|| keys(&live) <= keys_before);
    assert_eq!(mounts(), mounts_before);
    one(3);
    let grown = memory(monitor).saturating_sub(memory_before);
    assert!(grown <= 64, "the monitor has grown by {grown} KiB");
    assert_eq!(guest.exec(&[], &["ps"]).ok().lines().count(), 4);
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn execs_and_the_end_of_the_container_meet() {
    let Some(live) = Live::new() else { return };
    for round in 0..8 {
        let guest = Guest::runs(&live, &[], "touch /tmp/ready; exec sleep 300");
        let running: Vec<Running> = (0..12).map(|_| guest.exec(&[], &["true"]).start()).collect();
        std::thread::sleep(std::time::Duration::from_millis(round * 7));
        live.pybox(["kill", "guest"]).ok();
        for running in running {
            let end = running.wait();
            assert!(matches!(end.code, Some(0 | 125 | 137)), "{end}");
            assert!(end.code != Some(125) || end.stderr.contains("hint:"), "{end}");
            assert!(!end.stderr.contains("panicked"), "{end}");
        }
        drop(guest);
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
