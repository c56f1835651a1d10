//! The health check: a command that is run in the container from time to time.
//!
//! The monitor does it itself, as one more process that joins, so that it needs neither
//! a daemon nor a timer of the system. What comes of it is in `health.json`.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::attached::null_device;
use super::error::MonitorError;
use super::exec::{Bond, Confinement, Order};
use super::incarnation::{LARGEST, whole};
use super::record::{self, HealthState, Probe};
use super::timers::is_due;
use crate::launch::document::Document;
use crate::model::supervision::{Health, HealthCheck};

/// How much of a check's output is kept, in bytes.
const OUTPUT: usize = 4096;
/// How many checks are kept.
const KEPT: usize = 5;

/// The checks of one container.
#[derive(Debug)]
pub struct Watch {
    check: HealthCheck,
    state: HealthState,
    /// When the program was executed.
    up_since: Instant,
    /// When the next check is due; none while one runs, and while nothing runs.
    next: Option<Instant>,
    running: Option<Checking>,
}

/// A check that runs.
#[derive(Debug)]
struct Checking {
    began: i64,
    /// When it has taken too long; none once it was killed for that.
    until: Option<Instant>,
    /// Closed when all is read.
    output: Option<OwnedFd>,
    text: Vec<u8>,
}

/// What is to be done by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A check begins.
    Begin,
    /// The one that runs is killed.
    Kill,
}

impl Watch {
    /// Nothing is checked yet.
    pub fn new(check: HealthCheck) -> Self {
        let state = HealthState { status: Health::Starting, failing_streak: 0, log: Vec::new() };
        Self { check, state, up_since: Instant::now(), next: None, running: None }
    }

    /// The container has been started.
    pub fn begin(&mut self) {
        *self = Self::new(self.check.clone());
        self.next = self.later();
    }

    /// It has ended.
    pub fn end(&mut self) {
        (self.next, self.running) = (None, None);
    }

    /// How it fares.
    pub fn state(&self) -> &HealthState {
        &self.state
    }

    /// When something is to be done.
    pub fn clock(&self) -> Option<Instant> {
        self.running.as_ref().map_or(self.next, |running| running.until)
    }

    /// What is to be done now.
    pub fn due(&mut self) -> Option<Due> {
        match &mut self.running {
            Some(running) if is_due(running.until) => {
                running.until = None;
                Some(Due::Kill)
            }
            None if is_due(self.next) => Some(Due::Begin),
            _ => None,
        }
    }

    /// The next check comes an interval later: the container is paused.
    pub fn put_off(&mut self) {
        self.next = self.later();
    }

    /// Begins a check: what is to be run in the container of the bundle.
    ///
    /// # Errors
    /// If `config.json` cannot be read, or a pipe cannot be made.
    pub fn order(&mut self, bundle: BorrowedFd<'_>) -> Result<Order, MonitorError> {
        let until = Instant::now().checked_add(Duration::from_millis(self.check.timeout));
        self.next = None;
        self.running = Some(Checking { began: record::now(), until, output: None, text: Vec::new() });
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::openat(bundle, "config.json", flags, rustix::fs::Mode::empty());
        let text = file.map_err(Into::into).and_then(|file| whole(file.as_fd(), LARGEST));
        let text = text.map_err(MonitorError::Bundle)?;
        let document: Document = serde_json::from_slice(&text).map_err(MonitorError::Document)?;
        let mut process = document.process.unwrap_or_default();
        process.args.clone_from(&self.check.command);
        (process.terminal, process.console_size) = (false, None);
        let system = MonitorError::system("make a pipe for a health check");
        let (output, stdio) = ends().map_err(system)?;
        if let Some(running) = &mut self.running {
            running.output = Some(output);
        }
        Ok(Order { process, stdio: Some(stdio), confinement: Confinement::Filtered, bond: Bond::Free })
    }

    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let output = self.running.iter().filter_map(|running| running.output.as_ref());
        output.map(|output| (output.as_fd(), PollFlags::IN))
    }

    /// Reads what the check has written, if there is something.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) {
        if let Some(running) = &mut self.running
            && running.output.as_ref().is_some_and(|output| ready(output.as_fd()))
        {
            running.read();
        }
    }

    /// The check has ended; true if it makes the status another one.
    pub fn ended(&mut self, exit_code: i32) -> bool {
        let Some(mut running) = self.running.take() else { return false };
        running.read();
        let mut text = std::mem::take(&mut running.text);
        let in_time = running.until.is_some();
        let exit_code = if in_time { exit_code } else { -1 };
        if !in_time {
            let limit = Duration::from_millis(self.check.timeout);
            text.extend_from_slice(format!("the check took longer than {limit:?} and was killed").as_bytes());
        }
        self.enter(Probe { start: running.began, end: record::now(), exit_code, output: lossy(&text) })
    }

    /// The check could not be begun; true if that makes the status another one.
    pub fn failed(&mut self, message: &str) -> bool {
        let start = self.running.take().map_or_else(record::now, |running| running.began);
        self.enter(Probe { start, end: record::now(), exit_code: -1, output: message.to_owned() })
    }

    fn enter(&mut self, probe: Probe) -> bool {
        let before = self.state.status;
        let starting =
            before == Health::Starting && self.up_since.elapsed() < Duration::from_millis(self.check.start_period);
        if probe.exit_code == 0 {
            (self.state.status, self.state.failing_streak) = (Health::Healthy, 0);
        } else if !starting {
            self.state.failing_streak = self.state.failing_streak.saturating_add(1);
            if self.state.failing_streak >= self.check.retries {
                self.state.status = Health::Unhealthy;
            }
        }
        let surplus = (self.state.log.len() + 1).saturating_sub(KEPT);
        self.state.log.drain(..surplus);
        self.state.log.push(probe);
        self.next = self.later();
        self.state.status != before
    }

    fn later(&self) -> Option<Instant> {
        Instant::now().checked_add(Duration::from_millis(self.check.interval))
    }
}

