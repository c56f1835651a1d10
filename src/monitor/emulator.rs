//! The process that answers calls about ids, for a container with one id: made with the container's first
//! process, and gone with its last.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::error::MonitorError;
use super::server;
use crate::emulation::{Beginning, PERSONA};
use crate::launch::document::Process;
use crate::launch::parent::Running;
use crate::sys::clone::Child;
use crate::sys::message;

/// Somebody who answers. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    line: Line,
}

/// The way to it.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Emulator {
    /// Starts one.
    ///
    /// # Errors
    /// With what kept it from starting.
    pub fn start() -> Result<Self, MonitorError> {
        let (process, socket) = server::beside(PERSONA)?;
        Ok(Self { process, line: Line(socket) })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The way to it.
    pub fn line(&self) -> &Line {
        &self.line
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill();
        let _ = self.process.wait();
    }
}

impl Line {
    /// Another way to the same.
    ///
    /// # Errors
    /// EMFILE.
    pub fn copy(&self) -> Result<Self, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.0, 3).map(Self)
    }

    /// Has the calls of a process answered that begins as `process` says. Until then it waits with its first one.
    ///
    /// # Errors
    /// EPIPE if nobody answers any more.
    pub fn hand(&self, process: &Beginning, running: &mut Running) -> Result<(), Errno> {
        let Some(asks) = running.asks.take() else { return Ok(()) };
        let user = running.user.take();
        let text = serde_json::to_vec(process).map_err(|_| Errno::BADMSG)?;
        let fds: Vec<BorrowedFd<'_>> =
            [asks.as_fd()].into_iter().chain(user.as_ref().map(|user| user.as_fd())).collect();
        message::send(self.0.as_fd(), &text, &fds)
    }
}

/// Who a process begins as.
pub fn beginning(process: &Process) -> Beginning {
    let user = &process.user;
    Beginning { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone() }
}
