//! Many at once, and killed at any moment: what is acknowledged stays, what is
//! not leaves nothing.

use std::time::Duration;

use nix::sys::signal::{Signal, killpg};

use crate::harness::Live;

#[test]
fn of_fifty_that_want_a_name_one_gets_it() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let running: Vec<_> =
        (0..50).map(|_| live.pybox(["run", "--name", "wanted", &image, "true"]).within(120).start()).collect();
    let ends: Vec<_> = running.into_iter().map(crate::harness::Running::wait).collect();
    let won = ends.iter().filter(|end| end.code == Some(0)).count();
    assert_eq!(won, 1, "{}", ends.iter().map(|end| end.stderr.as_str()).collect::<String>());
    for lost in ends.iter().filter(|end| end.code != Some(0)) {
        assert_eq!(lost.code, Some(125), "{lost}");
        assert!(lost.stderr.contains("wanted"), "{lost}");
    }
    live.pybox(["rm", "wanted"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// T19 of SECURITY.md.
#[test]
fn eight_hundred_sixteen_at_a_time_leave_nothing() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let most = if crate::harness::long() { 800 } else { 200 };
    let (next, times) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < most {
                    let begun = std::time::Instant::now();
                    let end = live.pybox(["run", "--rm", &image, "true"]).within(60).run();
                    assert!(end.code == Some(0) && end.stderr.is_empty(), "{end}");
                    times.lock().expect("no other has failed").push(begun.elapsed());
                }
            });
        }
    });
    let mut times = times.into_inner().expect("none has failed");
    times.sort();
    let (half, most_of_all) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    assert!(most_of_all < half * 10 + Duration::from_secs(2), "half within {half:?}, 99 % within {most_of_all:?}");
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
    live.pybox(["check", "--full"]).run().exits(0);
}

#[test]
fn a_hundred_at_once_leave_nothing() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    let running: Vec<_> = (0..100).map(|_| live.pybox(["run", "--rm", &image, "true"]).within(180).start()).collect();
    for run in running {
        let end = run.wait();
        assert!(end.code == Some(0) && end.stderr.is_empty(), "{end}");
    }
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_run_killed_at_any_moment_is_gone_or_whole() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    for milliseconds in (0..60).step_by(3) {
        let running = live.pybox(["run", "--rm", "--name", "struck", &image, "sleep", "0.02"]).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        killpg(running.pid(), Signal::SIGKILL).ok();
        running.wait();
        // The next ordinary commands work, whatever was left.
        live.pybox(["ps", "-a"]).ok();
        let again = live.pybox(["run", "--rm", &image, "true"]).run();
        assert_eq!(again.code, Some(0), "after {milliseconds} ms: {again}");
        live.pybox(["rm", "-f", "struck"]).run();
        let named = live.pybox(["run", "--rm", "--name", "struck", &image, "true"]).run();
        assert_eq!(named.code, Some(0), "after {milliseconds} ms: {named}");
    }
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn pulls_and_removals_at_once_never_break_an_image() {
    let Some(live) = Live::new() else { return };
    let (one, two) = (live.image("busybox"), live.image("layered"));
    live.pybox(["pull", &one]).ok();
    for _ in 0..5 {
        let pulls: Vec<_> = (0..3).map(|_| live.pybox(["pull", &two]).start()).collect();
        let removal = live.pybox(["rmi", &two]).start();
        let run = live.pybox(["run", "--rm", &one, "echo", "fine"]).start();
        assert_eq!(run.wait().exits(0).text(), "fine");
        removal.wait();
        for pull in pulls {
            pull.wait().exits(0);
        }
        // Present or not, what is listed runs.
        let end = live.pybox(["run", "--rm", &two, "cat", "/was-dir"]).run().exits(0);
        assert_eq!(end.text(), "a file now");
    }
}
