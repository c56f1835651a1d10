//! Staying with a container, new or running: its end is awaited, our signals become
//! its signals, our terminal is raw meanwhile.
//!
//! The bytes do not come by here: the monitor holds our standard streams.

use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::termios::{OptionalActions, Termios};

use crate::engine::Engine;
use crate::engine::api::{Attach, AttachOptions, Attached, Failure, FailureKind};
use crate::model::lifecycle::Lifecycle;
use crate::monitor::client::Session;
use crate::monitor::protocol::{Control, Event, WireError};
use crate::store::containers::Container;
use crate::store::{Access, Store};

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
pub(in crate::engine) struct Signals(SignalFd);

impl Signals {
    /// From now on signals wait to be passed on.
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub(in crate::engine) fn block() -> Result<Self, Failure> {
        let set: SigSet = PASSED_ON.into_iter().collect();
        let failed = |error: nix::Error| Failure::say(FailureKind::Internal, format!("block signals: {error}"));
        set.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Self).map_err(failed)
    }

    /// From now on they do again what they always do; one that has come meanwhile does so now.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub(in crate::engine) fn release(self) -> Result<(), Failure> {
        let set: SigSet = PASSED_ON.into_iter().collect();
        drop(self);
        set.thread_unblock().map_err(|error| Failure::say(FailureKind::Internal, format!("unblock signals: {error}")))
    }

    /// The number of one that has come; none if there is no other.
    pub(in crate::engine) fn take(&self) -> Option<i32> {
        self.0.read_signal().ok().flatten().map(|signal| signal.ssi_signo as i32)
    }

    /// Readable when one has come.
    pub(in crate::engine) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Makes it raw; none if standard input is no terminal.
    pub(super) fn enter() -> Option<Self> {
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

/// How staying with a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The container did: its exit code.
    Ended(i32),
    /// We left it running.
    Left,
}

impl Outcome {
    /// The exit code, if it ended.
    pub(super) fn code(self) -> Option<i32> {
        match self {
            Self::Ended(code) => Some(code),
            Self::Left => None,
        }
    }
}

/// Waits for the end of the container, or until the user leaves it.
///
/// # Errors
/// If the monitor ends without a word.
pub(super) fn stay(session: &Session, signals: &Signals, raw: bool, pass: bool) -> Result<Outcome, Failure> {
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
        if signal && !pass_on(session, signals, pass) {
            return Ok(Outcome::Left);
        }
        if !monitor {
            continue;
        }
        match session.next() {
            Ok(Event::Exited { exit_code }) => return Ok(Outcome::Ended(exit_code)),
            // The keys that leave it running.
            Ok(Event::Done) => return Ok(Outcome::Left),
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

/// Hands signals on; false if one of them ends our stay instead. A monitor that
/// has gone is noticed by the next look at its socket.
fn pass_on(session: &Session, signals: &Signals, pass: bool) -> bool {
    while let Some(number) = signals.take() {
        let message = if number == Signal::SIGWINCH as i32 {
            terminal_size().map(|(rows, columns)| Control::Resize { rows, columns })
        } else if pass {
            Some(Control::Signal(number))
        } else if number == Signal::SIGCONT as i32 {
            None
        } else {
            return false;
        };
        if let Some(message) = message {
            let _ = session.control(&message);
        }
    }
    true
}

/// Connects our standard streams to a container that runs.
///
/// # Errors
/// If its monitor does not answer, or is lost while we stay.
pub(super) fn to_running(
    store: &Store,
    container: &Container,
    options: &AttachOptions,
    signals: &Signals,
) -> Result<Outcome, Failure> {
    let bundle = store.open_bundle(&container.id)?;
    let session = Session::connect(bundle.as_fd()).map_err(ended(container))?;
    let input = options.input && container.request.interactive;
    let attach = Control::Attach { input, detach_keys: options.detach_keys.clone() };
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    session.control_with_cargo(&attach, &streams).map_err(ended(container))?;
    match session.next().map_err(ended(container))? {
        Event::Done => {}
        Event::Failed { message, hint, .. } => return Err(Failure { kind: FailureKind::Conflict, message, hint }),
        Event::Exited { exit_code } => return Ok(Outcome::Ended(exit_code)),
        Event::Started { .. } | Event::Executed { .. } => {}
    }
    if let Some((rows, columns)) = terminal_size() {
        session.control(&Control::Resize { rows, columns })?;
    }
    stay(&session, signals, container.request.tty && input, options.pass_signals)
}

impl Engine {
    pub(in crate::engine) fn attach_container(&self, attach: &Attach) -> Result<Attached, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, &attach.name)?;
        let name = &container.name;
        match &container.lifecycle {
            Lifecycle::Running { .. } | Lifecycle::Restarting { .. } => {}
            Lifecycle::Paused { .. } => {
                let failure = Failure::say(FailureKind::Conflict, format!("container {name} is paused"));
                return Err(failure.hint(format!("pybox unpause {name}")));
            }
            Lifecycle::Created | Lifecycle::Stopped { .. } => return Err(not_running(&container)),
        }
        let signals = Signals::block()?;
        let outcome = to_running(&store, &container, &attach.options, &signals)?;
        Ok(Attached { code: outcome.code() })
    }
}

/// Docker's sentence for a container that does not run.
pub(super) fn not_running(container: &Container) -> Failure {
    Failure::say(FailureKind::Conflict, format!("container {} is not running", container.name))
        .hint(format!("pybox start {}", container.name))
}

/// What it means that the monitor has gone, to who wants something of a container that ran: it has just ended.
pub(super) fn ended(container: &Container) -> impl Fn(WireError) -> Failure + '_ {
    move |error| match error {
        WireError::Closed => not_running(container),
        other => other.into(),
    }
}
