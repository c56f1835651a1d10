//! The worker: a process that handles foreign files as root of nothing.
//!
//! # Theory of operation
//!
//! The parent starts its own program as the persona `__worker`, whose standard
//! input is one end of a socket, and then:
//!
//! 1. The child closes what it may have inherited, makes new namespaces (user,
//!    mount, network, IPC, UTS, cgroup) and says `Born`. It must not look at a
//!    foreign byte yet.
//! 2. The parent writes the child's id maps and sends the job, with the
//!    directory to work in and, to unpack, the descriptor to read from. The
//!    child is blocked meanwhile, so its pid cannot come to mean another.
//! 3. The child becomes 0:0 of its namespace, changes its root to that
//!    directory, gives up every privilege that file work does not need
//!    ([`confine`]) and only then begins.
//! 4. It answers once and ends. Its death without an answer is an error too.
//!
//! A bug in the archive reader is so a bug in a process that sees one directory,
//! no network, and a short list of system calls.

mod child;
mod confine;
mod protocol;
mod stage;
pub mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use child::main;
pub use protocol::{Compression, Limits, Unpack, Unpacked, Warning, WarningKind};

use super::driver::Found;
use super::failure::SnapshotError;
use crate::model::host::IdMap;
use crate::sys::idmap::{self, Helpers};
use protocol::{Answer, Job};

/// First argument of the program that makes it a worker.
pub const PERSONA: &str = "__worker";

const MAPPED: &str = "mapped";
const UNMAPPED: &str = "unmapped";
const JOINED: &str = "joined";

/// Which ids the worker has.
#[derive(Clone, Debug)]
pub enum Ids {
    /// Those of the caller, who is root: no user namespace.
    Own,
    /// A user namespace with this map.
    Mapped {
        /// The map.
        map: IdMap,
        /// newuidmap and newgidmap; `None` writes the map by hand, which needs
        /// a privileged caller or a map of the caller's own two ids alone.
        helpers: Option<Helpers>,
    },
}

impl Ids {
    /// Those of a namespace with `map`, by whatever writes such a map here.
    pub fn mapped(map: IdMap) -> Self {
        let helpers = if map.is_of_one() { None } else { Helpers::find() };
        Self::Mapped { map, helpers }
    }
}

/// How to start workers.
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    exe: PathBuf,
    ids: Ids,
    /// Whether owners are noted in the side files of layers, whatever ids there are.
    records: bool,
}

/// A worker that has its job; killed and reaped when dropped.
///
/// Its descriptor becomes readable when [`Worker::wait`] would not block.
#[derive(Debug)]
pub struct Worker {
    socket: OwnedFd,
    child: Child,
}

impl WorkerProgram {
    /// Workers are `exe` (pybox itself, as a rule `/proc/self/exe`), with `ids`.
    pub fn new(exe: PathBuf, ids: Ids) -> Self {
        let records = matches!(&ids, Ids::Mapped { map, .. } if map.is_of_one());
        Self { exe, ids, records }
    }

