//! The parent's side of a process that joins a container.
//!
//! A container may do as it likes with a process that is inside already: stop it, or let it
//! wait for a file system of its own making. So nobody waits here: the parent polls
//! [`Joining::as_fd`] and takes one report a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::child::{self, Birth};
use super::error::LaunchError;
use super::parent::{Running, Stdio, explain, wire_error};
use super::plan::{JoinFacts, Plan};
use super::step::Step;
use super::wire::{self, Report};
use crate::sys::clone::{Child, Fresh, Namespaces, clone3};
use crate::sys::message;

/// A process on its way into a container. Dropped, it is killed; reaping it is left to
/// who reaps all children, as it may take its time to die.
#[derive(Debug)]
pub struct Joining {
    wire: OwnedFd,
    /// Who joins first, makes the other and ends.
    usher: Child,
    /// Who executes the program.
    child: Option<Child>,
    terminal: Option<OwnedFd>,
    asks: Option<OwnedFd>,
    ready: bool,
    failed: Option<(u16, i32)>,
    /// How the child has ended, if somebody else reaped it.
    code: Option<i32>,
    /// Who was reaped, and how it had ended, before the child was known.
    earlier: Vec<(u32, i32)>,
}

/// How long the one signal of [`signal_all`] may take, in seconds.
const PATIENCE: i64 = 5;

/// What a process killed by SIGKILL ends with.
const KILLED: i32 = 137;

impl Joining {
    /// Starts the walk of `plan` into the container whose process is behind `target`, in
    /// `cgroup` where one is given.
    ///
    /// # Errors
    /// [`LaunchError::Fork`] if no process can be made.
    pub fn start(
        plan: &Plan,
        target: BorrowedFd<'_>,
        stdio: Stdio<'_>,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Self, LaunchError> {
        Self::born(cgroup, |fresh, wire| child::walk(plan, &Birth { wire, stdio, target: Some(target) }, fresh))
    }

    fn born(
        cgroup: Option<BorrowedFd<'_>>,
        life: impl FnOnce(&Fresh, BorrowedFd<'_>) -> u8,
    ) -> Result<Self, LaunchError> {
        let (ours, theirs) = message::pair().map_err(wire_error)?;
        let usher = clone3(Namespaces::empty(), cgroup, |fresh| {
            // Our end is a copy in the child: it must not keep the wire open.
            crate::sys::exec::close_copy(ours.as_fd());
            life(fresh, theirs.as_fd())
        });
        let usher = usher.map_err(|error| LaunchError::Fork(error.into()))?;
        let (child, terminal, asks, failed, code) = (None, None, None, None, None);
        Ok(Self { wire: ours, usher, child, terminal, asks, ready: false, failed, code, earlier: Vec::new() })
    }

    /// Takes one report of the walk of `plan`, and waits for it if there is none yet. Answers
    /// when it is the last one.
    pub fn turn(&mut self, plan: &Plan) -> Option<Result<Running, LaunchError>> {
        match self.listen() {
            Ok(true) => None,
            Ok(false) => Some(self.outcome(plan)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Tells that the child `pid` was reaped, with its exit code; false if it is none of these.
    pub fn reaped(&mut self, pid: u32, code: i32) -> bool {
        let Some(child) = &self.child else {
            // Killed as soon as it was made, it can be reaped before we hear that it was.
            self.earlier.push((pid, code));
            return false;
        };
        let ours = child.pid == pid;
        if ours {
            self.code = Some(code);
        }
        ours
    }

    /// Takes one report; false at the end, when both processes have ended or executed.
    fn listen(&mut self) -> Result<bool, LaunchError> {
        let mut packet = [0; wire::PACKET];
        let received = message::receive(self.wire.as_fd(), &mut packet).map_err(wire_error)?;
        let [fd, ..] = received.fds;
        match (packet.get(..received.len).and_then(Report::decode), fd) {
            (Some(Report::Born { pid }), Some(pidfd)) => {
                self.child = Some(Child { pid, pidfd });
                self.code = self.earlier.drain(..).rfind(|(reaped, _)| *reaped == pid).map(|(_, code)| code);
                // It waits for this byte: what executes is known to us, or ends.
                let _ = message::send(self.wire.as_fd(), &[wire::GO], &[]);
            }
            (Some(Report::Terminal), terminal) => self.terminal = terminal,
            (Some(Report::Listener), asks) => self.asks = asks,
            (Some(Report::Ready), _) => self.ready = true,
            (Some(Report::Failed { step, errno }), _) => self.failed = Some((step, errno)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn outcome(&mut self, plan: &Plan) -> Result<Running, LaunchError> {
        let _ = self.usher.wait();
        let child = self.child.take();
        if self.failed.is_none() && self.ready {
            let child = child.ok_or(LaunchError::Died(255))?;
            let (terminal, asks) = (self.terminal.take(), self.asks.take());
            return Ok(Running { child, terminal, program: None, asks, user: None, interface: None });
        }
        let code = self.code.or_else(|| child?.wait().ok());
        match (self.failed, code) {
            (Some((step, errno)), _) => Err(refusal(plan, step, errno)),
            // Killed in the middle: so ends a process whose pid namespace does.
            (None, Some(KILLED)) => Err(LaunchError::Ended),
            (None, code) => Err(LaunchError::Died(code.unwrap_or(255))),
        }
    }
}

impl AsFd for Joining {
    /// Readable when there is a report.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.usher.kill();
        if let Some(child) = &self.child {
            child.kill();
        }
    }
}

/// What a step that failed means here.
fn refusal(plan: &Plan, step: u16, errno: i32) -> LaunchError {
    match (plan.steps.get(usize::from(step)), Errno::from_raw_os_error(errno)) {
        // A pid namespace without first process takes no other (pid_namespaces(7)).
        (Some(Step::Join(_)), Errno::SRCH) | (Some(Step::Rebirth), Errno::NOMEM) => LaunchError::Ended,
        (Some(Step::FindWorkdir(directory)), _) => {
            LaunchError::Workdir { directory: directory.to_string(), source: std::io::Error::from_raw_os_error(errno) }
        }
        _ => explain(plan, step, errno),
    }
}

/// Sends `signal` to all processes of the container but its first, at one blow. The first
/// is for the caller, who has its pidfd.
///
/// # Errors
/// [`LaunchError::Ended`] if the container has, [`LaunchError::Signal`] if it did not work, or
/// took longer than five seconds.
pub fn signal_all(target: BorrowedFd<'_>, facts: &JoinFacts, signal: i32) -> Result<(), LaunchError> {
    let mut joining =
        Joining::born(None, |fresh, wire| child::signal_all(fresh, (target, facts.namespaces), signal, wire))?;
    let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    loop {
        let mut report = [PollFd::new(&joining.wire, PollFlags::IN)];
        match rustix::event::poll(&mut report, Some(&patience)) {
            Ok(0) => return Err(LaunchError::Signal(Errno::TIMEDOUT.into())),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(wire_error(error)),
        }
        if !joining.listen()? {
            break;
        }
    }
    let _ = joining.usher.wait();
    if let Some(child) = joining.child.take() {
        let _ = child.wait();
    }
    match (joining.failed.map(|(_, errno)| Errno::from_raw_os_error(errno)), joining.ready) {
        (Some(Errno::SRCH | Errno::NOMEM), _) | (None, false) => Err(LaunchError::Ended),
        (Some(error), _) => Err(LaunchError::Signal(error.into())),
        (None, true) => Ok(()),
    }
}
