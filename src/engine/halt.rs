//! Work that ends when it has to: on all threads when one has failed, and when the user presses ^C.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::engine::api::{Failure, FailureKind};
use crate::engine::containers::attach::Signals;
use crate::sys::wait::readable_within;

/// How long work may go on that nobody can end but by ending the process: it is the removal of what was half made.
pub(in crate::engine) const PATIENCE: Duration = Duration::from_secs(5);
/// SIGHUP, SIGINT, SIGQUIT, SIGTERM.
pub(in crate::engine) const ENDING: [i32; 4] = [1, 2, 3, 15];

/// A wish that all work on something ends. Once it is asked for, it stays so.
#[derive(Debug)]
pub(in crate::engine) struct Halt(OwnedFd);

impl Halt {
    /// Nobody has asked yet.
    ///
    /// # Errors
    /// What eventfd(2) says.
    pub(in crate::engine) fn new() -> Result<Self, Failure> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let failed = |error| Failure::say(FailureKind::Internal, format!("make a descriptor for events: {error}"));
        rustix::event::eventfd(0, flags).map(Self).map_err(failed)
    }

    /// From now on work ends: commands are killed, and no step begins.
    pub(in crate::engine) fn ask(&self) {
        // A counter that is full says the same.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whether work is to end.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`] if it is.
    pub(in crate::engine) fn check(&self) -> Result<(), Failure> {
        if readable_within(&self.0, Duration::ZERO) { Err(Self::failure()) } else { Ok(()) }
    }

    /// What somebody says whose work was ended.
    pub(in crate::engine) fn failure() -> Failure {
        Failure::say(FailureKind::Interrupted, "interrupted")
    }

    /// What came of work; if it failed and was to end, that is why.
    ///
    /// # Errors
    /// Those of the work, or [`FailureKind::Interrupted`].
    pub(in crate::engine) fn or<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        outcome.or_else(|failure| self.check().and(Err(failure)))
    }

    /// Waits until there is something to read, or the other end has gone.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`] if work is to end, or what poll(2) says.
    pub(in crate::engine) fn wait_for(&self, other: BorrowedFd<'_>) -> Result<(), Failure> {
        let failed = |error| Failure::say(FailureKind::Internal, format!("poll: {error}"));
        if ready_or_asked(other, self.as_fd()).map_err(failed)? { Ok(()) } else { Err(Self::failure()) }
    }

    /// A file whose reader hears of the end while he waits for bytes.
    ///
    /// # Errors
    /// What dup(2) says.
    pub(in crate::engine) fn heed(&self, input: File) -> Result<Heeding, Failure> {
        let asked = self.0.try_clone();
        let failed = |error| Failure::say(FailureKind::Internal, format!("copy a descriptor for events: {error}"));
        asked.map(|asked| Heeding { input, asked }).map_err(failed)
    }

    /// Readable, for ever, when somebody has asked.
    pub(in crate::engine) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Something to read until work is to end: from then on it fails. See [`Halt::or`].
#[derive(Debug)]
pub(in crate::engine) struct Heeding {
    input: File,
    asked: OwnedFd,
}

impl Read for Heeding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !ready_or_asked(self.input.as_fd(), self.asked.as_fd())? {
            return Err(io::Error::other("interrupted"));
        }
        self.input.read(buffer)
    }
}

/// Waits for either; whether nobody has asked for the end. Files of a disk are always ready.
fn ready_or_asked(ready: BorrowedFd<'_>, asked: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(ready, PollFlags::IN), PollFd::from_borrowed_fd(asked, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
    let [_, asked] = fds.map(|fd| !fd.revents().is_empty());
    Ok(!asked)
}

/// Does `work` and listens for signals meanwhile: the first one asks for its end. Whoever sends another, or waits for
/// too long, has the process ended as if nobody had listened.
///
/// # Errors
/// Those of `work`; [`FailureKind::Interrupted`] if it was ended.
pub(in crate::engine) fn listening<T>(work: impl FnOnce(&Halt) -> Result<T, Failure>) -> Result<T, Failure> {
    let (halt, done) = (Halt::new()?, Halt::new()?);
    let signals = Signals::block()?;
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| listen(&signals, &halt, &done));
        let outcome = halt.or(work(&halt));
        done.ask();
        outcome
    });
    // One that came too late does now what it always does.
    signals.release()?;
    outcome
}

fn listen(signals: &Signals, halt: &Halt, done: &Halt) {
    let mut ends_by: Option<(Instant, i32)> = None;
    loop {
        let (heard, over) = (signals.as_fd(), done.as_fd());
        let mut fds = [PollFd::new(&heard, PollFlags::IN), PollFd::new(&over, PollFlags::IN)];
        // Without it ^C waits for the end of the work.
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, left(ends_by).as_ref())).is_err() {
            return;
        }
        let [heard, over] = fds.map(|fd| !fd.revents().is_empty());
        if over {
            return;
        }
        let mut signal = None;
        while let Some(number) = heard.then(|| signals.take()).flatten() {
            signal = Some(number).filter(|number| ENDING.contains(number)).or(signal);
        }
        match (signal, ends_by) {
            (Some(number), None) => {
                ends_by = Some((Instant::now() + PATIENCE, number));
                halt.ask();
            }
            (Some(number), Some(_)) => drop(give_in(number)),
            (None, Some((by, number))) if Instant::now() >= by => drop(give_in(number)),
            (None, _) => {}
        }
    }
}

/// How long there still is to wait.
pub(in crate::engine) fn left(ends_by: Option<(Instant, i32)>) -> Option<Timespec> {
    let (by, _) = ends_by?;
    by.saturating_duration_since(Instant::now()).try_into().ok()
}

/// Lets the signal do what it does to anybody.
///
/// # Errors
/// What sigprocmask(2) and kill(2) say.
pub(in crate::engine) fn give_in(number: i32) -> Result<(), Failure> {
    let failed = |error: nix::Error| Failure::say(FailureKind::Internal, format!("raise a signal: {error}"));
    let signal = nix::sys::signal::Signal::try_from(number).map_err(failed)?;
    nix::sys::signal::SigSet::from(signal).thread_unblock().map_err(failed)?;
    nix::sys::signal::kill(nix::unistd::Pid::this(), signal).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_stays() {
        let halt = Halt::new().expect("a descriptor");
        halt.check().expect("nobody has asked");
        halt.ask();
        halt.ask();
        for _ in 0..2 {
            assert_eq!(halt.check().expect_err("asked").kind, FailureKind::Interrupted);
        }
    }

    #[test]
    fn who_waits_for_bytes_hears_of_the_end() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let halt = Halt::new().expect("a descriptor");
        let mut heeding = halt.heed(File::from(reader)).expect("a reader");
        rustix::io::write(&writer, b"x").expect("write");
        assert_eq!(heeding.read(&mut [0; 8]).expect("a byte"), 1);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| heeding.read(&mut [0; 8]));
            std::thread::sleep(std::time::Duration::from_millis(30));
            halt.ask();
            reading.join().expect("it ends").expect_err("interrupted");
        });
        let failure = || Err::<(), _>(Failure::say(FailureKind::Invalid, "read x: interrupted"));
        assert_eq!(halt.or(failure()).expect_err("a failure").kind, FailureKind::Interrupted);
        let quiet = Halt::new().expect("a descriptor");
        assert_eq!(quiet.or(failure()).expect_err("a failure").kind, FailureKind::Invalid);
        assert!(halt.or(Ok(())).is_ok(), "what is done is done");
    }
}
