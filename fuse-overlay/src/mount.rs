//! Mounting, for whoever is in the namespaces where the mount is to be.
//!
//! Not for the server: this runs in the process that will live in the mount,
//! which hands the descriptor of `/dev/fuse` to the server.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount,
};

/// Whether the mount takes changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It does.
    ReadWrite,
    /// It does not; the kernel then asks less often.
    ReadOnly,
}

/// Opens `/dev/fuse` and makes a mount of it that is attached nowhere yet:
/// the device, and the mount.
///
/// # Errors
/// What the kernel says: EPERM without the right to mount in this user namespace.
pub fn detached(source: &str, access: Access) -> Result<(OwnedFd, OwnedFd), Errno> {
    let device = rustix::fs::openat(CWD, c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let context = fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    // The kernel shows the type as `fuse.` and what is said here.
    fsconfig_set_string(context, c"source", source)?;
    fsconfig_set_string(context, c"subtype", "overlay")?;
    fsconfig_set_string(context, c"fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(context, c"rootmode", "40000")?;
    fsconfig_set_string(context, c"user_id", "0")?;
    fsconfig_set_string(context, c"group_id", "0")?;
    fsconfig_set_flag(context, c"default_permissions")?;
    fsconfig_set_flag(context, c"allow_other")?;
    if access == Access::ReadOnly {
        fsconfig_set_flag(context, c"ro")?;
    }
    fsconfig_create(context)?;
    let read_only = access == Access::ReadOnly;
    let attributes = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok((device, mount))
}

/// Attaches a mount to a directory.
///
/// # Errors
/// What the kernel says.
pub fn attach(mount: impl AsFd, directory: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", directory, c"", flags)
}
