//! The bytes of an `exec`. This process copies them itself: the container gets pipes or a
//! terminal of its own, never a descriptor of ours, and they break when we are killed.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::Winsize;

use crate::engine::api::{Exec, Failure, FailureKind};
use crate::engine::containers::attach::{self, RawTerminal, Signals};
use crate::monitor::attached::{Pipes, null_device};
use crate::monitor::client::Session;
use crate::monitor::input::Input;
use crate::monitor::protocol::{Control, Event, WireError};
use crate::monitor::stream::{Sink, Stream, Turn, shared_source};

/// What a program without terminal is given.
pub(super) enum Ends {
    /// Pipes, whose other ends are ours.
    Pipes(Pipes),
    /// Nothing to read, and nobody who reads.
    Null(OwnedFd),
}

impl Ends {
    /// The ends for `exec`.
    ///
    /// # Errors
    /// Those of pipe(2) and of opening /dev/null.
    pub(super) fn new(exec: &Exec) -> Result<Self, Failure> {
        let ends =
            if exec.detach { null_device().map(Self::Null) } else { Pipes::new(exec.interactive).map(Self::Pipes) };
        ends.map_err(|error| Failure::say(FailureKind::Host, format!("make pipes: {error}")))
    }

    /// Standard input, output and error of the program.
    pub(super) fn of_program(&self) -> [BorrowedFd<'_>; 3] {
        match self {
            Self::Pipes(pipes) => pipes.program.each_ref().map(AsFd::as_fd),
            Self::Null(null) => [null.as_fd(); 3],
        }
    }
}

/// The running streams.
pub(super) struct Streams {
    input: Input,
    outputs: Vec<Stream>,
    /// The controlling side of the program's terminal.
    terminal: Option<OwnedFd>,
    /// Whether keys go to the program as they are typed.
    raw: bool,
}

