//! The beginning of a monitor: told what to do, it launches, and lives on.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::attached::Caller;
use super::error::MonitorError;
use super::life::Life;
use super::private;
use super::protocol::{self, Start, WireError};
use crate::sys::{exec, failpoint, message};

/// The persona `__monitor NUMBER`: NUMBER is the inherited socket to the engine.
/// Returns the exit code of the process.
pub fn main(number: Option<&OsStr>) -> u8 {
    let number = number.and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let Some(control) = number.and_then(exec::inherited) else { return 125 };
    begin(&control).and_then(|life| life.map_or(Ok(0), |life| life.live(control))).unwrap_or(125)
}

/// Everything up to the first execution of the program; none if it failed, and the engine knows.
fn begin(control: &OwnedFd) -> Result<Option<Life>, MonitorError> {
    let begun = serve(control);
    match begun {
        // Whoever made us went away before saying what for.
        Err(MonitorError::Wire(WireError::Closed)) => Ok(None),
        Err(error) => {
            let _ = protocol::send(control.as_fd(), &error.event(), &[]);
            Err(error)
        }
        Ok(life) => Ok(Some(life)),
    }
}

fn serve(control: &OwnedFd) -> Result<Life, MonitorError> {
    let system = MonitorError::system;
    let _ = rustix::thread::set_name(c"pybox-monitor");
    rustix::process::setsid().map_err(system("start a session"))?;
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own).map_err(system("become a subreaper"))?;
    let signals =
        signals().map_err(|error| system("block signals")(rustix::io::Errno::from_raw_os_error(error as i32)))?;
    let caller = Caller::take_standard().map_err(system("take the standard streams"))?;

    let (mut start, fds) = protocol::receive::<Start>(control)?;
    failpoint::reach!("monitor.told");
    let mut fds = fds.into_iter().flatten();
    let bundle = fds.next().ok_or(WireError::Closed)?;
    if !start.private.is_empty() {
        private::take(&mut start.private, &fds.next_back().ok_or(WireError::Closed)?)?;
    }
    let filter = fds.next();
    let inherited = protocol::receive_descriptors(control, start.descriptors.count())?;
    rustix::process::fchdir(&bundle).map_err(system("enter the bundle"))?;
    // We hold the bundle's lock: a socket that is there belongs to nobody.
    let _ = rustix::fs::unlinkat(&bundle, protocol::SOCKET, rustix::fs::AtFlags::empty());
    let listener = message::listen(bundle.as_fd(), protocol::SOCKET).map_err(system("listen in the bundle"))?;
    failpoint::reach!("monitor.listening");
    let caller = start.attached.then_some(caller);
    Life::begin(start, bundle, (filter, inherited), (signals, listener), caller)
}

/// SIGCHLD, and what others may send to end us: that stops the container. All else stays blocked too.
fn signals() -> nix::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        wanted.add(signal);
    }
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
