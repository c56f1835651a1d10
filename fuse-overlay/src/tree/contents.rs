//! Contents of files. Everything here works on descriptors that were taken out
//! of the tree, and holds no lock while the disk works.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::copy_up::Prepared;
use super::copying::copy_contents;
use super::{Overlay, Tree};
use crate::config::Durability;
use crate::filesystem::{CopyRange, Seek, kind};
use crate::index::Position;
use crate::writeback;

/// From this size on contents are copied up with the tree unlocked.
const LARGE: u64 = 1 << 20;

impl Tree {
    /// Where in the layers the contents of a regular file are; `None` if in the upper directory.
    fn source(&mut self, ino: u64) -> Result<Option<Position>, Errno> {
        self.eagerness.used();
        let place = self.place(ino)?;
        match place.kind {
            kind::REGULAR if place.upper => Ok(None),
            kind::REGULAR => place.lower.ok_or(Errno::STALE).map(Some),
            kind::DIRECTORY => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    /// A descriptor to read the contents of a regular file from.
    fn reader(&mut self, ino: u64) -> Result<Arc<OwnedFd>, Errno> {
        match self.source(ino)? {
            None => self.handle(ino),
            Some(position) => self.lower_file(position),
        }
    }

    /// The descriptor of a regular file that needs no copy any more.
    fn written(&mut self, ino: u64) -> Result<Option<Arc<OwnedFd>>, Errno> {
        let place = self.place(ino)?;
        if place.upper && place.kind == kind::REGULAR { self.handle(ino).map(Some) } else { Ok(None) }
    }

    /// What has to be copied before the file can be written, if it is much.
    fn large_copy(&mut self, ino: u64) -> Result<Option<(Arc<OwnedFd>, u64, Prepared)>, Errno> {
        self.work()?;
        let place = self.place(ino)?;
        let Some(lower) = place.lower.filter(|_| !place.upper && place.kind == kind::REGULAR) else { return Ok(None) };
        let size = self.index.entry(lower)?.size();
        if size < LARGE {
            return Ok(None);
        }
        let from = self.lower_file(lower)?;
        let name = self.work()?.name();
        let fd = self.work()?.file(&name, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(Some((from, size, Prepared { name, fd })))
    }
}

impl Overlay {
    /// Copies a large file up while others go on; the tree settles who was first.
    pub(super) fn raise_unlocked(&self, ino: u64) -> Result<(), Errno> {
        let Some((from, size, prepared)) = self.tree().large_copy(ino)? else { return Ok(()) };
        let copied = copy_contents(&from, &prepared.fd, size).and_then(|()| match self.durability {
            Durability::Synced => rustix::fs::fsync(&prepared.fd),
            Durability::Volatile => Ok(()),
        });
        let mut tree = self.tree();
        let late = tree.place(ino)?.upper;
        if late || copied.is_err() {
            tree.abandon(&prepared.name);
            return copied;
        }
        tree.raise_node(ino, None, Some(prepared))
    }

    /// A descriptor to write the file through; it is copied up if need be.
    fn writer(&self, ino: u64) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = self.tree().written(ino)? {
            return Ok(fd);
        }
        self.raise_unlocked(ino)?;
        let mut tree = self.tree();
        if tree.place(ino)?.kind != kind::REGULAR {
            return Err(Errno::INVAL);
        }
        tree.raise(ino)?;
        tree.handle(ino)
    }

    pub(super) fn read_contents(&self, ino: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut tree = self.tree();
        let Some(position) = tree.source(ino)? else {
            let fd = tree.handle(ino)?;
            drop(tree);
            return read_all(&fd, offset, into);
        };
        let size = tree.index.entry(position)?.size();
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        // Behind the end there is nothing, which need not be asked: this file cannot grow.
        let wanted = into.get_mut(..left.min(into.len())).unwrap_or_default();
        let small = if offset == 0 && wanted.len() == left { tree.small(position)? } else { None };
        if let Some((small, next)) = small {
            drop(tree);
            if let Some(got) = self.ahead.take(small, next, wanted) {
                return Ok(got);
            }
            tree = self.tree();
        }
        let fd = tree.lower_file(position)?;
        drop(tree);
        read_all(&fd, offset, wanted)
    }

    pub(super) fn write_contents(&self, ino: u64, offset: u64, bytes: &[u8], drop: bool) -> Result<usize, Errno> {
        let fd = self.writer(ino)?;
        if drop {
            self.tree().drop_privileges(ino, &fd)?;
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(&fd, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(put) => done += put,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if self.durability == Durability::Synced {
            writeback::begin(&fd, offset, done);
        }
        Ok(done)
    }

    pub(super) fn allocate_contents(&self, ino: u64, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        let fd = self.writer(ino)?;
        rustix::fs::fallocate(&fd, FallocateFlags::from_bits_retain(mode), offset, length)
    }

    pub(super) fn seek_contents(&self, ino: u64, offset: u64, what: Seek) -> Result<u64, Errno> {
        let fd = self.tree().reader(ino)?;
        // Only these two move nothing that anybody relies on.
        rustix::fs::seek(
            &fd,
            match what {
                Seek::Data => SeekFrom::Data(offset),
                Seek::Hole => SeekFrom::Hole(offset),
            },
        )
    }

    pub(super) fn copy_contents(&self, range: &CopyRange) -> Result<u64, Errno> {
        let to = self.writer(range.to)?;
        let from = self.tree().reader(range.from)?;
        let (mut source, mut target) = (range.from_offset, range.to_offset);
        let length = usize::try_from(range.length).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(&from, Some(&mut source), &to, Some(&mut target), length)?;
        Ok(copied as u64)
    }

    pub(super) fn sync_node(&self, ino: u64, data_only: bool) -> Result<(), Errno> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        let fd = {
            let mut tree = self.tree();
            // What is in the layers only was never written.
            if !tree.place(ino)?.upper {
                return Ok(());
            }
            tree.handle(ino)?
        };
        let synced = if data_only { rustix::fs::fdatasync(&fd) } else { rustix::fs::fsync(&fd) };
        // Descriptors that only point cannot be synced, and have no contents.
        if synced == Err(Errno::BADF) { Ok(()) } else { synced }
    }

    pub(super) fn sync_everything(&self) -> Result<(), Errno> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        let root = match &self.tree().work {
            Some(work) => rustix::io::fcntl_dupfd_cloexec(work.directory(), 0)?,
            None => return Ok(()),
        };
        rustix::fs::syncfs(root)
    }
}

/// Reads until the room is full or the file ends.
pub(super) fn read_all(from: &OwnedFd, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // A short answer would tell the kernel that the file ends there, so
        // one is given only for an end.
        match rustix::io::pread(from, rest, offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of it.
pub(super) fn write_all(to: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(to, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(put) => {
                bytes = bytes.get(put..).unwrap_or_default();
                at += put as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
