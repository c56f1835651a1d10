//! The worker's own side: what runs in the process `pybox __worker`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use nix::sched::CloneFlags;
use rustix::io::Errno;

use super::protocol::{self, Answer, Job};
use super::view::{Stage, View};
use super::{JOINED, MAPPED, UNMAPPED, confine, stage};
use crate::snapshot::failure::Failure;
use crate::snapshot::view::{self, Outcome};
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
    let namespaces = match mode.and_then(OsStr::to_str) {
        Some(MAPPED) => NAMESPACES | CloneFlags::CLONE_NEWUSER,
        Some(UNMAPPED) => NAMESPACES,
        // It enters those of a container.
        Some(JOINED) => CloneFlags::empty(),
        _ => return ExitCode::from(2),
    };
    if close_from(3).is_err() {
        return ExitCode::from(2);
    }
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let answer = match nix::sched::unshare(namespaces) {
        Err(errno) => Answer::NoNamespaces(errno as i32),
        Ok(()) if !namespaces.contains(CloneFlags::CLONE_NEWUSER) => serve(socket),
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
    if let Job::View(job) = job {
        return view(&job, fds);
    }
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
        Job::View(_) => Err(Failure::sys("receive a job", Errno::PROTO)),
    }
}

fn view(View { stage, task }: &View, fds: Vec<OwnedFd>) -> Result<Answer, Failure> {
    let mut fds = fds.into_iter();
    let root = if matches!(stage, Stage::Joined { .. }) {
        let root = stage::enter(stage, fds.next())?;
        confine::become_root()?;
        root
    } else {
        confine::become_root()?;
        let first = if matches!(stage, Stage::Directory) { fds.next() } else { None };
        stage::enter(stage, first)?
    };
    // A disk that is full says so itself; what is written may be an archive of any size.
    confine::confine(root.as_fd(), u64::MAX)?;
    Ok(match view::perform(&root, task, fds.collect())? {
        Outcome::Done(entries) => Answer::Done(entries),
        Outcome::Looked(looked) => Answer::Looked(looked),
    })
}
