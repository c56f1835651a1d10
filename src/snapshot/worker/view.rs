//! Work in the root file system of a container, running or not.
//!
//! The worker enters the container's own namespaces, or mounts its layers in namespaces of
//! its own, and makes that root its own root before it looks at a path. A link in the
//! container, or a process that changes names meanwhile, can lead it nowhere else
//! (CVE-2018-15664); and no program or library of the container is executed or loaded
//! (CVE-2019-14271).

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::protocol::{Answer, Job};
use super::{Worker, WorkerProgram, unexpected};
use crate::model::permissions::Permissions;
use crate::model::storage::StorageDriver;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::layers::Layers;

/// Which root the worker takes for its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// That of the process whose pidfd comes first.
    Joined {
        /// Whether it has a user namespace of its own.
        user: bool,
    },
    /// Layers, mounted.
    Mounted {
        /// By whom.
        driver: StorageDriver,
        /// Read-only directories; two at least where nothing is writable.
        layers: Layers,
        /// What takes changes, and the directory for the driver's own use.
        writable: Option<(PathBuf, PathBuf)>,
        /// What is bound into it.
        binds: Vec<Bind>,
        /// A directory to mount on, seen by the worker alone.
        place: PathBuf,
    },
    /// The directory that comes first.
    Directory,
}

/// A file or directory of the host, in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is.
    pub source: PathBuf,
    /// Where it is seen.
    pub target: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// What is to be done there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Tell what `path` is.
    Look {
        /// Absolute.
        path: PathBuf,
    },
    /// Write an archive of `path`.
    Archive {
        /// Absolute.
        path: PathBuf,
        /// What it is called in the archive; empty for the contents of a directory.
        name: String,
        /// Whose all of it becomes, and with which permission bits, if not as it is.
        #[serde(default)]
        dress: Dress,
        /// Whether a link in last place is followed.
        follow: bool,
        /// Whether other file systems are entered, but for those of the kernel.
        cross: bool,
        /// Patterns of what is left out, from the path on.
        #[serde(default)]
        exclude: Vec<String>,
    },
    /// Tell what fits a pattern: for each, its kind (`d` or `f`), how many bytes of its path come before the
    /// pivot, the path, and the path with the links in last place followed, each ended by a zero byte; sorted.
    Find {
        /// Parts of the path, the pattern's and others.
        parts: Vec<String>,
        /// After how many of them the pivot is.
        pivot: usize,
        /// Whether `**` stands for any number of directories.
        deep: bool,
    },
    /// Unpack an archive in the directory `path`.
    Extract {
        /// Absolute.
        path: PathBuf,
        /// Whose the files are.
        owners: Owners,
        /// Whether the archive tells the directory's own mode and owner.
        root: bool,
    },
    /// Unpack an archive in the directory `path`, which is made if it is missing, and all above it.
    Place {
        /// Absolute.
        path: PathBuf,
        /// Whose the directories are that are made.
        owner: (u32, u32),
    },
    /// Write an archive of the layer that the root is the upper directory of.
    Layer {
        /// Whether owners are recorded; then the work directory comes before the archive.
        recorded: bool,
        /// No time in it is later than this, in seconds since 1970.
        latest: Option<u64>,
        /// Places that were made to mount something on, see [`Task::Prepare`]: those that are as they were
        /// made are no change.
        stubs: Vec<Stub>,
    },
    /// Make the places that something is going to be mounted on, where they are missing.
    Prepare {
        /// The places.
        places: Vec<MountPoint>,
    },
    /// Give what stands at `path`, which is no link, to another owner.
    Give {
        /// Below the root.
        path: PathBuf,
        /// User and group.
        owner: (u32, u32),
        /// Its permission bits then.
        mode: u32,
    },
    /// Tell what the root, an upper directory, changes: see [`Change`].
    Changes,
    /// Tell of each of the paths that are read, each ended by a zero byte, whether it is there: `1` or `0`.
    Present,
}

/// A place to mount on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Absolute.
    pub path: PathBuf,
    /// Whether a directory is mounted there, or a file.
    pub directory: bool,
}

/// A place to mount on, or a directory above one, before anything is done there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stub {
    /// Where it really is, whatever links lead there.
    pub path: PathBuf,
    /// When it was changed last: who touches it later, be it for its mode or its owner alone, changes that.
    pub changed: (i64, i64),
}

/// What of the files in an archive is not as it is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dress {
    /// Their owner.
    pub owner: Option<(u32, u32)>,
    /// What becomes of their permission bits.
    pub mode: Option<Permissions>,
    /// Whether they have no times, as for a digest.
    #[serde(default)]
    pub timeless: bool,
    /// Whether the root has no entry: it is the mount's, made a moment ago, and no part of an image.
    #[serde(default)]
    pub without_root: bool,
}

/// Whose the files of an archive are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// Root's.
    Root,
    /// Theirs whom the archive names.
    Archive,
}

/// What a path in the root of a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// What stands there, a link followed to its end; none for nothing.
    pub kind: Option<FileKind>,
    /// Where it stands, the last links followed; where it would stand, for nothing.
    pub path: PathBuf,
    /// Whether the path itself is a link.
    pub link: bool,
}

/// What a file is, as far as copying it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// One line of what [`Task::Changes`] writes: this, a path, and a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file or directory that may be new, or changed.
    Present = b'p' as isize,
    /// Something was deleted.
    Gone = b'g' as isize,
}

/// A task with its stage, as it goes over the socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) stage: Stage,
    pub(super) task: Task,
}

impl WorkerProgram {
    /// Starts `task`. `fds`: the pidfd or directory of the stage if it has one, then what the task
    /// reads or writes.
    ///
    /// # Errors
    /// When the worker cannot be started.
    pub fn view(&self, stage: Stage, task: Task, fds: &[BorrowedFd<'_>]) -> Result<Worker, SnapshotError> {
        self.start(&Job::View(View { stage, task }), fds)
    }

    /// Looks at a path.
    ///
    /// # Errors
    /// When the worker cannot be started, or the path cannot be looked at.
    pub fn look(&self, stage: Stage, path: PathBuf, fds: &[BorrowedFd<'_>]) -> Result<Looked, SnapshotError> {
        match self.view(stage, Task::Look { path }, fds)?.answer()? {
            Answer::Looked(looked) => Ok(looked),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the places that something is going to be mounted on; says what they and the directories above
    /// them are like then.
    ///
    /// # Errors
    /// When the worker cannot be started, or a place cannot be made.
    pub fn prepare(&self, stage: Stage, places: Vec<MountPoint>) -> Result<Vec<Stub>, SnapshotError> {
        match self.view(stage, Task::Prepare { places }, &[])?.answer()? {
            Answer::Prepared(stubs) => Ok(stubs),
            other => Err(unexpected(&other)),
        }
    }
}

impl Worker {
    /// Waits for a task to be done that tells nothing but that; how many entries it was about.
    ///
    /// # Errors
    /// With the worker's own failure, or that it died.
    pub fn done(self) -> Result<u64, SnapshotError> {
        match self.answer()? {
            Answer::Done(entries) => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    /// Readable when [`Worker::done`] would not block.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
