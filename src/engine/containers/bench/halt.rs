//! Work that several threads do, and that ends everywhere when it has to end somewhere.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

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
        let mut fds = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
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

    /// Readable, for ever, when somebody has asked.
    pub(in crate::engine) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
}
