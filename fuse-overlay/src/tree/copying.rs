//! Copying contents from file to file.

use std::os::fd::OwnedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::contents::write_all;

/// Copies the first `length` bytes: by sharing them where the disk can, else
/// what is data, so that holes stay holes.
pub(super) fn copy_contents(from: &OwnedFd, to: &OwnedFd, length: u64) -> Result<(), Errno> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return rustix::fs::ftruncate(to, length);
    }
    let mut at = 0;
    while at < length {
        // Not every file system tells holes; then all of it is data.
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(length).min(length);
        copy_piece(from, to, start, end)?;
        at = end.max(start + 1);
    }
    rustix::fs::ftruncate(to, length)
}

fn copy_piece(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Errno> {
    let (mut source, mut target) = (start, start);
    while source < end {
        let want = usize::try_from(end - source).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), want) {
            // Shorter than it was: what is missing reads as zeros.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                return copy_by_hand(from, to, source, end);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<(), Errno> {
    let mut buffer = vec![0_u8; 1 << 17];
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = match rustix::io::pread(from, buffer.get_mut(..want).unwrap_or_default(), at) {
            Ok(0) => return Ok(()),
            Err(Errno::INTR) => continue,
            other => other?,
        };
        write_all(to, buffer.get(..got).unwrap_or_default(), at)?;
        at += got as u64;
    }
    Ok(())
}
