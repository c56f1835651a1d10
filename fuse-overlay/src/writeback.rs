//! Sending what was written on its way to the disk early: beside [`crate::mapping`] the one room
//! of this crate for `unsafe`.
//!
//! What a program writes is copied once more here than on a plain disk, and both wait for the same
//! disk when it is synced. So the disk begins while a large file is still being written. Nothing is
//! waited for and nothing is promised: `fsync(2)` alone says that something is on disk.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, OwnedFd};

/// Smaller writes are no stream: a database's pages, a log's lines.
const STREAM: usize = 128 << 10;
/// So much is sent at once; smaller files are left to the kernel's own clock, since many do not live long.
const PIECE: u64 = 8 << 20;

/// Begins to put a piece of the file on disk if a write of `length` bytes at `offset` has filled one.
pub(crate) fn begin(file: &OwnedFd, offset: u64, length: usize) {
    let Some((start, length)) = piece(offset, length) else { return };
    // SAFETY: the call takes numbers only, and the descriptor is open as long as it is borrowed. Its
    // answer says nothing that anybody relies on.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Start and length of the pieces that the write has filled.
fn piece(offset: u64, length: usize) -> Option<(i64, i64)> {
    let end = offset.checked_add(length as u64)?;
    let (first, last) = (offset / PIECE, end / PIECE);
    let filled = length >= STREAM && last > first;
    let start = i64::try_from(first * PIECE).ok()?;
    filled.then_some((start, i64::try_from((last - first) * PIECE).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn streams_are_sent_piece_by_piece() {
        assert_eq!(piece(0, 1 << 20), None);
        assert_eq!(piece(7 * MIB, 1 << 20), Some((0, 8 << 20)));
        assert_eq!(piece(8 * MIB, 1 << 20), None);
        assert_eq!(piece(15 * MIB + 5, 1 << 20), Some((8 << 20, 8 << 20)));
        assert_eq!(piece(0, 20 << 20), Some((0, 16 << 20)));
    }

    #[test]
    fn what_is_no_stream_is_left_alone() {
        assert_eq!(piece(8 * MIB - 1, 4096), None);
        assert_eq!(piece(8 * MIB - (128 << 10), 128 << 10), Some((0, 8 << 20)));
        assert_eq!(piece(u64::MAX - 4, 1 << 20), None);
    }
}
