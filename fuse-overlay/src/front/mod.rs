//! Front ends: the kernel's protocol on one side, [`FileSystem`] on the other.

use std::io;
use std::os::fd::OwnedFd;

use crate::filesystem::FileSystem;

#[cfg(feature = "fuse3")]
pub mod fuse3;
#[cfg(feature = "fuser")]
pub mod fuser;
pub mod raw;

/// Answers the kernel on `device`, a `/dev/fuse` that somebody has mounted or
/// is about to mount, until the mount is gone. The front end is the default one.
///
/// # Errors
/// What reading or writing the device says; EPROTO for a kernel that is too old.
pub fn serve(device: OwnedFd, filesystem: &impl FileSystem) -> io::Result<()> {
    raw::serve(device, filesystem, &raw::Options::default())
}
