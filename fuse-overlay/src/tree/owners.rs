//! Owners, modes and kinds: on disk as they are, or recorded beside the file.
//!
//! On disk a recorded file has its true permissions, and devices, pipes and
//! sockets are empty regular files. Without a record a file belongs to 0:0 and
//! is what the disk says.

use std::os::fd::OwnedFd;

use rustix::fs::{Stat, XattrFlags};
use rustix::io::Errno;

use super::Tree;
use super::attributes::{PERMISSIONS, change_mode, change_owner};
use super::nodes::Kept;
use crate::beneath;
use crate::config::Ids;
use crate::filesystem::{Attributes, kind};
use crate::record::{Record, XATTR};

impl Tree {
    /// As the mount shows a node with these true attributes.
    pub(super) fn show(&self, attributes: Attributes) -> Attributes {
        match self.ids {
            Ids::Real | Ids::Recorded => attributes,
            // The namespace has one user; another could not be shown.
            Ids::Hidden => Attributes { uid: 0, gid: 0, ..attributes },
        }
    }

    /// The file type by which a node of this kind stands on disk.
    pub(super) fn disk_kind(&self, kind: u32) -> u32 {
        match kind {
            kind::REGULAR | kind::DIRECTORY | kind::SYMLINK => kind,
            _ if self.ids.are_recorded() => kind::REGULAR,
            _ => kind,
        }
    }

    /// What is recorded of an entry of an upper directory.
    pub(super) fn read_record(&self, directory: &OwnedFd, name: &[u8], stat: &Stat) -> Result<Option<Record>, Errno> {
        if self.ids == Ids::Real {
            return Ok(None);
        }
        if let Some(record) = self.journal.as_ref().and_then(|journal| journal.get(stat.st_ino)) {
            return Ok(Some(record));
        }
        if stat.st_mode & kind::MASK == kind::SYMLINK {
            return Ok(None);
        }
        let mut path = beneath::magic_path(directory).into_bytes();
        path.push(b'/');
        path.extend_from_slice(name);
        let mut text = [0_u8; 64];
        match rustix::fs::lgetxattr(path, XATTR, &mut text) {
            Ok(length) => Ok(text.get(..length).and_then(Record::parse)),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What has to be recorded of something with these attributes.
    pub(super) fn record_for(&self, attributes: &Attributes) -> Kept {
        let plain = matches!(attributes.kind(), kind::REGULAR | kind::DIRECTORY | kind::SYMLINK);
        let needs = !plain || (attributes.uid, attributes.gid) != (0, 0);
        (self.ids.are_recorded() && needs).then(|| Record::of(attributes)).into()
    }

    /// Records what something new is.
    pub(super) fn record_new(&mut self, fd: &OwnedFd, attributes: &Attributes) -> Result<(), Errno> {
        match attributes.kind() {
            kind::REGULAR | kind::DIRECTORY => change_mode(fd, attributes.mode & PERMISSIONS)?,
            _ => {}
        }
        let record = match self.record_for(attributes) {
            Kept::Is(record) => Some(record),
            Kept::Absent | Kept::Unread => None,
        };
        self.write_record(fd, record)
    }

    /// Writes a record, or sees to it that there is none.
    fn write_record(&mut self, fd: &OwnedFd, record: Option<Record>) -> Result<(), Errno> {
        let stat = beneath::stat_of(fd)?;
        let mut in_journal = None;
        if let Some(record) = record {
            let refused = match stat.st_mode & kind::MASK {
                kind::REGULAR | kind::DIRECTORY => {
                    rustix::fs::fsetxattr(fd, XATTR, record.text().as_bytes(), XattrFlags::empty()).err()
                }
                _ => Some(Errno::OPNOTSUPP),
            };
            match refused {
                None => {}
                Some(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSPC) => in_journal = Some(record),
                Some(error) => return Err(error),
            }
        } else if stat.st_mode & kind::MASK != kind::SYMLINK {
            match rustix::fs::fremovexattr(fd, XATTR) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        // Also to forget what was recorded of a file that had the number before.
        let (Some(journal), Some(work)) = (&mut self.journal, &self.work) else { return Ok(()) };
        journal
            .set(work.directory(), stat.st_ino, in_journal)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Changes owner and group.
    pub(super) fn set_owner(
        &mut self,
        ino: u64,
        fd: &OwnedFd,
        (uid, gid): (Option<u32>, Option<u32>),
    ) -> Result<(), Errno> {
        if self.ids == Ids::Real {
            return change_owner(fd, uid, gid);
        }
        let mut truth = self.truth(ino)?;
        truth.uid = uid.unwrap_or(truth.uid);
        truth.gid = gid.unwrap_or(truth.gid);
        self.rewrite_record(ino, fd, &truth)?;
        self.drop_privileges(ino, fd)
    }

    /// Changes permission bits.
    pub(super) fn set_mode(&mut self, ino: u64, fd: &OwnedFd, mode: u32) -> Result<(), Errno> {
        if self.ids == Ids::Real {
            return change_mode(fd, mode);
        }
        let mut truth = self.truth(ino)?;
        truth.mode = truth.kind() | mode;
        if self.disk_kind(truth.kind()) == truth.kind() {
            change_mode(fd, mode)?;
        }
        self.rewrite_record(ino, fd, &truth)
    }

    /// An access list was set, and with it permissions, which a record has too.
    pub(super) fn heed_list(&mut self, ino: u64, fd: &OwnedFd) -> Result<(), Errno> {
        if self.ids == Ids::Real {
            return Ok(());
        }
        let mut truth = self.truth(ino)?;
        truth.mode = (truth.mode & !0o777) | (beneath::stat_of(fd)?.st_mode & 0o777);
        self.rewrite_record(ino, fd, &truth)
    }

    fn rewrite_record(&mut self, ino: u64, fd: &OwnedFd, truth: &Attributes) -> Result<(), Errno> {
        let record = self.record_for(truth);
        if self.nodes.get(ino).is_some_and(|node| node.record == record) {
            return Ok(());
        }
        self.write_record(fd, if let Kept::Is(record) = record { Some(record) } else { None })?;
        self.nodes.get_mut(ino)?.record = record;
        Ok(())
    }
}

/// File type of something on disk, with what is recorded of it.
pub(super) fn kind_of(record: Option<Record>, stat: &Stat) -> u32 {
    let recorded = record.map_or(0, |record| record.mode & kind::MASK);
    if recorded == 0 { stat.st_mode & kind::MASK } else { recorded }
}
