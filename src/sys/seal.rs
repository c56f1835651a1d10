//! A sealed copy of our own program in memory, to run what enters a container.
//!
//! A process of ours inside a container can be made to show its program file
//! (`/proc/PID/exe`, or an interpreter line that says `/proc/self/exe`). If that
//! were the file on disk, root inside, who is the owner outside, could overwrite
//! it (the class of CVE-2019-5736). A sealed memfd cannot be written by anybody.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

/// Linux 6.3: without it, and where `vm.memfd_noexec` is set, the copy could not be executed.
const MFD_EXEC: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// Linux 6.3: what is executable stays so.
const SEAL_EXEC: SealFlags = SealFlags::from_bits_retain(0x20);

/// Copies the program that this process runs into a memfd and seals it.
///
/// # Errors
/// Those of opening `/proc/self/exe`, of memfd_create(2) and of copying.
pub fn own_program() -> Result<OwnedFd, Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let program = File::open("/proc/self/exe").map_err(io)?;
    let copy = memory()?;
    let mut left = program.metadata().map_err(io)?.len();
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(copy.as_fd(), program.as_fd(), None, count)? {
            0 => return Err(Errno::IO),
            sent => left = left.saturating_sub(sent as u64),
        }
    }
    seal(copy)
}

/// Writes `image`, the bytes of a program that is a part of ours, into a memfd and
/// seals it. Its pages are let go of again: they would count as ours to the end.
///
/// # Errors
/// Those of memfd_create(2) and of writing.
pub fn program(image: &'static [u8]) -> Result<OwnedFd, Errno> {
    let copy = memory()?;
    let mut rest = image;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&copy, rest))?;
        rest = rest.get(written..).ok_or(Errno::IO)?;
    }
    forget_pages(image);
    seal(copy)
}

/// Unmaps the whole pages of `image`, which come back from our program's file
/// when they are touched again.
fn forget_pages(image: &'static [u8]) {
    let page = rustix::param::page_size();
    let start = (image.as_ptr() as usize).next_multiple_of(page);
    let end = (image.as_ptr() as usize).saturating_add(image.len()) / page * page;
    if end > start {
        // SAFETY: whole pages inside a static that nobody writes: they are clean, so what
        // is read from them afterwards is the same.
        let _ = unsafe { rustix::mm::madvise(start as *mut _, end - start, rustix::mm::Advice::LinuxDontNeed) };
    }
}

fn memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(c"pybox", flags | MFD_EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"pybox", flags),
        other => other,
    }
}

fn seal(copy: OwnedFd) -> Result<OwnedFd, Errno> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    match rustix::fs::fcntl_add_seals(&copy, seals | SEAL_EXEC) {
        Err(Errno::INVAL) => rustix::fs::fcntl_add_seals(&copy, seals)?,
        other => other?,
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_to_the_copy() {
        for copy in [own_program().expect("a copy"), program(b"image").expect("a copy")] {
            refuses_writes(&copy);
        }
    }

    fn refuses_writes(copy: &OwnedFd) {
        assert_eq!(rustix::io::write(copy, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(copy, 0), Err(Errno::PERM));
        let reopened = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(copy));
        let writable =
            File::options().write(true).open(reopened).map(|mut file| std::io::Write::write(&mut file, b"x"));
        assert!(!matches!(writable, Ok(Ok(_))), "a reopened copy took a write");
    }
}
