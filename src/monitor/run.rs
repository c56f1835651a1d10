//! The monitor's life: told what to do, launch, poll until the end, write it down.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::process::WaitOptions;

use super::attached::{Attached, Caller, Pipes, connect_terminal};
use super::protocol::{self, Control, Event, Mapping, Start, WireError};
use super::record;
use crate::launch::parent::{self, Running};
use crate::launch::{self, Extras, LaunchError, Plan};
use crate::model::lifecycle::ProcessIdentity;
use crate::sys::idmap::Helpers;
use crate::sys::{exec, identity};

/// Why a monitor gives up before there is a container.
#[derive(Debug, thiserror::Error)]
enum MonitorError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("read config.json of the container")]
    Bundle(#[source] std::io::Error),
    #[error("read config.json of the container")]
    Document(#[source] serde_json::Error),
    #[error("{0}")]
    System(&'static str, #[source] std::io::Error),
}

/// The persona `__monitor NUMBER`: NUMBER is the inherited socket to the engine.
/// Returns the exit code of the process.
pub fn main(number: Option<&OsStr>) -> u8 {
    let number = number.and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let Some(control) = number.and_then(exec::inherited) else { return 125 };
    match serve(&control) {
        Ok(()) => 0,
        // Whoever made us went away before saying what for.
        Err(MonitorError::Wire(WireError::Closed)) => 0,
        Err(error) => {
            let _ = protocol::send(control.as_fd(), &failure(&error), &[]);
            125
        }
    }
}

fn failure(error: &MonitorError) -> Event {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    match error {
        MonitorError::Launch(launch) => Event::Failed { message, hint: launch.hint(), exit_code: launch.exit_code() },
        _ => Event::Failed { message, hint: None, exit_code: 125 },
    }
}

fn serve(control: &OwnedFd) -> Result<(), MonitorError> {
    let system = |what| move |error: rustix::io::Errno| MonitorError::System(what, error.into());
    let _ = rustix::thread::set_name(c"pybox-monitor");
    rustix::process::setsid().map_err(system("start a session"))?;
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own).map_err(system("become a subreaper"))?;
    let signals =
        signals().map_err(|error| system("block signals")(rustix::io::Errno::from_raw_os_error(error as i32)))?;
    let caller = Caller::take().map_err(system("take the standard streams"))?;

    let (start, fds) = protocol::receive::<Start>(control)?;
    let [bundle, filter, ..] = fds;
    let bundle = bundle.ok_or(WireError::Closed)?;
    rustix::process::fchdir(&bundle).map_err(system("enter the bundle"))?;
    let plan = compile(filter, &start)?;

    let (running, attached) = launch(&plan, &start, &caller)?;
    let life =
        Life { control, bundle: bundle.as_fd(), signals, caller, running, attached: Some(attached), exit_code: None };
    life.live()
}

/// SIGCHLD, and what others may send to end us: that is passed on. All else stays blocked too.
fn signals() -> nix::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        wanted.add(signal);
    }
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn compile(filter: Option<OwnedFd>, start: &Start) -> Result<Plan, MonitorError> {
    let text = std::fs::read("config.json").map_err(MonitorError::Bundle)?;
    let spec = serde_json::from_slice(&text).map_err(MonitorError::Document)?;
    let mut program = Vec::new();
    if let Some(filter) = filter {
        std::io::Read::read_to_end(&mut std::fs::File::from(filter), &mut program).map_err(MonitorError::Bundle)?;
    }
    let extras = Extras { filter: program, keyring: Some(start.keyring.clone()) };
    Ok(Plan::compile(&spec, extras).map_err(LaunchError::from)?)
}

fn launch(plan: &Plan, start: &Start, caller: &Caller) -> Result<(Running, Attached), MonitorError> {
    let system = |what| move |error: rustix::io::Errno| MonitorError::System(what, error.into());
    let mapping = match &start.mapping {
        Mapping::Direct { deny_setgroups } => launch::Mapping::Direct { deny_setgroups: *deny_setgroups },
        Mapping::Helpers { newuidmap, newgidmap } => {
            launch::Mapping::Helpers(Helpers { newuidmap: newuidmap.clone(), newgidmap: newgidmap.clone() })
        }
    };
    if plan.terminal {
        let running = parent::start(plan, &mapping, None, None)?.run(plan)?;
        let control = running.terminal.as_ref().ok_or(LaunchError::Died(125))?;
        let attached = connect_terminal(control, caller, start.interactive).map_err(system("attach the terminal"))?;
        return Ok((running, attached));
    }
    let pipes = Pipes::new(start.interactive).map_err(system("make pipes"))?;
    let [input, output, error] = &pipes.program;
    let stdio = Some([input.as_fd(), output.as_fd(), error.as_fd()]);
    let running = parent::start(plan, &mapping, stdio, None)?.run(plan)?;
    let attached = pipes.connect(caller).map_err(system("attach the standard streams"))?;
    Ok((running, attached))
}