    /// The same, for a file system on which files cannot be given away.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { records: true, ..self }
    }

    /// Starts to unpack `input` (the layer's bytes as they came: a pipe, a
    /// socket or a file; read to its end) into the empty directory `output`.
    /// Close your own copies of `input`'s other end to end the stream; writing
    /// to it fails with EPIPE once the worker has ended, and `wait` says why.
    ///
    /// # Errors
    /// When the worker cannot be started.
    pub fn unpack(&self, job: &Unpack, output: BorrowedFd<'_>, input: BorrowedFd<'_>) -> Result<Worker, SnapshotError> {
        self.start(&Job::Unpack { job: job.clone(), recorded: self.records }, &[output, input])
    }

    /// Removes everything in `directory`, whoever of the map owns it; the
    /// directory itself stays, and is its owner's to remove.
    ///
    /// # Errors
    /// When the worker cannot be started or something cannot be removed.
    pub fn empty(&self, directory: BorrowedFd<'_>) -> Result<(), SnapshotError> {
        match self.start(&Job::Empty, &[directory])?.answer()? {
            Answer::Emptied => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Counts the bytes of all files in `directory`, whoever of the map owns them.
    ///
    /// # Errors
    /// When the worker cannot be started or something cannot be read.
    pub fn measure(&self, directory: BorrowedFd<'_>) -> Result<u64, SnapshotError> {
        match self.start(&Job::Measure, &[directory])?.answer()? {
            Answer::Measured(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        }
    }

    /// Finds out what root file systems can be had in `place`, an empty directory, and leaves it empty.
    ///
    /// # Errors
    /// When the worker cannot be started, or its traces cannot be removed.
    pub fn find(&self, place: PathBuf) -> Result<Found, SnapshotError> {
        match self.start(&Job::Try { place }, &[])?.answer()? {
            Answer::Tried(found) => Ok(found),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes the index of the merged tree of `layers`, the topmost first, into the empty file `output`,
    /// which has to be readable too.
    ///
    /// # Errors
    /// When the worker cannot be started, or a layer cannot be read.
    pub fn index(&self, layers: Vec<PathBuf>, output: BorrowedFd<'_>) -> Result<(), SnapshotError> {
        match self.start(&Job::Index { layers }, &[output])?.answer()? {
            Answer::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn start(&self, job: &Job, fds: &[BorrowedFd<'_>]) -> Result<Worker, SnapshotError> {
        let joins = matches!(job, Job::View(view::View { stage: view::Stage::Joined { .. }, .. }));
        let mode = match &self.ids {
            _ if joins => JOINED,
            Ids::Own => UNMAPPED,
            Ids::Mapped { .. } => MAPPED,
        };
        let worker = self.spawn(mode)?;
        if mode == MAPPED
            && let Ids::Mapped { map, helpers } = &self.ids
        {
            match worker.receive()? {
                Answer::Born => {
                    let (uids, gids) = (IdMap::lines(&map.uids), IdMap::lines(&map.gids));
                    idmap::write(worker.child.id(), &uids, &gids, helpers.as_ref())?;
                }
                other => return Err(unexpected(&other)),
            }
        }
        protocol::send(worker.socket.as_fd(), job, fds).map_err(|error| SnapshotError::Wire(error.into()))?;
        Ok(worker)
    }

    fn spawn(&self, mode: &str) -> Result<Worker, SnapshotError> {
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| SnapshotError::Spawn(error.into()))?;
        let mut command = Command::new(&self.exe);
        command.args([PERSONA, mode]).env_clear().current_dir("/");
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        crate::sys::failpoint::hand_on(&mut command);
        let child = command.spawn().map_err(SnapshotError::Spawn)?;
        Ok(Worker { socket, child })
    }
}

impl Worker {
    /// Waits for the layer to be unpacked. After an error the output directory
    /// holds a part of it.
    ///
    /// # Errors
    /// With the worker's own failure, or that it died.
    pub fn wait(self) -> Result<Unpacked, SnapshotError> {
        match self.answer()? {
            Answer::Unpacked(unpacked) => Ok(unpacked),
            other => Err(unexpected(&other)),
        }
    }

    fn answer(mut self) -> Result<Answer, SnapshotError> {
        let answer = self.receive();
        if answer.is_ok() {
            // It answers as its last act: this is a matter of microseconds, and
            // whoever removes the directory next finds it unused.
            let _ = self.child.wait();
        }
        answer
    }

    fn receive(&self) -> Result<Answer, SnapshotError> {
        match protocol::receive(self.socket.as_fd()) {
            Ok(Some((Answer::Failed(failure), _))) => Err(failure.into()),
            Ok(Some((Answer::NoNamespaces(errno), _))) => {
                Err(SnapshotError::Namespaces(std::io::Error::from_raw_os_error(errno)))
            }
            Ok(Some((answer, _))) => Ok(answer),
            Ok(None) => Err(SnapshotError::Lost(self.last_words())),
            Err(error) => Err(SnapshotError::Wire(error.into())),
        }
    }

    /// How the child ended, its socket being closed already.
    fn last_words(&self) -> String {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        // WNOWAIT leaves the status for `drop`, which must be able to reap.
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let status = pid.and_then(|pid| rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).ok());
        match status.flatten() {
            Some(status) => match (status.terminating_signal(), status.exit_status()) {
                (Some(signal), _) => format!("killed by signal {signal}"),
                (None, Some(code)) => format!("exit status {code}"),
                (None, None) => "unknown end".to_owned(),
            },
            None => "unknown end".to_owned(),
        }
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn unexpected(answer: &Answer) -> SnapshotError {
    let error = std::io::Error::other(format!("unexpected answer {answer:?}"));
    SnapshotError::Wire(error)
}
