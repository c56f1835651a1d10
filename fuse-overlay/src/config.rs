//! What an overlay is made of.

use std::fs::File;
use std::os::fd::OwnedFd;

/// The parts of an overlay, all of them descriptors.
#[derive(Debug)]
pub struct Config {
    /// Read-only layer directories, the topmost first. At most 255.
    pub lower: Vec<OwnedFd>,
    /// The index of exactly these layers, as [`crate::index::build`] wrote it.
    /// Without one it is built in memory.
    pub index: Option<File>,
    /// Takes the changes; without it the tree is read-only.
    pub upper: Option<Upper>,
    /// How owners are kept and shown.
    pub ids: Ids,
    /// Whether what is copied up reaches the disk before it gets its name.
    pub durability: Durability,
}

/// The writable part of an overlay.
#[derive(Debug)]
pub struct Upper {
    /// The directory that takes the changes.
    pub directory: OwnedFd,
    /// An empty directory on the same file system, for what has no name yet.
    pub work: OwnedFd,
}

/// How owners are kept and shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ids {
    /// Owners are those of the files on disk, as the server's user namespace
    /// shows them; those of the layers stand in the index and are shown as
    /// they are there, whoever owns the files on disk. So a shift of ids is an
    /// index with the image's own ids.
    #[default]
    Real,
    /// One user owns every file on disk. Owner, mode and device of each are
    /// recorded beside it ([`crate::record`]), and shown.
    Recorded,
    /// The same, for a user namespace in which nobody but 0:0 can be shown.
    Hidden,
}

impl Ids {
    /// Whether owners are recorded beside the files.
    #[must_use]
    pub fn are_recorded(self) -> bool {
        matches!(self, Self::Recorded | Self::Hidden)
    }
}

/// Whether what is copied up reaches the disk before it gets its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// It does, so after a power cut a file is the old or the new one.
    #[default]
    Synced,
    /// It need not: the upper directory is thrown away with its container.
    /// Calls to sync are not passed on either.
    Volatile,
}
