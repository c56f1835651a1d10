//! stat(2) and statx(2) in the kernel's own form, to be handed to another process with another owner in it.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// What `stat` and `fstat` write.
pub struct Stat(libc::stat);

/// What `statx` writes.
pub struct Statx(libc::statx);

impl Stat {
    /// fstatat(2).
    ///
    /// # Errors
    /// As there.
    pub fn at(base: BorrowedFd<'_>, path: &CStr, flags: i32) -> Result<Self, Errno> {
        // SAFETY: all zeroes is a value of this structure of numbers.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `path` ends with a zero byte and `stat` has room for what is written.
        match unsafe { libc::fstatat(base.as_raw_fd(), path.as_ptr(), &raw mut stat, flags) } {
            0 => Ok(Self(stat)),
            _ => Err(last_error()),
        }
    }

    /// Kind and permissions.
    pub fn mode(&self) -> u32 {
        self.0.st_mode
    }

    /// The same as rustix has it.
    pub fn plain(&self) -> Plain {
        let of = &self.0;
        #[allow(clippy::unnecessary_cast, reason = "their types differ between architectures")]
        let change = (of.st_ctime as i64, of.st_ctime_nsec as i64);
        Plain { device: of.st_dev, inode: of.st_ino, change, owner: (of.st_uid, of.st_gid) }
    }

    /// The bytes to hand over, with this owner.
    pub fn owned_by(mut self, (uid, gid): (u32, u32)) -> Vec<u8> {
        (self.0.st_uid, self.0.st_gid) = (uid, gid);
        bytes(&self.0)
    }
}

impl Statx {
    /// statx(2).
    ///
    /// # Errors
    /// As there.
    pub fn at(base: BorrowedFd<'_>, path: &CStr, flags: i32, mask: u32) -> Result<Self, Errno> {
        // SAFETY: all zeroes is a value of this structure of numbers.
        let mut stat: libc::statx = unsafe { std::mem::zeroed() };
        // What tells files apart comes whether it was asked for or not.
        let mask = mask | libc::STATX_INO | libc::STATX_CTIME | libc::STATX_UID | libc::STATX_GID;
        // SAFETY: `path` ends with a zero byte and `stat` has room for what is written.
        match unsafe { libc::statx(base.as_raw_fd(), path.as_ptr(), flags, mask, &raw mut stat) } {
            0 => Ok(Self(stat)),
            _ => Err(last_error()),
        }
    }

    /// The same as rustix has it.
    pub fn plain(&self) -> Plain {
        let of = &self.0;
        let device = rustix::fs::makedev(of.stx_dev_major, of.stx_dev_minor);
        let change = (of.stx_ctime.tv_sec, i64::from(of.stx_ctime.tv_nsec));
        Plain { device, inode: of.stx_ino, change, owner: (of.stx_uid, of.stx_gid) }
    }

    /// The bytes to hand over, with this owner.
    pub fn owned_by(mut self, (uid, gid): (u32, u32)) -> Vec<u8> {
        (self.0.stx_uid, self.0.stx_gid) = (uid, gid);
        bytes(&self.0)
    }
}

/// What tells a file from others, and from itself at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Number of the file system.
    pub device: u64,
    /// Number of the file in it.
    pub inode: u64,
    /// Time of its last change, seconds and nanoseconds since the epoch.
    pub change: (i64, i64),
    /// Owner and group on disk.
    pub owner: (u32, u32),
}

fn bytes<T>(of: &T) -> Vec<u8> {
    let start = std::ptr::from_ref(of).cast::<u8>();
    // SAFETY: `of` is one of the two structures above, made of numbers without gaps that were not zeroed first.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_owner_and_nothing_else() {
        let here = rustix::fs::CWD;
        let stat = || Stat::at(here, c"/proc/self", 0).expect("ourselves");
        let (own, other) = (stat().plain().owner, (123_456, 654_321));
        assert_eq!(stat().owned_by(own).len(), size_of::<libc::stat>());
        assert_ne!(stat().owned_by(own), stat().owned_by(other));
        let statx = || Statx::at(here, c"/", 0, 0).expect("the root");
        assert_eq!(statx().plain(), Stat::at(here, c"/", 0).expect("the root").plain());
        assert_eq!(statx().owned_by(other).len(), size_of::<libc::statx>());
        assert_eq!(Stat::at(here, c"/nothing/here", 0).map(drop), Err(Errno::NOENT));
    }
}