impl Checking {
    /// Reads what is there; more than is kept is passed over, so that the check never waits for us.
    fn read(&mut self) {
        let mut buffer = [0; OUTPUT];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    let room = OUTPUT.saturating_sub(self.text.len());
                    self.text.extend(buffer.iter().take(count.min(room)));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output = None,
            }
        }
    }
}

/// Our end of a pipe, and the check's descriptors 0 to 2.
fn ends() -> Result<(OwnedFd, [OwnedFd; 3]), Errno> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
    let error = rustix::io::fcntl_dupfd_cloexec(&theirs, 3)?;
    Ok((ours, [null_device()?, theirs, error]))
}

/// Text of bytes that may have been cut within a character.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(start_period: u64, retries: u32) -> Watch {
        let command = vec!["true".to_owned()];
        let mut watch = Watch::new(HealthCheck { command, interval: 60_000, timeout: 1000, start_period, retries });
        watch.begin();
        watch
    }

    fn probed(watch: &mut Watch, exit_code: i32) -> bool {
        let until = Some(Instant::now() + Duration::from_secs(1));
        watch.running = Some(Checking { began: 0, until, output: None, text: Vec::new() });
        watch.ended(exit_code)
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy() {
        let mut watch = watch(0, 3);
        assert_eq!(watch.state().status, Health::Starting);
        assert!(probed(&mut watch, 0) && watch.state().status == Health::Healthy);
        assert!(!probed(&mut watch, 1) && !probed(&mut watch, 2));
        assert_eq!((watch.state().status, watch.state().failing_streak), (Health::Healthy, 2));
        assert!(!probed(&mut watch, 0) && watch.state().failing_streak == 0);
        assert!(!probed(&mut watch, 1) && !probed(&mut watch, 1) && probed(&mut watch, 1));
        assert_eq!(watch.state().status, Health::Unhealthy);
        assert!(probed(&mut watch, 0) && watch.state().status == Health::Healthy);
    }

    #[test]
    fn failures_while_it_starts_do_not_count() {
        let mut watch = watch(60_000, 1);
        assert!(!probed(&mut watch, 1) && !probed(&mut watch, 1));
        assert_eq!((watch.state().status, watch.state().failing_streak), (Health::Starting, 0));
        // Once it was healthy, it has started.
        assert!(probed(&mut watch, 0) && probed(&mut watch, 1));
        assert_eq!(watch.state().status, Health::Unhealthy);
    }

    #[test]
    fn the_last_checks_are_kept() {
        let mut watch = watch(0, 100);
        for number in 0..9 {
            probed(&mut watch, number);
        }
        let kept: Vec<_> = watch.state().log.iter().map(|probe| probe.exit_code).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn one_that_takes_too_long_has_failed_whatever_it_says() {
        let mut watch = watch(0, 1);
        let output = None;
        let text = b"still busy; ".to_vec();
        watch.running = Some(Checking { began: 0, until: Some(Instant::now()), output, text });
        assert_eq!((watch.due(), watch.due()), (Some(Due::Kill), None));
        assert!(watch.ended(0));
        let probe = watch.state().log.last().expect("a check");
        assert_eq!(
            (probe.exit_code, probe.output.as_str()),
            (-1, "still busy; the check took longer than 1s and was killed")
        );
        assert!(watch.clock().is_some());
    }
}
