//! The process that connects a container's network namespace, where one does: started while the container's first
//! process sets itself up, and started again if it dies.

use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::error::MonitorError;
use super::protocol::NetworkProgram;
use crate::network::program::{self, Started};
use crate::sys::clone::Child;

/// How long it may take to say that it is ready, in seconds.
const PATIENCE: u64 = 10;
const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long to wait between two looks at the routes.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 400_000 };
/// One that lived shorter than this is not started again at once.
const LIVES: Duration = Duration::from_secs(2);
/// As many short lives in a row are enough.
const MOST_LIVES: u32 = 5;
/// The longest sentence that it says.
const SENTENCE: u64 = 4096;

/// A connection. Dropped, its process is killed and reaped.
#[derive(Debug)]
pub struct Network {
    wish: NetworkProgram,
    /// The namespaces it needs, for the next time.
    network: OwnedFd,
    user: Option<OwnedFd>,
    process: Child,
    ready: Option<ChildStdout>,
    said: Option<ChildStderr>,
    began: Instant,
    short_lives: u32,
}

impl Network {
    /// Starts the process for these namespaces, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(wish: &NetworkProgram, network: OwnedFd, user: Option<OwnedFd>) -> Result<Self, MonitorError> {
        let Started { process, ready, said } = spawn(wish, &network, user.as_ref())?;
        let (wish, began, ready, said) = (wish.clone(), Instant::now(), Some(ready), Some(said));
        Ok(Self { wish, network, user, process, ready, said, began, short_lives: 0 })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Waits until the network of the process `pid` is there.
    ///
    /// pasta says that it is ready a good while after the routes are there, when it has made sockets in advance and
    /// shut itself in. What is sent until then waits in its interface. Only a port that cannot be had is told in the
    /// meantime, so whoever publishes none goes on as soon as there are routes.
    ///
    /// # Errors
    /// With what the process said when it gave up.
    pub fn await_ready(&mut self, pid: u32) -> Result<(), MonitorError> {
        let Some(mut ready) = self.ready.take() else { return Ok(()) };
        let expected = if self.wish.publishes { Vec::new() } else { Route::of("/proc/net") };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        loop {
            let step = if expected.is_empty() { &SECOND } else { &MOMENT };
            match rustix::event::poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(step)) {
                Ok(1..) => break,
                Ok(_) | Err(Errno::INTR) if Instant::now() < deadline => {}
                _ => return Err(MonitorError::Network("it does not get ready".to_owned())),
            }
            if !expected.is_empty() {
                let present = Route::of(&format!("/proc/{pid}/net"));
                if expected.iter().all(|route| present.contains(route)) {
                    // Kept open, so that it can say that it is ready; nobody waits for it.
                    (self.ready, self.said) = (Some(ready), None);
                    return Ok(());
                }
            }
        }
        let mut word = [0; 32];
        match ready.read(&mut word) {
            // What it says from now on is of no use to anybody: it must not wait for a reader either.
            Ok(length) if length > 0 => {
                self.said = None;
                Ok(())
            }
            _ => Err(MonitorError::Network(self.last_words())),
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(said) = self.said.take() {
            let _ = said.take(SENTENCE).read_to_string(&mut text);
        }
        let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if said.is_empty() { "it ended without a word".to_owned() } else { said.join("; ") }
    }

    /// It has ended, and been reaped: starts it again in the same namespaces. False if it does not stay alive.
    pub fn again(&mut self) -> bool {
        self.short_lives = if self.began.elapsed() < LIVES { self.short_lives + 1 } else { 0 };
        if self.short_lives >= MOST_LIVES {
            return false;
        }
        let Ok(started) = spawn(&self.wish, &self.network, self.user.as_ref()) else { return false };
        // Kept open, so that it can say that it is ready; nobody waits for it.
        (self.process, self.ready, self.began) = (started.process, Some(started.ready), Instant::now());
        true
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.process.kill();
        // Taking its interface down takes the kernel a while. Without ports of the host nobody needs to wait for it.
        if self.wish.publishes {
            // Whoever reaps all children may have had it.
            let _ = self.process.wait();
        }
    }
}

/// A way out, by its kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    V4,
    V6,
}

impl Route {
    /// The default routes of a network namespace, by its directory in /proc.
    fn of(directory: &str) -> Vec<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("{directory}/{file}")).unwrap_or_default();
        Self::in_tables(&read("route"), &read("ipv6_route"))
    }

    /// Out of the tables of fib_trie.c and net/ipv6/route.c. What leads to the loopback leads nowhere.
    fn in_tables(ipv4: &str, ipv6: &str) -> Vec<Self> {
        let leads_out = |line: &str, destination: usize, mask: usize, zero: &str, none: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is = |at: usize, value: &str| fields.get(at).is_some_and(|field| *field == value);
            is(destination, zero) && is(mask, none) && !is(0, "lo") && fields.last() != Some(&"lo")
        };
        let v4 = ipv4.lines().any(|line| leads_out(line, 1, 7, "00000000", "00000000"));
        let v6 = ipv6.lines().any(|line| leads_out(line, 0, 1, &"0".repeat(32), "00"));
        v4.then_some(Self::V4).into_iter().chain(v6.then_some(Self::V6)).collect()
    }
}

fn spawn(wish: &NetworkProgram, network: &OwnedFd, user: Option<&OwnedFd>) -> Result<Started, MonitorError> {
    program::start(&wish.program, &wish.arguments, network.as_fd(), user.map(AsFd::as_fd))
        .map_err(|error| MonitorError::System("start what connects the network", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_are_seen() {
        let ipv4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let near = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let zeros = "0".repeat(32);
        let ipv6 =
            |device: &str| format!("{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003 {device}\n");
        assert_eq!(Route::in_tables(ipv4, &ipv6("eth0")), [Route::V4, Route::V6]);
        assert_eq!(Route::in_tables(ipv4, &ipv6("lo")), [Route::V4]);
        assert!(Route::in_tables(near, "").is_empty());
    }
}
