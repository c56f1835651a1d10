//! `check`: clean after ordinary work, and after what was broken by hand has been put right.

use std::fs;

use crate::exec::Guest;
use crate::harness::Live;

const STEADY: &str = "touch /tmp/ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn ordinary_work_leaves_nothing_to_find() {
    let Some(live) = Live::new() else { return };
    let clean = |what: &str| {
        let end = live.pybox(["check", "--full"]).run().exits(0);
        assert!(end.stdout.is_empty(), "after {what}: {end}");
    };
    clean("nothing");
    let guest = Guest::runs(&live, &["-v", "data:/data", "-v", "/more"], STEADY);
    clean("a start");
    guest.exec(&[], &["touch", "/x"]).ok();
    live.pybox(["commit", "-q", "guest", "kept:1"]).ok();
    clean("a commit");
    live.pybox(["restart", "-t", "5", "guest"]).ok();
    clean("a restart");
    drop(guest);
    live.pybox(["rmi", "kept:1"]).ok();
    live.pybox(["system", "prune", "-f", "--volumes"]).ok();
    clean("the end");
}

#[test]
fn what_is_broken_by_hand_is_found_and_put_right() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["create", "--name", "lost", &image, "true"]).ok();
    live.pybox(["run", "--name", "kept", &image, "sh", "-c", "echo kept"]).ok();
    let root = live.root();
    let lost = live.pybox(["inspect", "--format", "{{.Id}}", "lost"]).ok();
    fs::remove_dir_all(root.join("containers").join(&lost)).expect("remove");
    let hex = "cd".repeat(32);
    for place in [format!("containers/{hex}/upper"), format!("images/layers/{hex}/diff"), "trash/old".to_owned()] {
        fs::create_dir_all(root.join(&place)).expect("mkdir");
        live.user.owns(&root.join(&place), 0o700).expect("give it to the test user");
        live.user.owns(root.join(&place).parent().expect("a parent"), 0o700).expect("give it to the test user");
    }
    let end = live.pybox(["check", "--format", "{{.Subject}}: {{.Problem}}"]).run().exits(1);
    let said = end.text();
    // A bundle without a row is swept by whoever looks at containers, so it is no finding by then.
    for words in ["container lost: has lost its files", "was not finished", "waits"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    assert!(!root.join("containers").join(&hex).exists());
    assert_eq!(said.lines().count(), 3, "{said}");
    let end = live.pybox(["check", "--repair"]).run().exits(0);
    assert!(end.text().lines().all(|line| line.ends_with(": repaired")), "{end}");
    live.pybox(["check", "--full"]).run().exits(0);
    // Nothing else is lost.
    assert_eq!(live.pybox(["logs", "kept"]).ok(), "kept");
    assert_eq!(live.pybox(["ps", "-a", "--format", "{{.Names}}"]).ok(), "kept");
    live.pybox(["rm", "kept"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_monitor_that_was_killed_takes_its_container_along() {
    let Some(live) = Live::new() else { return };
    for (policy, restarted) in [("no", false), ("always", true)] {
        let guest = Guest::runs(&live, &["--restart", policy], "touch /tmp/ready; echo written; exec sleep 300");
        let (init, monitor) = guest.pids();
        let kill = |pid: u32| {
            let pid = nix::unistd::Pid::from_raw(pid.try_into().expect("a pid"));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
        };
        kill(monitor).expect("kill");
        // The next look finds out, and nothing of it is left running.
        crate::exec::awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
        let format = "{{.State.ExitCode}} {{.State.Error}}";
        assert_eq!(live.pybox(["inspect", "--format", format, "guest"]).ok(), "137 monitor lost");
        crate::exec::awaits(|| !std::path::Path::new(&format!("/proc/{init}")).exists());
        live.pybox(["check"]).run().exits(0);
        assert_eq!(live.pybox(["logs", "guest"]).ok(), "written");
        // What a policy wants running is started by the next login, once.
        live.pybox(["start", "--all-due"]).ok();
        let status = live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok();
        assert_eq!(status == "running", restarted, "{policy}: {status}");
        drop(guest);
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
