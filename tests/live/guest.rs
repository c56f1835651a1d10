//! A container that a test runs in the background, and waiting for what comes of it.

use std::time::{Duration, Instant};

use crate::harness::{Live, Run};

/// A container that runs in the background; removed when dropped.
pub(crate) struct Guest<'a> {
    pub(crate) live: &'a Live,
    pub(crate) name: String,
}

impl<'a> Guest<'a> {
    /// `pybox run -d FLAGS… busybox sh -c SCRIPT`; the script says when it is ready by `touch /tmp/ready`.
    pub(crate) fn runs(live: &'a Live, flags: &[&str], script: &str) -> Self {
        Self::of_image(live, "busybox", flags, script)
    }

    pub(crate) fn of_image(live: &'a Live, image: &str, flags: &[&str], script: &str) -> Self {
        let image = live.image(image);
        let arguments = ["run", "-d", "--name", "guest"].iter().chain(flags).copied();
        live.pybox(arguments.chain([image.as_str(), "sh", "-c", script])).ok();
        let guest = Self { live, name: "guest".to_owned() };
        if script.contains("/tmp/ready") {
            awaits(|| guest.exec(&[], &["test", "-e", "/tmp/ready"]).run().code == Some(0));
        }
        guest
    }

    /// One that only sleeps.
    pub(crate) fn sleeps(live: &'a Live, flags: &[&str]) -> Self {
        Self::runs(live, flags, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    }

    /// `pybox exec FLAGS… guest WORDS…`.
    pub(crate) fn exec(&self, flags: &[&str], words: &[&str]) -> Run {
        let arguments = ["exec"].iter().chain(flags).copied().chain([self.name.as_str()]);
        self.live.pybox(arguments.chain(words.iter().copied()))
    }

    /// `pybox exec FLAGS… guest sh -c SCRIPT`.
    pub(crate) fn sh(&self, flags: &[&str], script: &str) -> Run {
        self.exec(flags, &["sh", "-c", script])
    }

    /// The command lines of all its processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.exec(&[], &["ps", "-o", "args"]).ok().lines().skip(1).map(str::to_owned).collect()
    }

    /// How many of its processes have a command line that begins so.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.processes().iter().filter(|line| line.starts_with(words)).count()
    }

    /// Kills those whose command line begins so.
    pub(crate) fn kill_all(&self, words: &str) {
        let script =
            format!("ps -o pid,args | while read -r pid args; do case $args in '{words}'*) kill $pid;; esac; done");
        self.sh(&[], &script).ok();
    }

    /// The pids of the first process and of the monitor.
    pub(crate) fn pids(&self) -> (u32, u32) {
        let init = self.live.pybox(["inspect", "--format", "{{.State.Pid}}", &self.name]).ok().parse().expect("a pid");
        (init, parent_of(init).expect("a parent"))
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.live.pybox(["rm", "-f", &self.name]).run();
    }
}

/// The parent of a process that is there.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok())
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn awaits(so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(30), "what is awaited does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
