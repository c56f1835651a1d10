//! Mounts by file descriptor: the calls of Linux 5.2 and 5.12 that rustix lacks
//! or that want a safer face.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

/// Where mount and unmount events of a mount go (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nowhere.
    Private,
    /// In from the peer group, none out.
    Slave,
    /// Both ways.
    Shared,
    /// Nowhere, and the mount cannot be bound again.
    Unbindable,
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// How far a change of attributes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This mount.
    One,
    /// This mount and all below it.
    Recursive,
}

/// Sets attributes and propagation of the mount at `fd` (mount_setattr(2), Linux 5.12).
/// Access time flags replace each other, as the kernel demands.
///
/// # Errors
/// Those of the call; EPERM if a flag is locked by a more privileged owner.
pub fn set_attributes(
    fd: BorrowedFd<'_>,
    reach: Reach,
    set: MountAttrFlags,
    propagation: Option<Propagation>,
) -> Result<(), Errno> {
    let atime = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    let clear = if set.intersects(atime) { MountAttrFlags::MOUNT_ATTR__ATIME } else { MountAttrFlags::empty() };
    let attr = MountAttr {
        attr_set: u64::from(set.bits()),
        attr_clr: u64::from(clear.bits()),
        propagation: propagation.map_or(0, |kind| match kind {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }),
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if reach == Reach::Recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` outlives the call and its size is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(super::clone::last_error()) }
}

const AT_RECURSIVE: i32 = 0x8000;

/// A new file system of type `kind`, attached nowhere yet.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub fn detached<K: AsRef<CStr>, V: AsRef<CStr>>(
    kind: &CStr,
    settings: &[(K, V)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in settings {
        let (key, value) = (key.as_ref(), value.as_ref());
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), key)?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A detached copy of the mount at `path` in `at`, as the source of a bind.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn copy_tree(at: BorrowedFd<'_>, path: &CStr, reach: Reach) -> Result<OwnedFd, Errno> {
    let base = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let recursive = if reach == Reach::Recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let empty = if path.is_empty() { OpenTreeFlags::AT_EMPTY_PATH } else { OpenTreeFlags::empty() };
    rustix::mount::open_tree(at, path, base | recursive | empty)
}

/// Attaches the detached mount `mount` on top of what `target` refers to.
///
/// # Errors
/// Those of `move_mount(2)`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// The working directory, for calls that take a directory and a path.
pub fn here() -> BorrowedFd<'static> {
    CWD
}
