//! Work that several threads do, and that ends everywhere when it has to end somewhere.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;

use crate::engine::api::{Failure, FailureKind};

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
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err(Self::failure()),
        }
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
        loop {
            // Files of a disk are always ready.
            let mut fds = [PollFd::new(&self.input, PollFlags::IN), PollFd::new(&self.asked, PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [_, asked] = fds.map(|fd| !fd.revents().is_empty());
            if asked {
                return Err(io::Error::other("interrupted"));
            }
            return self.input.read(buffer);
        }
    }
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
