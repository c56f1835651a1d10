//! Into the namespaces of a container that runs.
//!
//! Who joins stays outside of the pid namespace, where nothing of the container sees it, and
//! makes the process that goes on inside. That one has the memory of a process of the host
//! which is not dumpable, so no capability of the container's user namespace opens it to a
//! tracer, until it executes its program.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;

use super::identity;
use crate::launch::wire::Report;
use crate::sys::clone::{self, Fresh, Namespaces, Side};
use crate::sys::{confine, message};

/// Moves into `namespaces` of `target`.
pub(super) fn join(fresh: &Fresh, target: Option<BorrowedFd<'_>>, namespaces: Namespaces) -> Result<(), Errno> {
    clone::join(fresh, target.ok_or(Errno::BADF)?, namespaces)
}

/// Goes on in a new process; this one says who that is, and ends.
pub(super) fn rebirth(fresh: &Fresh, wire: BorrowedFd<'_>) -> Result<(), Errno> {
    match fresh.rebirth()? {
        Side::Child => Ok(()),
        Side::Parent(child) => {
            let report = Report::Born { pid: child.pid };
            let told = message::send(wire, &report.encode(), &[child.pidfd.as_fd()]);
            // Nobody who listens: the new process learns it at its gate.
            fresh.end(u8::from(told.is_err()))
        }
    }
}

/// Sends `signal` to all processes of the pid namespace of `target` but its first: the whole
/// life of a child that is there for nothing else. The kernel holds no fork in between, so
/// nothing slips through.
pub fn signal_all(
    fresh: &Fresh,
    (target, namespaces): (BorrowedFd<'_>, Namespaces),
    signal: i32,
    wire: BorrowedFd<'_>,
) -> u8 {
    let done = inside(fresh, (target, namespaces), wire).and_then(|()| confine::signal_everybody(signal));
    let report = match done {
        Ok(()) => Report::Ready,
        Err(error) => Report::Failed { step: 0, errno: error.raw_os_error() },
    };
    let _ = message::send(wire, &report.encode(), &[]);
    0
}

fn inside(
    fresh: &Fresh,
    (target, namespaces): (BorrowedFd<'_>, Namespaces),
    wire: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let wanted = namespaces.intersection(Namespaces::USER | Namespaces::PID);
    identity::hide_from_tracers()?;
    join(fresh, Some(target), wanted)?;
    if wanted.contains(Namespaces::USER) {
        identity::become_root()?;
        identity::hide_from_tracers()?;
    }
    rebirth(fresh, wire)
}
