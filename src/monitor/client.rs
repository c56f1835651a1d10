//! The engine's end of a monitor: start one, tell it what to launch, hear how it goes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::program::program;
use super::protocol::{self, Cargo, Control, Event, Start, WireError};
use crate::sys::exec::CStringArray;
use crate::sys::spawn::{Sealed, Spawned, Stage};
use crate::sys::{failpoint, message};

/// Why no monitor could be started.
#[derive(Debug, thiserror::Error)]
#[error("start the container's monitor")]
pub struct SpawnError(#[source] std::io::Error);

impl From<Errno> for SpawnError {
    fn from(error: Errno) -> Self {
        Self(error.into())
    }
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
    process: Option<Spawned>,
}

impl Idle {
    /// Starts a monitor from a sealed copy of its program. If it is to be attached,
    /// it keeps our standard streams for the container.
    ///
    /// # Errors
    /// With what kept the process from being made; it is heard later what kept the program from it.
    pub fn spawn(attached: bool) -> Result<Self, SpawnError> {
        let open = || rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = if attached { None } else { Some(open()?) };
        Self::spawn_with(null.as_ref().map(AsFd::as_fd))
    }

    /// The same, with `streams` as its standard streams, all three; none for ours.
    ///
    /// # Errors
    /// As [`Idle::spawn`].
    pub fn spawn_with(streams: Option<BorrowedFd<'_>>) -> Result<Self, SpawnError> {
        let (ours, theirs) = message::pair()?;
        // The number in the argument is the number in the new process.
        let words = ["pybox".to_owned(), "__monitor".to_owned(), theirs.as_raw_fd().to_string()];
        let array = |words: Vec<String>| CStringArray::new(words).map_err(|_| Errno::INVAL);
        let (argv, envp) = (array(words.into())?, array(failpoint::environment())?);
        let sealed = Sealed { program: program(), argv: &argv, envp: &envp, keep: theirs.as_fd(), streams };
        Ok(Self { session: Session { control: ours, process: Some(sealed.spawn()?) } })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.session.process.as_ref().map_or(0, |process| process.child.pid)
    }

    /// Tells it what to launch, with the bundle and the filter, and what the program inherits.
    ///
    /// # Errors
    /// [`WireError::Closed`] if it is gone already.
    pub fn start(self, start: &Start, fds: &[BorrowedFd<'_>], inherited: &[OwnedFd]) -> Result<Session, WireError> {
        let control = self.session.control.as_fd();
        let sent = protocol::send(control, start, fds).and_then(|()| protocol::send_descriptors(control, inherited));
        sent.map_err(|error| self.session.lost(error))?;
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
        protocol::receive(&self.control).map_err(|error| self.lost(error))
    }

    /// Why nobody answers, if our process never became a monitor.
    fn lost(&self, error: WireError) -> WireError {
        let failure = self.process.as_ref().filter(|_| matches!(error, WireError::Closed)).and_then(Spawned::failure);
        failure.map_or(error, |(stage, errno)| WireError::Unborn {
            operation: match stage {
                Stage::Copy => "copy the monitor into memory",
                Stage::Execute => "execute the monitor",
            },
            source: errno.into(),
        })
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
    pub fn finish(self) -> std::io::Result<()> {
        self.process.map_or(Ok(()), |process| Ok(process.child.wait().map(drop)?))
    }
}
