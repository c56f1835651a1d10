//! A file mapped for reading: beside `writeback` the one room of this crate for `unsafe`.
//!
//! A mapping lets all containers of an image share the pages of its index.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// The bytes of a file, mapped and never written.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the pages are only ever read, so which thread looks does not matter.
unsafe impl Send for Mapping {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of `file`.
    ///
    /// The caller vouches that nobody shrinks or writes the file while it is
    /// mapped: an index is written once, under a temporary name, and then
    /// only ever removed; one in memory is sealed.
    pub(crate) fn of(file: BorrowedFd<'_>, length: usize) -> Result<Self, Errno> {
        if length == 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no
        // memory that anything else in this process refers to.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        NonNull::new(start.cast::<u8>()).map(|start| Self { start, length }).ok_or(Errno::NOMEM)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `length` are those of a live mapping that is
        // readable as a whole and unmapped only when `self` goes; the file
        // under it does not change (contract of `of`).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `of` and no slice of it outlives `self`.
        // An error could only mean that it is not mapped, and leaves nothing to do.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
