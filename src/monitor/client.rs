//! The engine's end of a monitor: start one, tell it what to launch, hear how it goes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;

use super::protocol::{self, Cargo, Control, Event, Start, WireError};
use crate::sys::{exec, failpoint, message};

/// Why no monitor could be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program could not be copied into memory.
    #[error("copy pybox into memory")]
    Seal(#[source] std::io::Error),
    /// The process.
    #[error("start the container's monitor")]
    Start(#[source] std::io::Error),
}

/// A monitor that has not been told yet what to launch. Dropped, it goes away.
#[derive(Debug)]
pub struct Idle {
    session: Session,
}

/// A monitor with a container: the one we started, or one we have connected to.
#[derive(Debug)]
pub struct Session {
    control: OwnedFd,
    /// None where somebody else started it.
    process: Option<Child>,
}

impl Idle {
    /// Starts a monitor from the sealed copy `program`. If it is to be attached,
    /// it keeps our standard streams for the container.
    ///
    /// # Errors
    /// With what kept the process from starting.
    pub fn spawn(program: BorrowedFd<'_>, attached: bool) -> Result<Self, SpawnError> {
        let start = |error: rustix::io::Errno| SpawnError::Start(error.into());
        let (ours, theirs) = message::pair().map_err(start)?;
        // The number in the argument is the number in the new process.
        exec::keep_open(theirs.as_fd()).map_err(start)?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        if !attached {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        command.arg0("pybox").arg("__monitor").arg(theirs.as_raw_fd().to_string()).env_clear();
        failpoint::hand_on(&mut command);
        let process = command.spawn().map_err(SpawnError::Start)?;
        Ok(Self { session: Session { control: ours, process: Some(process) } })
    }

    /// Tells it what to launch, with the bundle and the filter.
    ///
    /// # Errors
    /// [`WireError::Closed`] if it is gone already.
    pub fn start(self, start: &Start, fds: &[BorrowedFd<'_>]) -> Result<Session, WireError> {
        protocol::send(self.session.control.as_fd(), start, fds)?;
        Ok(self.session)
    }
}

impl Session {
    /// Connects to the monitor that listens in the directory `bundle`.
    ///
    /// # Errors
    /// [`WireError::Closed`] if none does, else [`WireError::Socket`].
    pub fn connect(bundle: BorrowedFd<'_>) -> Result<Self, WireError> {
        match message::connect(bundle, protocol::SOCKET) {
            Ok(control) => Ok(Self { control, process: None }),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Err(WireError::Closed),
            Err(Errno::AGAIN) => Err(WireError::Deaf),
            Err(error) => Err(WireError::Socket(error.into())),
        }
    }

    /// The socket, to poll on.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Waits for what the monitor says next.
    ///
    /// # Errors
    /// [`WireError::Closed`] when it has ended without saying why.
    pub fn next(&self) -> Result<Event, WireError> {
        self.next_with_cargo().map(|(event, _)| event)
    }

    /// The same, with the descriptors that came along.
    ///
    /// # Errors
    /// As [`Session::next`].
    pub fn next_with_cargo(&self) -> Result<(Event, Cargo), WireError> {
        protocol::receive(&self.control)
    }

    /// Passes something on to it.
    ///
    /// # Errors
    /// [`WireError::Closed`] when it has ended.
    pub fn control(&self, message: &Control) -> Result<(), WireError> {
        self.control_with_cargo(message, &[])
    }

    /// The same, with descriptors on board.
    ///
    /// # Errors
    /// As [`Session::control`].
    pub fn control_with_cargo(&self, message: &Control, fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        protocol::send(self.control.as_fd(), message, fds)
    }

    /// Waits for the end of the process, after its last message, if it is our child.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn finish(mut self) -> std::io::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.wait().map(drop))
    }
}
