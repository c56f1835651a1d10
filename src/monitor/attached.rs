//! The one who is attached: the standard streams that the monitor was started
//! with, and the pipes or the terminal that the program gets in their place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios};

use super::stream::{Sink, Stream, Turn, shared_source};

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
    pub fn take() -> Result<Self, Errno> {
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

    /// Lets go of the program's ends and connects ours with the caller.
    pub fn connect(self, caller: &Caller) -> Result<Attached, Errno> {
        let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let output = Stream::new(self.output, Sink::shared(copy(&caller.output)?));
        let error = Stream::new(self.error, Sink::shared(copy(&caller.error)?));
        let input = match self.input {
            Some(feed) => Some(Stream::new(shared_source(copy(&caller.input)?), Sink::own(feed))),
            None => None,
        };
        Ok(Attached { input, outputs: vec![output, error] })
    }
}

/// Connects the controlling side of the program's terminal with the caller.
pub fn connect_terminal(control: &OwnedFd, caller: &Caller, interactive: bool) -> Result<Attached, Errno> {
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    rustix::fs::fcntl_setfl(control, rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::RDWR)?;
    let output = Stream::new(copy(control)?, Sink::shared(copy(&caller.output)?));
    let input = interactive
        .then(|| Ok::<_, Errno>(Stream::new(shared_source(copy(&caller.input)?), Sink::own(copy(control)?))))
        .transpose()?;
    Ok(Attached { input, outputs: vec![output] })
}

/// The running streams.
#[derive(Debug)]
pub struct Attached {
    input: Option<Stream>,
    outputs: Vec<Stream>,
}

impl Attached {
    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.input.iter().chain(&self.outputs).map(Stream::interest)
    }

    /// Whether all output has been handed on.
    pub fn is_drained(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Gives each stream its turn. Streams that cannot block lose nothing by an
    /// idle turn; input ends where the caller's ends, which closes the program's.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) {
        let done = |stream: &mut Stream| !matches!(stream.turn(), Ok(Turn::Open));
        if self.input.as_mut().is_some_and(|stream| ready(stream.interest().0) && done(stream)) {
            self.input = None;
        }
        // A reader that left: our end closes, and the program learns of it by SIGPIPE.
        self.outputs.retain_mut(|stream| !(ready(stream.interest().0) && done(stream)));
    }

    /// Nobody is there any more: input ends, output goes nowhere.
    pub fn discard(&mut self) {
        self.input = None;
        for stream in &mut self.outputs {
            if let Ok(null) = null_device() {
                stream.redirect(Sink::own(null));
            }
        }
    }

    /// Stops reading from the caller.
    pub fn close_input(&mut self) {
        self.input = None;
    }
}

/// The host's /dev/null, checked to be that.
pub fn null_device() -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let stat = rustix::fs::fstat(null.as_fd())?;
    if stat.st_rdev == rustix::fs::makedev(1, 3) { Ok(null) } else { Err(Errno::NODEV) }
}
