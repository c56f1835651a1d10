//! Writing answers: one buffer a thread, filled and sent in one write.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::wire::{OPEN_KEEP_CACHE, OUT_HEADER};
use crate::filesystem::{Attributes, Listed, Listing, Room, kind};

/// How long names and attributes hold: until the kernel changes them itself.
const FOREVER: u64 = 1 << 40;
/// Bytes of what describes a found entry.
pub(super) const ENTRY: usize = 128;
/// Bytes of a directory entry without its name.
const LISTED: usize = 24;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    /// Room for contents that are read; touched only as far as they reach.
    contents: Vec<u8>,
}

impl Answer {
    /// For contents of up to `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::with_capacity(4096), contents: vec![0; OUT_HEADER + most] }
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(OUT_HEADER, 0);
    }

    pub(super) fn u16(&mut self, field: u16) {
        self.bytes.extend_from_slice(&field.to_ne_bytes());
    }

    pub(super) fn u32(&mut self, field: u32) {
        self.bytes.extend_from_slice(&field.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, field: u64) {
        self.bytes.extend_from_slice(&field.to_ne_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A found or made entry.
    pub(super) fn entry(&mut self, attributes: &Attributes) {
        self.u64(attributes.ino);
        self.u64(0);
        self.u64(FOREVER);
        self.u64(FOREVER);
        self.u64(0);
        self.attributes(attributes);
    }

    /// "There is nothing of this name", in the form that the kernel remembers.
    pub(super) fn no_entry(&mut self) {
        self.u64(0);
        self.u64(0);
        self.u64(FOREVER);
        self.bytes.resize(OUT_HEADER + ENTRY, 0);
    }

    /// Attributes by themselves.
    pub(super) fn only_attributes(&mut self, attributes: &Attributes) {
        self.u64(FOREVER);
        self.u64(0);
        self.attributes(attributes);
    }

    fn attributes(&mut self, of: &Attributes) {
        self.u64(of.ino);
        self.u64(of.size);
        self.u64(of.blocks);
        for time in [of.accessed, of.modified, of.changed] {
            self.u64(time.seconds.cast_unsigned());
        }
        for time in [of.accessed, of.modified, of.changed] {
            self.u32(time.nanoseconds);
        }
        for field in [of.mode, of.links, of.uid, of.gid, of.rdev, 4096, 0] {
            self.u32(field);
        }
    }

    /// What follows the entry of a file that was made and opened at once.
    pub(super) fn opened(&mut self) {
        self.u64(0);
        self.u32(OPEN_KEEP_CACHE);
        self.u32(0);
    }

    pub(super) fn room(&mut self, room: &Room) {
        for field in [room.blocks, room.free, room.available, room.files, room.files_free] {
            self.u64(field);
        }
        for field in [room.block_size, room.name_max, room.fragment_size, 0] {
            self.u32(field);
        }
        self.raw(&[0; 24]);
    }

    /// A value of which the length or all was asked for.
    pub(super) fn value(&mut self, value: &[u8], asked: u32) -> Result<(), Errno> {
        if asked == 0 {
            self.u32(u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?);
            self.u32(0);
        } else if value.len() > asked as usize {
            return Err(Errno::RANGE);
        } else {
            self.raw(value);
        }
        Ok(())
    }

    /// Sends what was written, or the errno.
    pub(super) fn send(&mut self, device: BorrowedFd<'_>, unique: u64, result: Result<(), Errno>) -> Result<(), Errno> {
        let error = match result {
            Ok(()) => 0,
            Err(errno) => {
                self.bytes.truncate(OUT_HEADER);
                -errno.raw_os_error()
            }
        };
        fill_header(&mut self.bytes, error, unique);
        deliver(device, &self.bytes)
    }

    /// Lets `read` fill as much as `size` bytes and sends them, or its errno.
    pub(super) fn send_contents(
        &mut self,
        device: BorrowedFd<'_>,
        unique: u64,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let end = self.contents.len().min(OUT_HEADER + size);
        match read(self.contents.get_mut(OUT_HEADER..end).unwrap_or_default()) {
            Ok(got) => {
                let answer = self.contents.get_mut(..OUT_HEADER + got).unwrap_or_default();
                fill_header(answer, 0, unique);
                deliver(device, answer)
            }
            Err(errno) => self.send(device, unique, Err(errno)),
        }
    }

    /// Takes the entries of a directory, up to `size` bytes of them.
    pub(super) fn listing(&mut self, size: u32, plus: bool) -> Entries<'_> {
        let end = (OUT_HEADER + size as usize).min(self.contents.len());
        Entries { answer: self, end, plus }
    }
}

fn fill_header(answer: &mut [u8], error: i32, unique: u64) {
    let length = u32::try_from(answer.len()).unwrap_or(0);
    if let Some((head, _)) = answer.split_first_chunk_mut::<OUT_HEADER>() {
        let fields = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes()];
        for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
    }
}

