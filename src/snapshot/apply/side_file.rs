//! Owners and devices of a layer whose files one user owns on disk.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use pybox_fuse_overlay::filesystem::{device_number, kind};
use pybox_fuse_overlay::record::{Owners, Record, SIDE_FILE};
use rustix::fs::{Mode, OFlags};

use crate::snapshot::failure::Failure;
use crate::snapshot::tar::entry::{Entry, Kind};

/// Bytes that the paths in it may take.
const MAX_BYTES: usize = 128 << 20;

/// What is to be written into it.
#[derive(Debug, Default)]
pub(super) struct SideFile {
    owners: Owners,
    bytes: usize,
}

impl SideFile {
    /// Notes what `entry` is; the last to speak of a path wins.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), Failure> {
        let path = entry.path.as_bytes();
        let record = match &entry.kind {
            // The names of one file have one owner.
            Kind::Hardlink(target) => self.owners.of(target.as_bytes()),
            Kind::CharDevice(..) | Kind::BlockDevice(..) => Some(record(entry)),
            // Without a record a file is root's.
            _ => ((entry.uid, entry.gid) != (0, 0)).then(|| record(entry)),
        };
        let Some(record) = record else {
            self.owners.forget(path);
            return Ok(());
        };
        // What is replaced is not given back: this bounds the work as well.
        self.bytes += path.len();
        if self.bytes > MAX_BYTES {
            return Err(Failure::too_large("more owners than 128 MiB of names"));
        }
        self.owners.set(path, record);
        Ok(())
    }

    /// Writes it into the layer's root.
    pub(super) fn write(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(root, SIDE_FILE, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| Failure::sys("make the file of owners", error))?;
        File::from(file)
            .write_all(&self.owners.bytes())
            .map_err(|error| Failure::io("write the file of owners", &error))
    }
}

/// What `entry` is.
pub(super) fn record(entry: &Entry) -> Record {
    let (type_bits, rdev) = match &entry.kind {
        Kind::CharDevice(major, minor) => (kind::CHARACTER, device_number(*major, *minor)),
        Kind::BlockDevice(major, minor) => (kind::BLOCK, device_number(*major, *minor)),
        Kind::Directory => (kind::DIRECTORY, 0),
        Kind::Symlink(_) => (kind::SYMLINK, 0),
        Kind::Fifo => (kind::FIFO, 0),
        Kind::File | Kind::Sparse(_) | Kind::Hardlink(_) => (kind::REGULAR, 0),
    };
    // The kernel has one mode for links, whatever an archive says.
    let bits = if type_bits == kind::SYMLINK { 0o777 } else { entry.mode & 0o7777 };
    Record { uid: entry.uid, gid: entry.gid, mode: type_bits | bits, rdev }
}