/// A container from its start to its end.
struct Life<'a> {
    control: &'a OwnedFd,
    bundle: BorrowedFd<'a>,
    signals: SignalFd,
    caller: Caller,
    running: Running,
    /// None once all output is handed on.
    attached: Option<Attached>,
    exit_code: Option<i32>,
}

/// Which of the two fixed descriptors are ready.
struct Ready {
    control: bool,
    signals: bool,
    streams: Vec<std::os::fd::RawFd>,
}

impl Life<'_> {
    fn live(mut self) -> Result<(), MonitorError> {
        self.tell_started()?;
        let mut caller_there = true;
        loop {
            if let (Some(exit_code), None) = (self.exit_code, &self.attached) {
                return self.tell_exited(exit_code, caller_there);
            }
            let ready = self.poll(caller_there)?;
            if ready.signals {
                self.take_signals();
            }
            if ready.control && !self.take_control() {
                caller_there = false;
                self.caller_left();
            }
            if let Some(attached) = &mut self.attached {
                attached.turn(|fd| ready.streams.contains(&std::os::fd::AsRawFd::as_raw_fd(&fd)));
                if attached.is_drained() {
                    self.attached = None;
                }
            }
        }
    }

    fn poll(&self, caller_there: bool) -> Result<Ready, MonitorError> {
        let signals = self.signals.as_fd();
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
        if caller_there {
            fds.push(PollFd::new(self.control, PollFlags::IN));
        }
        let first_stream = fds.len();
        let interests: Vec<_> = self.attached.iter().flat_map(Attached::interests).collect();
        fds.extend(interests.iter().map(|(fd, flags)| PollFd::new(fd, *flags)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(MonitorError::System("poll", error.into())),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let streams = interests.iter().zip(fds.iter().skip(first_stream));
        Ok(Ready {
            signals: fds.first().is_some_and(is_ready),
            control: caller_there && fds.get(1).is_some_and(is_ready),
            streams: streams
                .filter(|(_, fd)| is_ready(fd))
                .map(|((fd, _), _)| std::os::fd::AsRawFd::as_raw_fd(fd))
                .collect(),
        })
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo) {
                Ok(number) if number != libc_sigchld() => self.running.child.signal(number),
                _ => self.reap(),
            }
        }
    }

    /// Reaps the first process, and what it left to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid().unsigned_abs() == self.running.child.pid {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                self.exit_code = Some(status.exit_status().or(signal).unwrap_or(255));
                if let Some(attached) = &mut self.attached {
                    attached.close_input();
                }
            }
        }
    }

    /// One message of the engine; false when it is gone.
    fn take_control(&mut self) -> bool {
        match protocol::receive::<Control>(self.control) {
            Ok((Control::Signal(number), _)) => self.running.child.signal(number),
            Ok((Control::Resize { rows, columns }, _)) => {
                let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                if let Some(terminal) = &self.running.terminal {
                    let _ = rustix::termios::tcsetwinsize(terminal, size);
                }
            }
            // From a newer engine: nothing we could do about it.
            Ok(_) | Err(WireError::Content(_)) => {}
            Err(_) => return false,
        }
        true
    }

    /// The caller was killed, or lost its terminal: the container lives on, its output goes nowhere.
    fn caller_left(&mut self) {
        self.caller.restore_terminal();
        if let Some(attached) = &mut self.attached {
            attached.discard();
        }
    }

    fn tell_started(&mut self) -> Result<(), MonitorError> {
        let boot_id = identity::boot_id().map_err(|error| MonitorError::System("read the boot id", error.into()))?;
        let name = |pid: u32| ProcessIdentity {
            pid,
            // A process that has ended already has no start any more; nothing can be mistaken for it then.
            started_ticks: identity::started_ticks(pid).unwrap_or(0),
            boot_id: boot_id.clone(),
        };
        let (init, monitor) = (name(self.running.child.pid), name(std::process::id()));
        let run = record::Run {
            init: Some(init.clone()),
            monitor: monitor.clone(),
            since: record::now(),
            paused: false,
            restarts: 0,
            last: None,
        };
        let written = record::write(self.bundle, record::RUN, &run);
        let told = protocol::send(self.control.as_fd(), &Event::Started { init, monitor }, &[]);
        if let Err(error) = written {
            self.running.child.kill();
            return Err(MonitorError::System("write run.json of the container", error));
        }
        match told {
            Ok(()) | Err(WireError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn tell_exited(&self, exit_code: i32, caller_there: bool) -> Result<(), MonitorError> {
        let exit = record::Exit { exit_code, at: record::now(), since: 0, reason: None, by_user: false };
        let written = record::write(self.bundle, record::EXIT, &exit);
        if caller_there {
            let _ = protocol::send(self.control.as_fd(), &Event::Exited { exit_code }, &[]);
        }
        written.map_err(|error| MonitorError::System("write exit.json of the container", error))
    }
}

fn libc_sigchld() -> i32 {
    Signal::SIGCHLD as i32
}
