//! Staying with a foreground container: its end is awaited, our signals become
//! its signals, our terminal is raw meanwhile.
//!
//! The bytes do not come by here: the monitor holds our standard streams.

use std::os::fd::AsFd as _;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::termios::{OptionalActions, Termios};

use crate::engine::api::{Failure, FailureKind};
use crate::monitor::client::Session;
use crate::monitor::protocol::{Control, Event, WireError};

/// Signals that are passed on, as docker's `--sig-proxy` does.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// The signals of this process, readable instead of deadly.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// From now on signals wait to be passed on.
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub(super) fn block() -> Result<Self, Failure> {
        let set: SigSet = PASSED_ON.into_iter().collect();
        let failed = |error: nix::Error| Failure::say(FailureKind::Internal, format!("block signals: {error}"));
        set.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Self).map_err(failed)
    }
}

/// Refuses `-t` where standard input is no terminal.
///
/// # Errors
/// [`FailureKind::Invalid`].
pub(super) fn require_terminal() -> Result<(), Failure> {
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        return Ok(());
    }
    Err(Failure::say(FailureKind::Invalid, "-t needs a terminal, and standard input is none")
        .hint("leave -t out, or use -i alone to pipe data in".to_owned()))
}

/// Rows and columns of our terminal, if standard input is one.
pub(super) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Our terminal, raw as long as this lives.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Waits for the end of the container; its exit code.
///
/// # Errors
/// If the monitor ends without a word.
pub(super) fn stay(session: &Session, signals: &Signals, raw: bool) -> Result<i32, Failure> {
    let _terminal = raw.then(RawTerminal::enter).flatten();
    loop {
        let monitor = session.as_fd();
        let signal_fd = signals.0.as_fd();
        let mut fds = [PollFd::new(&monitor, PollFlags::IN), PollFd::new(&signal_fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::say(FailureKind::Internal, format!("poll: {error}"))),
        }
        let [monitor, signal] = fds.map(|fd| !fd.revents().is_empty());
        if signal {
            pass_on(session, signals);
        }
        if !monitor {
            continue;
        }
        match session.next() {
            Ok(Event::Exited { exit_code }) => return Ok(exit_code),
            Ok(_) | Err(WireError::Content(_)) => {}
            Err(WireError::Closed) => {
                return Err(Failure::say(
                    FailureKind::Internal,
                    "the container's monitor was killed, and the container with it",
                )
                .hint("see what is left with `pybox ps -a`".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A monitor that has gone is noticed by the next look at its socket.
fn pass_on(session: &Session, signals: &Signals) {
    while let Ok(Some(signal)) = signals.0.read_signal() {
        let number = signal.ssi_signo as i32;
        let message = if number == Signal::SIGWINCH as i32 {
            terminal_size().map(|(rows, columns)| Control::Resize { rows, columns })
        } else {
            Some(Control::Signal(number))
        };
        if let Some(message) = message {
            let _ = session.control(&message);
        }
    }
}
