//! What can go wrong with a layer, told the same way on both sides of the
//! worker's socket.

use std::io;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::sys::idmap::MapError;

/// Why a job inside the worker ended without result. Crosses the socket as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Failure {
    /// The bytes are no well-formed archive or compressed stream.
    #[error("the archive is damaged: {reason}")]
    Corrupt {
        /// What is wrong, and where.
        reason: String,
    },
    /// The archive is well-formed, and an entry asks for what no layer may do.
    #[error("archive entry {entry:?} is refused: {reason}")]
    Unsafe {
        /// The entry's name; bytes that are not UTF-8 replaced, shortened.
        entry: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The uncompressed stream is not the one the image's configuration names.
    #[error("unpacked layer has the digest {found}, not {expected}")]
    DiffIdMismatch {
        /// From the image's configuration.
        expected: Digest,
        /// Of the bytes that came.
        found: Digest,
    },
    /// One of [`super::worker::Limits`] is passed.
    #[error("the archive is too large: {reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
    },
    /// The file system is full, or would be.
    #[error("no space left: {reason}")]
    NoSpace {
        /// What is there and what must stay free.
        reason: String,
    },
    /// A system call failed.
    #[error("{operation}: {}", io::Error::from_raw_os_error(*.errno))]
    Io {
        /// The call's meaning and object.
        operation: String,
        /// `errno` as on this machine.
        errno: i32,
    },
}

impl Failure {
    /// The failure of `operation`; a full disk or quota gets its own kind.
    pub fn io(operation: impl Into<String>, error: &io::Error) -> Self {
        let operation = operation.into();
        match error.raw_os_error() {
            Some(libc::ENOSPC) => Self::NoSpace { reason: operation },
            Some(libc::EDQUOT) => Self::NoSpace { reason: format!("{operation}: disk quota exceeded") },
            errno => Self::Io { operation, errno: errno.unwrap_or(libc::EIO) },
        }
    }

    /// Says of a full disk that has bytes left that it is files it has no room for.
    pub(crate) fn on(self, place: BorrowedFd<'_>) -> Self {
        let full = |facts: rustix::fs::StatVfs| facts.f_files > 0 && facts.f_favail == 0;
        match self {
            Self::NoSpace { reason } if rustix::fs::fstatvfs(place).is_ok_and(full) => {
                Self::NoSpace { reason: format!("{reason}: the disk has no inodes left, see df -i") }
            }
            other => other,
        }
    }

    pub(crate) fn sys(operation: impl Into<String>, errno: rustix::io::Errno) -> Self {
        Self::io(operation, &errno.into())
    }

    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt { reason: reason.into() }
    }

    pub(crate) fn too_large(reason: impl Into<String>) -> Self {
        Self::TooLarge { reason: reason.into() }
    }

    pub(crate) fn refused(entry: &[u8], reason: impl Into<String>) -> Self {
        Self::Unsafe { entry: shown(entry), reason: reason.into() }
    }
}

/// A name from an archive as a message may show it: short, and no control bytes
/// once printed with `{:?}`.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}

/// Why this room could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The job itself failed.
    #[error(transparent)]
    Job(#[from] Failure),
    /// The worker process could not be started.
    #[error("start the worker process")]
    Spawn(#[source] io::Error),
    /// The kernel gave the worker no namespaces of its own.
    #[error("create the worker's namespaces")]
    Namespaces(#[source] io::Error),
    /// The worker's user namespace could not be given its ids.
    #[error("map user ids for the worker")]
    Map(#[from] MapError),
    /// The worker ended without an answer.
    #[error("worker ended without an answer ({0})")]
    Lost(String),
    /// The worker or its caller said what the other does not understand.
    #[error("talk to the worker")]
    Wire(#[source] io::Error),
    /// A directory could not be read or removed.
    #[error("{operation}")]
    Io {
        /// The operation and its object.
        operation: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More layers than one overlay mount can stack.
    #[error("image has {0} layers; an overlay mount takes {max}", max = super::kernel_overlay::MAX_LOWER)]
    TooManyLayers(usize),
}
