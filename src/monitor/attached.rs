//! The one who is attached: the standard streams that the monitor was started
//! with, and the pipes or the terminal that the program gets in their place.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios};

use super::stream::{Sink, shared_source};

/// The caller's standard input, output and error, moved out of the way.
#[derive(Debug)]
pub struct Caller {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
    /// How the caller's terminal was before anybody made it raw.
    terminal: Option<Termios>,
}

impl Caller {
    /// Takes the descriptors 0 to 2 and leaves /dev/null in their place.
    ///
    /// # Errors
    /// Those of dup(2) and of opening /dev/null.
    pub fn take_standard() -> Result<Self, Errno> {
        let [input, output, error] = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
            .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
        let caller = Self { input: input?, output: output?, error: error?, terminal: None };
        let null = null_device()?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        let terminal = rustix::termios::tcgetattr(&caller.input).ok();
        Ok(Self { terminal, ..caller })
    }

    /// The streams that somebody sent us.
    pub fn new(input: OwnedFd, output: OwnedFd, error: OwnedFd) -> Self {
        let terminal = rustix::termios::tcgetattr(&input).ok();
        Self { input, output, error, terminal }
    }

    /// Its standard input, opened anew so that it need not block us.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn source(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.input, 3).map(shared_source)
    }

    /// Its standard output and error.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn sinks(&self) -> Result<(Sink, Sink), Errno> {
        let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map(Sink::shared);
        Ok((copy(&self.output)?, copy(&self.error)?))
    }

    /// Puts the caller's terminal back as it was: for a caller who was killed and could not.
    pub fn restore_terminal(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = rustix::termios::tcsetattr(&self.input, OptionalActions::Now, terminal);
        }
    }
}

/// The program's ends of its pipes, and ours.
#[derive(Debug)]
pub struct Pipes {
    /// Handed to the program as descriptors 0, 1 and 2.
    pub program: [OwnedFd; 3],
    input: Option<OwnedFd>,
    output: OwnedFd,
    error: OwnedFd,
}

impl Pipes {
    /// New pipes; without `interactive` the program reads /dev/null.
    ///
    /// # Errors
    /// Those of pipe(2) and fcntl(2).
    pub fn new(interactive: bool) -> Result<Self, Errno> {
        let ours_only = |fd: &OwnedFd| rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK);
        let (input, feed) = if interactive {
            let (input, feed) = pipe_with(PipeFlags::CLOEXEC)?;
            ours_only(&feed)?;
            (input, Some(feed))
        } else {
            (null_device()?, None)
        };
        let (output, out) = pipe_with(PipeFlags::CLOEXEC)?;
        let (error, err) = pipe_with(PipeFlags::CLOEXEC)?;
        ours_only(&output)?;
        ours_only(&error)?;
        Ok(Self { program: [input, out, err], input: feed, output, error })
    }

    /// Lets go of the program's ends; ours, which do not block: input if there is any, output, error.
    pub fn ours(self) -> (Option<OwnedFd>, OwnedFd, OwnedFd) {
        (self.input, self.output, self.error)
    }
}

/// The host's /dev/null, checked to be that.
pub fn null_device() -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let stat = rustix::fs::fstat(null.as_fd())?;
    if stat.st_rdev == rustix::fs::makedev(1, 3) { Ok(null) } else { Err(Errno::NODEV) }
}
