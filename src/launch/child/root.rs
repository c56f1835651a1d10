//! The root file system: mounted, sealed, pivoted to.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pybox_fuse_overlay::mount::Access;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};

use crate::launch::step::{Overlay, RootSource};
use crate::launch::wire::Report;
use crate::sys::mount::{self, Propagation, Reach};
use crate::sys::{exec, message};

/// Cuts the mounts we were born with off from the host's.
pub(super) fn isolate(propagation: Propagation) -> Result<(), Errno> {
    let kind = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    rustix::mount::mount_change(c"/", kind | MountPropagationFlags::REC)
}

/// Mounts `source` in its place, and returns the root of the mount. The device of a served
/// tree goes to the parent.
pub(super) fn mount(source: &RootSource, wire: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match source {
        RootSource::Directory(path) => {
            let tree = mount::copy_tree(mount::here(), path, Reach::Recursive)?;
            mount::set_attributes(tree.as_fd(), Reach::Recursive, MountAttrFlags::empty(), Some(Propagation::Private))?;
            let place =
                rustix::fs::open(path.as_c_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            mount::attach(tree.as_fd(), place.as_fd())?;
            Ok(tree)
        }
        RootSource::Overlay(overlay) => mount_overlay(overlay),
        RootSource::Served(served) => {
            let access = if served.under.is_some() { Access::ReadOnly } else { Access::ReadWrite };
            let (device, tree) = pybox_fuse_overlay::mount::detached(c"pybox", access)?;
            message::send(wire, &Report::Device.encode(), &[device.as_fd()])?;
            // No copy of it stays here: the tree ends with its server, also while we wait for that.
            drop(device);
            mount::attach(tree.as_fd(), open_place(&served.place)?.as_fd())?;
            served.under.as_ref().map_or(Ok(tree), mount_overlay)
        }
    }
}

fn mount_overlay(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    match overlay_by_context(overlay) {
        // Before 6.5 `lowerdir+` is not known.
        Err(Errno::INVAL | Errno::NOSYS) => overlay_by_mount(overlay),
        other => other,
    }
}

fn overlay_by_context(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in &overlay.lower {
        rustix::mount::fsconfig_set_string(context.as_fd(), c"lowerdir+", layer.as_c_str())?;
    }
    for (key, value) in &overlay.settings {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_c_str())?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), key.as_c_str(), value.as_c_str())?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let root = rustix::mount::fsmount(context.as_fd(), flags, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    let place = open_place(&overlay.place)?;
    mount::attach(root.as_fd(), place.as_fd())?;
    Ok(root)
}

/// The way of older kernels. Layers are named by descriptor, which keeps the
/// option string below the page that the kernel reads of it.
fn overlay_by_mount(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    for (index, layer) in overlay.lower.iter().enumerate() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(layer.as_c_str(), flags, Mode::empty())?;
        // Close-on-exec, like all else: the execution lets go of them.
        exec::duplicate_to(opened.as_fd(), Overlay::FIRST_LAYER_FD + index as i32)?;
    }
    let data = overlay.legacy.as_c_str();
    rustix::mount::mount(c"overlay", overlay.place.as_c_str(), c"overlay", MountFlags::NODEV, data)?;
    open_place(&overlay.place)
}

/// Opens the root that joining a mount namespace has given us.
pub(super) fn open() -> Result<OwnedFd, Errno> {
    rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_place(place: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the root itself read-only; what is mounted in it keeps its own flags.
pub(super) fn seal(root: BorrowedFd<'_>) -> Result<(), Errno> {
    mount::set_attributes(root, Reach::One, MountAttrFlags::MOUNT_ATTR_RDONLY, None)
}

/// Makes `root` our root directory and lets go of the old one (pivot_root(2),
/// "pivot_root(".", ".")").
pub(super) fn pivot(root: BorrowedFd<'_>, propagation: Propagation) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    // The old root now lies on top of the new one: take it off.
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    isolate_root(propagation)
}

fn isolate_root(propagation: Propagation) -> Result<(), Errno> {
    match propagation {
        // What we mounted is private already.
        Propagation::Private => Ok(()),
        other => isolate(other),
    }
}
