//! Listings as streams.
//!
//! The crate does not say how much room the kernel has. It takes entries until
//! one does not fit, and drops that one and the stream. So a stream notices
//! which of its entries cannot have arrived, and takes their lookups back.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::fuse3::Result;
use ::fuse3::raw::reply::{DirectoryEntry, DirectoryEntryPlus};
use futures_util::Stream;
use rustix::io::Errno as Failure;

use super::words::{FOREVER, attr, failed, file_type};
use crate::filesystem::{FileSystem, Listed, Listing};

/// Bytes of listing that are made at once: what the C library asks for.
const ROOM: usize = 32 << 10;
/// Bytes of an entry without its name, and of its attributes.
const ENTRY: usize = 24;
const ATTRIBUTES: usize = 128;

fn offset(next: u64) -> i64 {
    next.cast_signed()
}

/// Entries without attributes.
pub(super) struct Names(Vec<DirectoryEntry>, usize);

impl Names {
    pub(super) fn of(
        filesystem: &dyn FileSystem,
        ino: u64,
        from: i64,
    ) -> Result<impl Stream<Item = Result<DirectoryEntry>> + Send + use<>> {
        let mut names = Self(Vec::new(), ROOM);
        filesystem.list(ino, from.cast_unsigned(), &mut names).map_err(failed)?;
        Ok(futures_util::stream::iter(names.0.into_iter().map(Ok)))
    }
}

impl Listing for Names {
    fn wants_attributes(&self) -> bool {
        false
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        let Some(left) = self.1.checked_sub((ENTRY + entry.name.len()).next_multiple_of(8)) else { return false };
        self.1 = left;
        self.0.push(DirectoryEntry {
            inode: entry.attributes.ino,
            kind: file_type(entry.attributes.mode),
            name: OsStr::from_bytes(entry.name).to_owned(),
            offset: offset(entry.next),
        });
        true
    }

    fn room(&self) -> usize {
        self.1
    }
}

/// Entries with their attributes, each of which counts as a lookup.
pub(super) struct Entries<F: FileSystem> {
    filesystem: Arc<F>,
    waiting: VecDeque<(DirectoryEntryPlus, bool)>,
    /// The last one that was handed out, if it counts: it has arrived if another was asked for.
    last: Option<u64>,
    room: usize,
}

impl<F: FileSystem> Entries<F> {
    pub(super) fn of(filesystem: &Arc<F>, ino: u64, from: u64) -> std::result::Result<Self, Failure> {
        let filesystem = Arc::clone(filesystem);
        let mut entries = Self { filesystem, waiting: VecDeque::new(), last: None, room: ROOM };
        Arc::clone(&entries.filesystem).list(ino, from, &mut entries)?;
        Ok(entries)
    }
}

impl<F: FileSystem> Listing for Entries<F> {
    fn wants_attributes(&self) -> bool {
        true
    }

    // The two dots are no entries to the kernel; all others it will count.
    fn needs_attributes(&self) -> bool {
        true
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        let size = ATTRIBUTES + (ENTRY + entry.name.len()).next_multiple_of(8);
        let Some(left) = self.room.checked_sub(size) else { return false };
        self.room = left;
        let of = &entry.attributes;
        let made = DirectoryEntryPlus {
            inode: of.ino,
            generation: 0,
            kind: file_type(of.mode),
            name: OsStr::from_bytes(entry.name).to_owned(),
            offset: offset(entry.next),
            attr: attr(of),
            entry_ttl: FOREVER,
            attr_ttl: FOREVER,
        };
        self.waiting.push_back((made, entry.known));
        true
    }

    fn room(&self) -> usize {
        self.room
    }
}

impl<F: FileSystem> Stream for Entries<F> {
    type Item = Result<DirectoryEntryPlus>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((entry, counts)) = self.waiting.pop_front() else {
            self.last = None;
            return Poll::Ready(None);
        };
        self.last = counts.then_some(entry.inode);
        Poll::Ready(Some(Ok(entry)))
    }
}

impl<F: FileSystem> Drop for Entries<F> {
    fn drop(&mut self) {
        let waiting = self.waiting.iter().filter(|(_, counts)| *counts).map(|(entry, _)| entry.inode);
        for ino in self.last.into_iter().chain(waiting) {
            self.filesystem.forget(ino, 1);
        }
    }
}
