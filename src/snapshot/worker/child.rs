//! The worker's own side: what runs in the process `pybox __worker`.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sched::CloneFlags;
use pybox_fuse_overlay::index::{self, Layer};
use pybox_fuse_overlay::record::Owners;
use pybox_fuse_overlay::{Config, Durability, Ids};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::protocol::{self, Answer, Job};
use super::view::{Stage, Task, View};
use super::{JOINED, MAPPED, UNMAPPED, confine, stage};
use crate::snapshot::failure::Failure;
use crate::snapshot::truth::Truth;
use crate::snapshot::view::{self, Outcome};
use crate::snapshot::{fuse_overlay, measure, remove, trial, unpack};
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
    let job = match job {
        Job::View(job) => return view(&job, fds),
        Job::Index { layers } => return index(&layers, fds),
        Job::Try { place } => return find(&place),
        other => other,
    };
    let mut fds = fds.into_iter();
    let mut next = || -> Result<OwnedFd, Failure> {
        fds.next().ok_or_else(|| Failure::sys("receive a job's descriptors", Errno::BADF))
    };
    let directory = next()?;
    confine::become_root()?;
    match job {
        Job::Unpack { job, recorded } => {
            let input = next()?;
            confine::confine(directory.as_fd(), job.limits.total)?;
            unpack::unpack(&job, recorded, &directory, input).map(Answer::Unpacked)
        }
        Job::Empty => {
            confine::confine(directory.as_fd(), 0)?;
            remove::empty(directory.as_fd()).map(|()| Answer::Emptied)
        }
        Job::Measure => {
            confine::confine(directory.as_fd(), 0)?;
            measure::tree(directory.as_fd()).map(Answer::Measured)
        }
        Job::View(_) | Job::Index { .. } | Job::Try { .. } => Err(Failure::sys("receive a job", Errno::PROTO)),
    }
}

fn find(place: &Path) -> Result<Answer, Failure> {
    confine::become_root()?;
    let directory = open(place)?;
    let found = trial::find(&directory);
    confine::confine(directory.as_fd(), 0)?;
    remove::empty(directory.as_fd()).map(|()| Answer::Tried(found))
}

fn open(directory: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |error| Failure::sys(format!("open {}", directory.display()), error);
    rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)
}

/// Indexes `layers`. Their owners are those of the image inside our namespace.
fn index(layers: &[PathBuf], fds: Vec<OwnedFd>) -> Result<Answer, Failure> {
    let output = fds.into_iter().next().ok_or_else(|| Failure::sys("receive a job's descriptors", Errno::BADF))?;
    confine::become_root()?;
    let lower = layers.iter().map(|layer| open(layer)).collect::<Result<Vec<_>, _>>()?;
    let config = Config { lower, index: None, upper: None, ids: Ids::Real, durability: Durability::Synced };
    fuse_overlay::confine(&config).map_err(|sentence| Failure::sys(sentence, Errno::PERM))?;
    let owners = config.lower.iter().map(Owners::beside).collect::<std::io::Result<Vec<_>>>();
    let owners = owners.map_err(|error| Failure::io("read the owners of a layer", &error))?;
    let layers = config.lower.iter().zip(&owners);
    let layers: Vec<_> =
        layers.map(|(layer, owners)| Layer { directory: layer.as_fd(), owners: owners.as_ref() }).collect();
    index::build(&layers, &|uid, gid| (uid, gid), &File::from(output))
        .map_err(|error| Failure::io("index the layers", &error))?;
    Ok(Answer::Done(layers.len() as u64))
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
    // While the work directory can still be read; nothing of the container's is looked at.
    let truth = match task {
        Task::Layer { recorded: true, .. } => {
            let work = fds.next().ok_or_else(|| Failure::sys("receive a job's descriptors", Errno::BADF))?;
            Truth::of_upper(&work).map_err(|error| Failure::sys("read the owners of the container's files", error))?
        }
        Task::Layer { recorded: false, .. } => Truth::Disk,
        _ => Truth::of_mount(&root),
    };
    // A disk that is full says so itself; what is written may be an archive of any size.
    confine::confine_for(root.as_fd(), u64::MAX, &truth)?;
    Ok(match view::perform(&root, task, &truth, fds.collect())? {
        Outcome::Done(entries) => Answer::Done(entries),
        Outcome::Looked(looked) => Answer::Looked(looked),
        Outcome::Prepared(stubs) => Answer::Prepared(stubs),
    })
}
