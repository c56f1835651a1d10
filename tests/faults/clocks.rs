//! T14: the time of day jumps. Nothing is timed by it: limits, pauses and checks go on as if nothing had been, nobody's
//! work is taken for old, and output stays in the order in which it came.
//!
//! A clock that jumps under a monitor that runs is a failpoint (`clock:shift=FILE`), as nobody may set the machine's
//! for a test. The clocks that only go on (CLOCK_MONOTONIC, CLOCK_BOOTTIME) are other ones in a time namespace.
//! A suspend, in which one of the two goes on and the other does not, cannot be had without suspending the machine.

use std::time::{Duration, Instant};

use crate::aftermath::{armed, faulty, field, gone, ordinary, whole, with_busybox};
use crate::guest::awaits;
use crate::harness::{Live, Run};

const HOUR: i64 = 3600;
const DECADE: i64 = 10 * 366 * 24 * HOUR;
/// Somewhere in January 1970.
const LONG_AGO: i64 = -56 * 366 * 24 * HOUR;

struct Clock {
    point: String,
    file: std::path::PathBuf,
}

impl Clock {
    fn new(live: &Live) -> Self {
        let file = live.file("clock", "0");
        Self { point: format!("clock:shift={}", file.display()), file }
    }

    fn jumps(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, seconds.to_string()).expect("write");
        std::fs::rename(new, &self.file).expect("rename");
    }
}

#[test]
fn whatever_the_time_of_day_limits_are_kept() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    let clock = Clock::new(&live);
    let run = |words: &[&str]| faulty(&live, &clock.point, words.iter().copied()).within(20).run();
    for seconds in [HOUR, -HOUR, DECADE, -DECADE, LONG_AGO] {
        clock.jumps(0);
        let deaf = "trap '' TERM; echo before; until test -e /go; do sleep 0.02; done; echo after; while :; do sleep 0.05; done";
        let check = ["--health-cmd", "echo x >> /checks", "--health-interval", "200ms"];
        let words = ["run", "-d", "--name", "deaf"].into_iter().chain(check).chain([&image, "sh", "-c", deaf]);
        run(&words.collect::<Vec<_>>()).exits(0);
        run(&["run", "-d", "--name", "limited", "--timeout", "3", &image, "sleep", "300"]).exits(0);
        let begun = Instant::now();
        run(&["run", "-d", "--name", "again", "--restart", "on-failure:4", &image, "sh", "-c", "exit 4"]).exits(0);
        clock.jumps(seconds);
        let checks = || ordinary(&live, ["exec", "deaf", "wc", "-l", "/checks"]).text();
        let before = checks();
        awaits(|| checks() != before);
        // 100 + 200 + 400 + 800 ms lie between the starts.
        assert_eq!(run(&["wait", "limited"]).text(), "137");
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(12), "{seconds}: {took:?}");
        let again = || field(&live, "again", "printf \"%v %v\" .State.Status .RestartCount");
        awaits(|| again().as_deref() == Some("exited 4"));
        ordinary(&live, ["exec", "deaf", "touch", "/go"]).exits(0);
        awaits(|| ordinary(&live, ["logs", "deaf"]).text().ends_with("after"));
        // In the order of writing, whatever their times say.
        assert_eq!(run(&["logs", "deaf"]).text(), "before\nafter");
        assert_eq!(run(&["logs", "-n", "1", "-t", "deaf"]).text().split(' ').nth(1), Some("after"));
        let begun = Instant::now();
        run(&["stop", "-t", "1", "deaf"]).exits(0);
        assert!((900..6000).contains(&begun.elapsed().as_millis()), "{seconds}: {:?}", begun.elapsed());
        for words in
            [&["ps", "-a"] as &[&str], &["inspect", "deaf"], &["events", "--since", "1h", "--until", "0s"], &["images"]]
        {
            let end = run(words).exits(0);
            assert!(!end.stderr.contains("panicked"), "{seconds}: {end}");
        }
        run(&["rm", "-f", "deaf", "limited", "again"]).exits(0);
        gone(&live, &format!("a jump by {seconds} s"));
    }
}

#[test]
fn nobodys_work_is_taken_for_old() {
    let Some(live) = armed() else { return };
    let image = with_busybox(&live);
    let clock = Clock::new(&live);
    clock.jumps(DECADE);
    let prune = || faulty(&live, &clock.point, ["system", "prune", "-f"]).run().exits(0);
    let layered = live.image("layered");
    let under_way: [(&str, Vec<&str>); 5] = [
        ("create.bundle_locked:sleep=1500", vec!["run", "--rm", "--name", "slow", &image, "true"]),
        ("create.filled:sleep=1500", vec!["run", "--rm", "-v", "data:/data", "--name", "slow", &image, "true"]),
        ("pull.bytes_appended@1:sleep=1500", vec!["pull", "-q", &layered]),
        ("layer.marked@1:sleep=1500", vec!["pull", "-q", &layered]),
        ("pull.documents_put:sleep=1500", vec!["pull", "-q", &layered]),
    ];
    for (point, words) in under_way {
        let working = faulty(&live, point, words).within(20).start();
        std::thread::sleep(Duration::from_millis(700));
        prune();
        // Another one looks without harm, too.
        ordinary(&live, ["check"]);
        working.wait().exits(0);
        whole(&live, point);
        ordinary(&live, ["rmi", "-f", &layered]);
        ordinary(&live, ["volume", "rm", "-f", "data"]);
    }
    // Running, as what has ended is what a pruning is for.
    ordinary(&live, ["run", "-d", "--name", "source", &image, "sh", "-c", "touch /made; exec sleep 300"]).exits(0);
    for point in ["commit.spooled:sleep=1500", "commit.blob_kept:sleep=1500", "commit.documents_put:sleep=1500"] {
        let working = faulty(&live, point, ["commit", "-q", "source", "kept:1"]).within(20).start();
        std::thread::sleep(Duration::from_millis(700));
        prune();
        ordinary(&live, ["check"]);
        working.wait().exits(0);
        ordinary(&live, ["run", "--rm", "kept:1", "true"]).exits(0);
        ordinary(&live, ["rmi", "-f", "kept:1"]).exits(0);
    }
    ordinary(&live, ["rm", "-f", "source"]).exits(0);
    gone(&live, "garbage collection in ten years");
}

#[test]
fn other_clocks_since_boot_are_no_other_processes() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        crate::fixture::skip("only root can make a time namespace without a user namespace");
        return;
    }
    let image = with_busybox(&live);
    let user = &live.user;
    for seconds in ["90000000", "86400"] {
        let mut command = live.privileged("unshare");
        command.args(["--time", "--boottime", seconds, "--monotonic", seconds, "--fork", "setpriv"]);
        command.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups"]);
        command.arg(live.program());
        command.args([
            "run",
            "-d",
            "--name",
            "elsewhen",
            &image,
            "sh",
            "-c",
            "trap 'exit 3' TERM; while :; do sleep 0.05; done",
        ]);
        Run::of(command).within(10).run().exits(0);
        assert_eq!(field(&live, "elsewhen", ".State.Status").as_deref(), Some("running"));
        ordinary(&live, ["exec", "elsewhen", "true"]).exits(0);
        whole(&live, "other clocks");
        ordinary(&live, ["stop", "-t", "5", "elsewhen"]).exits(0);
        assert_eq!(field(&live, "elsewhen", ".State.ExitCode").as_deref(), Some("3"));
        ordinary(&live, ["start", "elsewhen"]).exits(0);
        ordinary(&live, ["rm", "-f", "elsewhen"]).exits(0);
    }
    gone(&live, "other clocks");
}
