//! A container is frozen while its files are read, and pauses of its user are another matter.

use crate::aftermath::{armed, faulty, field, gone, ordinary, with_busybox};
use crate::guest::{Guest, awaits};

#[test]
fn who_pauses_a_container_that_is_held_finds_it_paused() {
    let Some(live) = armed() else { return };
    with_busybox(&live);
    let guest = Guest::runs(&live, &[], "touch /tmp/ready; while :; do echo x >> /tmp/ticks; sleep 0.02; done");
    let (init, _) = guest.pids();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("read stat");
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state")
    };
    let held = || faulty(&live, "commit.paused:sleep=1500", ["commit", "-q", "guest"]).start();
    let shown = || field(&live, "guest", ".State.Status").expect("a state");
    // What is asked for meanwhile waits, and is done.
    let commit = held();
    awaits(|| state() == 'T');
    assert_eq!(shown(), "running");
    assert_eq!(ordinary(&live, ["exec", "guest", "echo", "done"]).exits(0).text(), "done");
    commit.wait().exits(0);
    // A pause outlives the reader.
    let commit = held();
    awaits(|| state() == 'T');
    ordinary(&live, ["pause", "guest"]).exits(0);
    commit.wait().exits(0);
    assert_eq!((shown().as_str(), state()), ("paused", 'T'));
    // A reader finds it paused, and it goes on only when both are done with it.
    let commit = held();
    ordinary(&live, ["unpause", "guest"]).exits(0);
    commit.wait().exits(0);
    awaits(|| state() != 'T');
    assert_eq!(shown(), "running");
    // One that ends while it is held has been kept all the same.
    let commit = held();
    awaits(|| state() == 'T');
    ordinary(&live, ["kill", "guest"]).exits(0);
    commit.wait().exits(0);
    drop(guest);
    gone(&live, "holding");
}
