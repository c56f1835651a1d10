//! A sealed copy of our own program in memory, to run what enters a container.
//!
//! A process of ours inside a container can be made to show its program file
//! (`/proc/PID/exe`, or an interpreter line that says `/proc/self/exe`). If that
//! were the file on disk, root inside, who is the owner outside, could overwrite
//! it (the class of CVE-2019-5736). A sealed memfd cannot be written by anybody.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

/// Linux 6.3: without it, and where `vm.memfd_noexec` is set, the copy could not be executed.
const MFD_EXEC: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// Linux 6.3: what is executable stays so.
const SEAL_EXEC: SealFlags = SealFlags::from_bits_retain(0x20);

/// How often a busy copy is tried to be sealed.
const PATIENCE: u32 = 20;

/// What is copied.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// The program that this process runs.
    Own,
    /// Another one, whose bytes are a part of ours.
    Image(&'static [u8]),
}

impl Program {
    /// Copies it into a memfd and seals that. Makes system calls and nothing else, so it can be
    /// done between a fork and an execution.
    ///
    /// # Errors
    /// Those of opening `/proc/self/exe`, of memfd_create(2) and of copying.
    pub fn sealed(self) -> Result<OwnedFd, Errno> {
        let copy = memory()?;
        match self {
            Self::Own => copy_own(&copy)?,
            Self::Image(image) => write_all(&copy, image)?,
        }
        seal(copy)
    }
}

fn copy_own(copy: &OwnedFd) -> Result<(), Errno> {
    let program = rustix::fs::open(c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut left = u64::try_from(rustix::fs::fstat(&program)?.st_size).map_err(|_| Errno::IO)?;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(copy.as_fd(), program.as_fd(), None, count)? {
            0 => return Err(Errno::IO),
            sent => left = left.saturating_sub(sent as u64),
        }
    }
    Ok(())
}

fn write_all(copy: &OwnedFd, image: &[u8]) -> Result<(), Errno> {
    let mut rest = image;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(copy, rest))?;
        rest = rest.get(written..).ok_or(Errno::IO)?;
    }
    Ok(())
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
    match add_seals(&copy, seals | SEAL_EXEC) {
        Err(Errno::INVAL) => add_seals(&copy, seals)?,
        other => other?,
    }
    Ok(copy)
}

/// The kernel refuses as long as somebody may still write to a page, and takes each for such a one
/// that it moves about just then itself: it has waited a sixth of a second by then (memfd_wait_for_pins).
fn add_seals(copy: &OwnedFd, seals: SealFlags) -> Result<(), Errno> {
    for _ in 0..PATIENCE {
        match rustix::fs::fcntl_add_seals(copy, seals) {
            Err(Errno::BUSY) => {}
            other => return other,
        }
    }
    rustix::fs::fcntl_add_seals(copy, seals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_to_the_copy() {
        for program in [Program::Own, Program::Image(b"image")] {
            refuses_writes(&program.sealed().expect("a copy"));
        }
    }

    fn refuses_writes(copy: &OwnedFd) {
        assert_eq!(rustix::io::write(copy, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(copy, 0), Err(Errno::PERM));
        let reopened = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(copy));
        let writable =
            std::fs::File::options().write(true).open(reopened).map(|mut file| std::io::Write::write(&mut file, b"x"));
        assert!(!matches!(writable, Ok(Ok(_))), "a reopened copy took a write");
    }
}