impl Streams {
    /// Between our standard streams and the pipes; the program's ends are let go of.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(super) fn of_pipes(ends: Ends) -> Result<Self, Failure> {
        let Ends::Pipes(pipes) = ends else {
            return Ok(Self { input: Input::new(None, true), outputs: Vec::new(), terminal: None, raw: false });
        };
        let (feed, output, error) = pipes.ours();
        let input = from_standard_input(feed, &[]).map_err(broken)?;
        let sink = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).map(Sink::shared).map_err(broken);
        let outputs = vec![
            Stream::new(output, sink(rustix::stdio::stdout())?),
            Stream::new(error, sink(rustix::stdio::stderr())?),
        ];
        Ok(Self { input, outputs, terminal: None, raw: false })
    }

    /// Between our standard streams and the program's terminal.
    ///
    /// # Errors
    /// Those of dup(2) and fcntl(2).
    pub(super) fn of_terminal(terminal: OwnedFd, exec: &Exec) -> Result<Self, Failure> {
        rustix::fs::fcntl_setfl(&terminal, OFlags::NONBLOCK | OFlags::RDWR).map_err(broken)?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&terminal, 3);
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map(Sink::shared).map_err(broken)?;
        let outputs = vec![Stream::new(copy().map_err(broken)?, output)];
        let feed = exec.interactive.then(copy).transpose().map_err(broken)?;
        let input = from_standard_input(feed, &exec.detach_keys).map_err(broken)?;
        Ok(Self { input, outputs, terminal: Some(terminal), raw: exec.interactive })
    }

    /// Copies until the program has ended and all it wrote is handed on: its exit code, or
    /// that of the signal that ended us.
    ///
    /// # Errors
    /// If the monitor is lost.
    pub(super) fn follow(mut self, session: &Session) -> Result<Option<i32>, Failure> {
        // Without a terminal a signal ends us, and the program finds its pipes broken.
        let signals = self.terminal.is_some().then(Signals::block).transpose()?;
        let _raw = self.raw.then(RawTerminal::enter).flatten();
        let mut exit = None;
        loop {
            if exit.is_some() && self.outputs.is_empty() {
                return Ok(exit);
            }
            let ready = self.poll(exit.is_none().then_some(session), signals.as_ref())?;
            if ready.signals
                && let Some(signal) = signals.as_ref().and_then(|signals| self.take_signal(signals))
            {
                return Ok(Some(128 + signal));
            }
            if ready.session {
                exit = self.hear(session)?;
            }
            if self.turn(&ready.streams) {
                session.control(&Control::Release)?;
                return Ok(None);
            }
        }
    }

    fn poll(&self, session: Option<&Session>, signals: Option<&Signals>) -> Result<Ready, Failure> {
        let session = session.map(Session::as_fd);
        let signals = signals.map(Signals::as_fd);
        let streams: Vec<_> = self.input.interests().chain(self.outputs.iter().map(Stream::interest)).collect();
        let first: Vec<_> = session.iter().chain(&signals).map(|fd| (*fd, PollFlags::IN)).collect();
        let mut fds: Vec<_> = first.iter().chain(&streams).map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(broken(error)),
        }
        let ready: Vec<RawFd> =
            fds.iter().filter(|fd| !fd.revents().is_empty()).map(|fd| fd.as_fd().as_raw_fd()).collect();
        let has = |fd: Option<BorrowedFd<'_>>| fd.is_some_and(|fd| ready.contains(&fd.as_raw_fd()));
        Ok(Ready { session: has(session), signals: has(signals), streams: ready })
    }

    /// Gives each stream its turn; true if the keys that leave the program running have been typed.
    fn turn(&mut self, ready: &[RawFd]) -> bool {
        let is_ready = |fd: BorrowedFd<'_>| ready.contains(&fd.as_raw_fd());
        let leaving = self.input.turn(is_ready);
        let done = |stream: &mut Stream| is_ready(stream.interest().0) && !matches!(stream.turn(), Ok(Turn::Open));
        // A reader that left: our end closes, and the program learns of it by SIGPIPE.
        self.outputs.retain_mut(|stream| !done(stream));
        !leaving.by_keys.is_empty()
    }

    /// One word of the monitor: the exit code, if it was the last.
    fn hear(&mut self, session: &Session) -> Result<Option<i32>, Failure> {
        match session.next() {
            Ok(Event::Exited { exit_code }) => {
                self.input.close();
                // A terminal ends with its session; the other end of a pipe may be held by whoever the program left behind.
                if self.terminal.is_none() {
                    self.outputs.retain_mut(Stream::end_with_what_is_there);
                }
                Ok(Some(exit_code))
            }
            Ok(_) | Err(WireError::Content(_)) => Ok(None),
            Err(WireError::Closed) => Err(Failure::say(
                FailureKind::Internal,
                "the container's monitor was killed, and the container with it",
            )
            .hint("see what is left with `pybox ps -a`".to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// The signal that ends us, if one of those that came does.
    fn take_signal(&self, signals: &Signals) -> Option<i32> {
        while let Some(signal) = signals.take() {
            if signal == Signal::SIGWINCH as i32 {
                let (Some(terminal), Some((rows, columns))) = (&self.terminal, attach::terminal_size()) else {
                    continue;
                };
                let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                let _ = rustix::termios::tcsetwinsize(terminal, size);
            } else if signal != Signal::SIGCONT as i32 {
                return Some(signal);
            }
        }
        None
    }
}

/// What `poll` has found.
struct Ready {
    session: bool,
    signals: bool,
    streams: Vec<RawFd>,
}

/// Our standard input into `feed`; `keys` leave the program running.
fn from_standard_input(feed: Option<OwnedFd>, keys: &[u8]) -> Result<Input, Errno> {
    let fed = feed.is_some();
    let mut input = Input::new(feed, true);
    if fed {
        let source = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map(shared_source)?;
        input.attach(0, source, keys)?;
    }
    Ok(input)
}

fn broken(error: Errno) -> Failure {
    Failure::say(FailureKind::Internal, format!("connect the standard streams: {error}"))
}
