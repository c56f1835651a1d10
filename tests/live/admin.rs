//! Looking after containers: names, processes, room, events, settings, and what is no longer needed.

use crate::exec::{Guest, awaits};
use crate::harness::Live;

const STEADY: &str = "touch /tmp/ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn a_container_takes_another_name() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let mut guest = Guest::runs(&live, &[], STEADY);
    live.pybox(["create", "--name", "other", &image, "true"]).ok();
    live.pybox(["rename", "guest", "other"]).run().refuses(1, "other").says("hint:");
    live.pybox(["rename", "guest", "../x"]).run().refuses(1, "../x");
    live.pybox(["rename", "guest", "renamed"]).ok();
    guest.name = "renamed".to_owned();
    assert_eq!(live.pybox(["ps", "--format", "{{.Names}}"]).ok(), "renamed");
    live.pybox(["inspect", "guest"]).run().refuses(1, "guest");
    // Its monitor knows: what happens from now on happens to the new name.
    live.pybox(["stop", "-t", "5", "renamed"]).ok();
    let told = ["events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--format", "{{.Name}}"];
    assert_eq!(live.pybox(told).ok(), "renamed");
    live.pybox(["rm", "other"]).ok();
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn processes_and_what_they_use_are_shown() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &["-u", "1000"], "touch /tmp/ready; sleep 301 & exec sleep 302");
    let (init, _) = guest.pids();
    let top = live.pybox(["top", "guest"]).ok();
    let lines: Vec<&str> = top.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        "UID PID PPID C STIME TTY TIME CMD".split(' ').collect::<Vec<_>>()
    );
    assert_eq!(lines.len(), 3, "{top}");
    assert!(top.contains(&init.to_string()) && top.contains("sleep 301") && top.contains("sleep 302"), "{top}");
    let inside = live.pybox(["top", "guest", "pid", "args"]).ok();
    assert!(
        inside.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == ["1", "sleep", "302"]),
        "{inside}"
    );
    live.pybox(["top", "guest", "nosuch"]).run().refuses(1, "nosuch");
    let stats = live.pybox(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.CPUPerc}}"]).ok();
    assert!(stats.starts_with("guest 2 ") && stats.ends_with('%'), "{stats}");
    assert_eq!(live.pybox(["port", "guest"]).ok(), "");
    live.pybox(["top", "nosuch"]).run().refuses(1, "nosuch").says("pybox ps --all");
    drop(guest);
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let names = ["events", "--filter", "container=told", "--filter", "container=early"];
    let follow = names.into_iter().chain(["--format", "{{.Type}} {{.Action}} {{.Name}}"]);
    let watcher = live.pybox(follow).within(60).start();
    // Who watches sees what happens from then on.
    awaits(|| {
        live.pybox(["create", "--name", "early", &image]).ok();
        live.pybox(["rm", "early"]).ok();
        watcher.has_shown("early")
    });
    live.pybox(["run", "--name", "told", "--label", "tier=web", &image, "sh", "-c", "exit 3"]).run().exits(3);
    live.pybox(["rm", "told"]).ok();
    watcher.shows("destroy told");
    watcher.signal(nix::sys::signal::Signal::SIGTERM);
    let seen = watcher.wait().text();
    let seen: Vec<&str> = seen.lines().filter(|line| line.ends_with(" told")).collect();
    assert_eq!(seen, ["create", "start", "die", "destroy"].map(|action| format!("container {action} told")));
    let past = |flags: &[&str]| {
        let words = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"].iter().chain(flags);
        live.pybox(words.copied()).ok()
    };
    assert_eq!(past(&["--filter", "label=tier=web"]).lines().count(), 4);
    assert_eq!(past(&["--filter", "event=die", "--filter", "type=container"]), "die");
    assert_eq!(past(&["--filter", "container=nosuch"]), "");
    let die = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=die",
        "--format",
        "{{.Actor.Attributes.exitCode}}",
    ];
    assert_eq!(live.pybox(die).ok(), "3");
    let json =
        live.pybox(["events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--format", "json"]).ok();
    assert!(json.starts_with("{\"") && json.contains("\"Action\":\"die\"") && json.lines().count() == 1, "{json}");
}

#[test]
fn room_is_measured_and_given_back() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    let guest = Guest::runs(&live, &["-v", "used:/used"], STEADY);
    guest.sh(&[], "head -c 100000 /dev/zero > /own; head -c 50000 /dev/zero > /used/more").ok();
    live.pybox(["run", "--name", "old", &image, "true"]).ok();
    live.pybox(["volume", "create", "spare"]).ok();
    let size = live.pybox(["ps", "-s", "--format", "{{.Size}}"]).ok();
    assert!(size.starts_with("100kB (virtual "), "{size}");
    let table = live.pybox(["system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}"]).ok();
    assert!(table.contains("Containers|2|1|") && table.contains("Local Volumes|2|1|50kB"), "{table}");
    let pruned = live.pybox(["container", "prune", "-f"]).ok();
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: "), "{pruned}");
    assert_eq!(live.pybox(["ps", "-a", "--format", "{{.Names}}"]).ok(), "guest");
    live.pybox(["system", "prune"]).run().refuses(1, "standard input is no terminal").says("--force");
    live.pybox(["system", "prune", "-f", "--volumes"]).ok();
    // A volume with a name is nobody's to prune unasked, and what runs keeps what it has.
    assert_eq!(live.pybox(["volume", "ls", "-q"]).ok(), "spare\nused");
    assert_eq!(live.pybox(["volume", "prune", "-f", "--all"]).ok().lines().nth(1), Some("spare"));
    guest.exec(&[], &["test", "-s", "/used/more"]).ok();
    drop(guest);
    live.pybox(["volume", "rm", "used"]).ok();
    live.pybox(["check"]).run().exits(0);
}

#[test]
fn a_policy_can_be_changed_while_it_runs() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, &["--restart", "always"], "touch /tmp/ready; sleep 0.3; exit 4");
    awaits(|| live.pybox(["inspect", "--format", "{{.RestartCount}}", "guest"]).ok() != "0");
    live.pybox(["update", "--restart", "no", "guest"]).ok();
    awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
    let format = "{{.HostConfig.RestartPolicy.Name}} {{.State.ExitCode}}";
    assert_eq!(live.pybox(["inspect", "--format", format, "guest"]).ok(), "no 4");
    live.pybox(["update", "guest"]).run().refuses(1, "nothing to change");
    live.pybox(["update", "--restart", "sometimes", "guest"]).run().refuses(1, "sometimes");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