fn deliver(device: BorrowedFd<'_>, answer: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(device, answer) {
        // The request was given up by who made it.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A listing on its way into an answer.
pub(super) struct Entries<'a> {
    answer: &'a mut Answer,
    end: usize,
    plus: bool,
}

impl Listing for Entries<'_> {
    fn wants_attributes(&self) -> bool {
        self.plus
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        let padded = (LISTED + entry.name.len()).next_multiple_of(8);
        let needed = padded + if self.plus { ENTRY } else { 0 };
        let until = self.answer.bytes.len() + needed;
        let Ok(length) = u32::try_from(entry.name.len()) else { return false };
        if until > self.end {
            return false;
        }
        match (self.plus, entry.known) {
            (true, true) => self.answer.entry(&entry.attributes),
            // Number 0: "look it up if you need it".
            (true, false) => self.answer.raw(&[0; ENTRY]),
            (false, _) => {}
        }
        self.answer.u64(entry.attributes.ino);
        self.answer.u64(entry.next);
        self.answer.u32(length);
        self.answer.u32((entry.attributes.mode & kind::MASK) >> 12);
        self.answer.raw(entry.name);
        self.answer.bytes.resize(until, 0);
        true
    }

    fn room(&self) -> usize {
        self.end.saturating_sub(self.answer.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        let mut answer = Answer::new(0);
        let size = |answer: &mut Answer, write: &dyn Fn(&mut Answer)| {
            answer.clear();
            write(answer);
            answer.bytes.len() - OUT_HEADER
        };
        let none = Attributes::default();
        assert_eq!(size(&mut answer, &|answer| answer.entry(&none)), 128);
        assert_eq!(size(&mut answer, &Answer::no_entry), 128);
        assert_eq!(size(&mut answer, &|answer| answer.only_attributes(&none)), 104);
        assert_eq!(size(&mut answer, &Answer::opened), 16);
        assert_eq!(size(&mut answer, &|answer| answer.room(&Room::default())), 80);
    }

    #[test]
    fn a_listing_takes_what_fits() {
        let mut answer = Answer::new(4096);
        answer.clear();
        let mut listing = answer.listing(72, false);
        let entry = |name| Listed { name, next: 1, attributes: Attributes::default(), known: false };
        assert!(listing.take(&entry(b"a")));
        assert!(listing.take(&entry(b"12345678")));
        assert!(!listing.take(&entry(b"c")));
        assert_eq!(answer.bytes.len(), OUT_HEADER + 32 + 32);
    }

    #[test]
    fn values_by_length_and_by_content() {
        let mut answer = Answer::new(0);
        answer.clear();
        assert_eq!(answer.value(b"abc", 2), Err(Errno::RANGE));
        assert_eq!(answer.value(b"abc", 0), Ok(()));
        assert_eq!(answer.bytes.len(), OUT_HEADER + 8);
    }
}
