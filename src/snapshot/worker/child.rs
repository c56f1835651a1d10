//! The worker's own side: what runs in the process `pybox __worker`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use nix::sched::CloneFlags;
use rustix::io::Errno;

use super::protocol::{self, Answer, Job};
use super::{MAPPED, UNMAPPED, confine};
use crate::snapshot::failure::Failure;
use crate::snapshot::{measure, remove, unpack};
use crate::sys::worker_limits::close_from;

/// Namespaces that every worker leaves. A pid namespace would need a second
/// process, and the system calls that name a process are not to be had anyway.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// Runs the persona `__worker`; `mode` is the argument after it. Must be called
/// first thing in `main`, before a thread or an open descriptor exists.
///
/// Not for people: without a socket as standard input it ends with status 2.
pub fn main(mode: Option<&OsStr>) -> ExitCode {
    let mapped = match mode.and_then(OsStr::to_str) {
        Some(MAPPED) => CloneFlags::CLONE_NEWUSER,
        Some(UNMAPPED) => CloneFlags::empty(),
        _ => return ExitCode::from(2),
    };
    if close_from(3).is_err() {
        return ExitCode::from(2);
    }
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let answer = match nix::sched::unshare(NAMESPACES | mapped) {
        Err(errno) => Answer::NoNamespaces(errno as i32),
        Ok(()) if mapped.is_empty() => serve(socket),
        Ok(()) => match protocol::send(socket, &Answer::Born, &[]) {
            Ok(()) => serve(socket),
            Err(_) => return ExitCode::from(2),
        },
    };
    if protocol::send(socket, &answer, &[]).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(socket: BorrowedFd<'_>) -> Answer {
    job(socket).unwrap_or_else(Answer::Failed)
}

fn job(socket: BorrowedFd<'_>) -> Result<Answer, Failure> {
    let received = protocol::receive::<Job>(socket).and_then(|received| received.ok_or(Errno::PIPE));
    let (job, fds) = received.map_err(|error| Failure::sys("receive a job", error))?;
    let mut fds = fds.into_iter();
    let mut next = || -> Result<OwnedFd, Failure> {
        fds.next().ok_or_else(|| Failure::sys("receive a job's descriptors", Errno::BADF))
    };
    let directory = next()?;
    confine::become_root()?;
    match job {
        Job::Unpack(job) => {
            let input = next()?;
            confine::confine(directory.as_fd(), job.limits.total)?;
            unpack::unpack(&job, &directory, input).map(Answer::Unpacked)
        }
        Job::Empty => {
            confine::confine(directory.as_fd(), 0)?;
            remove::empty(directory.as_fd()).map(|()| Answer::Emptied)
        }
        Job::Measure => {
            confine::confine(directory.as_fd(), 0)?;
            measure::tree(directory.as_fd()).map(Answer::Measured)
        }
    }
}
