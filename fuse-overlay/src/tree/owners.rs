//! Owners, modes and kinds: on disk as they are, or recorded beside the file.

use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::Tree;
use super::attributes::{change_mode, change_owner};
use crate::filesystem::{Attributes, kind};

impl Tree {
    /// As the mount shows a node with these true attributes.
    pub(super) fn show(&self, attributes: Attributes) -> Attributes {
        attributes
    }

    /// Replaces what the disk says by what is recorded.
    pub(super) fn recorded(&self, _ino: u64, _attributes: &mut Attributes) -> Result<(), Errno> {
        Ok(())
    }

    /// File type of an entry of an upper directory.
    pub(super) fn true_kind(&self, _directory: &OwnedFd, _name: &[u8], stat: &Stat) -> Result<u32, Errno> {
        Ok(stat.st_mode & kind::MASK)
    }

    /// Changes owner and group.
    pub(super) fn set_owner(
        &mut self,
        _ino: u64,
        fd: &OwnedFd,
        owner: (Option<u32>, Option<u32>),
    ) -> Result<(), Errno> {
        change_owner(fd, owner.0, owner.1)
    }

    /// Changes permission bits.
    pub(super) fn set_mode(&mut self, _ino: u64, fd: &OwnedFd, mode: u32) -> Result<(), Errno> {
        change_mode(fd, mode)
    }
}
impl Tree {
    /// Records what something new is.
    pub(super) fn record_new(&mut self, _fd: &OwnedFd, _attributes: &Attributes) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// The file type by which a node of this kind stands on disk.
    pub(super) fn disk_kind(&self, kind: u32) -> u32 {
        kind
    }
}
