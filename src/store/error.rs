//! Why the store could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::model::digest::Digest;
use crate::model::id::{ContainerId, ContainerName};

/// The store's errors; each names the operation and its object.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read, written or moved.
    #[error("{operation} {}", path.display())]
    Io {
        /// As in "open".
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file system is full, or the user's quota is used up.
    #[error("no space left: {operation} {}{}", path.display(), room(*needed, *left))]
    NoSpace {
        /// As in "write".
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Bytes that were to be written, if known.
        needed: Option<u64>,
        /// What is left there.
        left: Left,
    },
    /// The root directory belongs to somebody else.
    #[error("the store {} belongs to user id {owner}, not to us (user id {ours})", path.display())]
    ForeignRoot {
        /// The root.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// Others may enter the root directory.
    #[error("the store {} is open to other users (mode {mode:04o})", path.display())]
    WideRoot {
        /// The root.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path of the root is one that no container can be mounted from.
    #[error("the store {} cannot hold containers: {}", path.display(), unfit(*found))]
    UnfitRoot {
        /// The root.
        path: PathBuf,
        /// The character in it; none if it is not UTF-8.
        found: Option<char>,
    },
    /// The root cannot be written, and the request has to write.
    #[error("the store {} is read-only", path.display())]
    ReadOnly {
        /// The root.
        path: PathBuf,
    },
    /// A later version of pybox has written the database.
    #[error("the store {} has schema version {found}; this pybox knows versions up to {known}", path.display())]
    NewerSchema {
        /// The root.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The highest version we know.
        known: i64,
    },
    /// The database is no database, or its pages contradict each other.
    #[error("the database {} is damaged", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Any other failure of the database.
    #[error("access the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Somebody else works on this object.
    #[error("{what} is in use by {}", holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Busy {
        /// What is locked.
        what: String,
        /// Who holds it, if known.
        holder: Option<u32>,
    },
    /// The bytes are not those that the digest names.
    #[error("content with digest {found} came where {expected} was expected")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A blob that something refers to is not here.
    #[error("blob {0} is not in the store")]
    MissingBlob(Digest),
    /// A blob has been changed on disk.
    #[error("blob {0} is damaged on disk")]
    DamagedBlob(Digest),
    /// A blob is larger than a document of its kind may be.
    #[error("blob {digest} is larger than {limit} bytes")]
    OversizedBlob {
        /// Which blob.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// A layer that an image needs is not unpacked, or was cut short by a crash of the machine.
    #[error("layer {0} is not unpacked")]
    MissingLayer(Digest),
    /// A manifest or configuration says something impossible.
    #[error("image {subject}: {why}")]
    BadImage {
        /// The digest of the document.
        subject: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing is called that.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// More than one image's id starts with that.
    #[error("image id {prefix} is ambiguous: {}", list(candidates))]
    AmbiguousImage {
        /// What was typed.
        prefix: String,
        /// The ids that it could mean.
        candidates: Vec<Digest>,
    },
    /// Containers need the image.
    #[error("image {image} is used by container {name} ({})", container.short())]
    ImageInUse {
        /// The image, as it was asked for.
        image: String,
        /// A container made from it.
        container: ContainerId,
        /// That container's name.
        name: ContainerName,
        /// Whether it runs: then no force helps.
        running: bool,
    },
    /// The image has several names, so its id does not say which of them should go.
    #[error("image {image} has more than one name: {}", list(names))]
    SeveralNames {
        /// The image, as it was asked for.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// Another image has that name.
    #[error("{reference} is the name of another image ({})", image.short())]
    TagInUse {
        /// The name.
        reference: String,
        /// Who has it.
        image: Digest,
    },
    /// Another container has that name.
    #[error("the container name {name} is in use by container {}", id.short())]
    NameInUse {
        /// The name.
        name: ContainerName,
        /// Who has it.
        id: ContainerId,
    },
    /// Nothing is called that.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// More than one container's id starts with that.
    #[error("container id {prefix} is ambiguous: {}", list(candidates))]
    AmbiguousContainer {
        /// What was typed.
        prefix: String,
        /// The ids that it could mean.
        candidates: Vec<ContainerId>,
    },
}

/// What a file system has left for an unprivileged user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nobody could say.
    Unknown,
    /// So many bytes.
    Bytes(u64),
    /// Bytes, and no inode to make another file with.
    NoInodes,
}

fn unfit(found: Option<char>) -> String {
    found.map_or_else(|| "its path is not UTF-8".to_owned(), |c| format!("its path has {c:?} in it"))
}

fn room(needed: Option<u64>, left: Left) -> String {
    match (needed, left) {
        (_, Left::NoInodes) => " (the disk has no inodes left for more files, see df -i)".to_owned(),
        (Some(needed), Left::Bytes(available)) => format!(" (needs {needed} bytes, {available} are free)"),
        (Some(needed), Left::Unknown) => format!(" (needs {needed} bytes)"),
        (None, Left::Bytes(available)) => format!(" ({available} bytes are free)"),
        (None, Left::Unknown) => String::new(),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl StoreError {
    /// Wraps what the kernel said about `operation` on `path`; a full disk and a
    /// used up quota become [`StoreError::NoSpace`].
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { operation, path: path.into(), needed: None, left: left(path.parent().unwrap_or(path)) }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: path.into() },
            _ => Self::Io { operation, path: path.into(), source },
        }
    }

    /// The same for the error type of `rustix`.
    pub(crate) fn errno(operation: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::io(operation, path)(errno.into())
    }

    /// Sorts an error of SQLite on the database `path`.
    pub(crate) fn database(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace {
                operation: "write",
                path: path.into(),
                needed: None,
                left: left(path.parent().unwrap_or(path)),
            },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path: path.into(), source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path: path.parent().unwrap_or(path).into() },
            _ => Self::Database { path: path.into(), source },
        }
    }

    /// Whether room on the disk is what is missing.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// What to do about it, where that is known here.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ForeignRoot { path, ours, .. } => format!(
                "choose a directory of your own with --root or PYBOX_ROOT, or give this one to yourself: \
                 sudo chown -R {ours} {}",
                path.display()
            ),
            Self::UnfitRoot { .. } => {
                "choose another directory with --root or PYBOX_ROOT, as in: export PYBOX_ROOT=$HOME/pybox".to_owned()
            }
            Self::Io { operation: "open the store" | "create the store", .. } => {
                "choose a directory that is or can be yours with --root or PYBOX_ROOT".to_owned()
            }
            Self::WideRoot { path, .. } => format!("chmod 700 {}", path.display()),
            Self::ReadOnly { .. } => "choose a directory that can be written with --root or PYBOX_ROOT".to_owned(),
            Self::NewerSchema { .. } => {
                "use the newer pybox that wrote it, or another directory with --root or PYBOX_ROOT".to_owned()
            }
            Self::Damaged { .. } => "make it anew from what lies beside it: pybox check --repair".to_owned(),
            Self::NoSpace { left: Left::NoInodes, .. } => {
                "remove files from that file system; `pybox system prune` and `pybox rmi IMAGE` do".to_owned()
            }
            Self::NoSpace { .. } => {
                "free space on that file system; `pybox rmi IMAGE` and `pybox rm CONTAINER` do".to_owned()
            }
            Self::ImageInUse { running: false, name, .. } => format!("pybox rm {name}"),
            Self::ImageInUse { running: true, name, .. } => format!("pybox rm -f {name}"),
            Self::SeveralNames { .. } => "give one of the names, or --force to remove them all".to_owned(),
            Self::TagInUse { reference, .. } => {
                format!("pybox rmi {reference}, or repeat with --force to move the name")
            }
            Self::NameInUse { name, .. } => format!("pybox rm {name}, or choose another --name"),
            Self::DamagedBlob(_) | Self::MissingBlob(_) | Self::MissingLayer(_) => {
                "pull or load the image again".to_owned()
            }
            Self::AmbiguousContainer { .. } => "give more of the id: pybox ps --all --no-trunc".to_owned(),
            Self::AmbiguousImage { .. } => "give more of the id: pybox images --no-trunc".to_owned(),
            Self::Io { source, .. } if source.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
                "more files have to be open at once: ulimit -n 1024".to_owned()
            }
            Self::Io { source, .. } if source.raw_os_error() == Some(Errno::NOLCK.raw_os_error()) => {
                "choose a directory on a local file system with --root or PYBOX_ROOT".to_owned()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "choose a directory that is yours, all of it, with --root or PYBOX_ROOT".to_owned()
            }
            Self::Io { .. } => "see what else is wrong: pybox check".to_owned(),
            Self::Database { .. } => {
                "see whether it and its directory can be read and written, and `ulimit -n` is no less than 64"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// Bytes that an unprivileged user can still write on the file system of `path`.
pub(crate) fn available(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What is missing on the file system of `path`, which has just been said to be full. One that counts no inodes has
/// none to run out of, and without bytes more of them would not help.
fn left(path: &Path) -> Left {
    let Ok(stat) = rustix::fs::statvfs(path) else { return Left::Unknown };
    if stat.f_files > 0 && stat.f_favail == 0 && stat.f_bavail > 0 {
        return Left::NoInodes;
    }
    Left::Bytes(stat.f_bavail.saturating_mul(stat.f_frsize))
}
