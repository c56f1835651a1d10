//! Finds out what kind of root file system can be had in a place, by making one: in a
//! worker, whose own namespaces end with it.

use std::os::fd::{AsFd as _, OwnedFd};

use pybox_fuse_overlay::mount::{Access, detached};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::driver::Found;
use super::kernel_overlay::OPAQUE;
use super::layered::is_whiteout;
use crate::sys::path::lstat_at;

/// Tries all that there is in `place`, an empty directory, and leaves it as it comes: emptying
/// it is left to the caller.
pub(super) fn find(place: &OwnedFd) -> Found {
    let overlay = overlay(place).err().map(|(what, error)| format!("{what}: {error}"));
    let fuse = match detached(c"trial", Access::ReadOnly) {
        Ok(_) => None,
        Err(error @ (Errno::NOENT | Errno::ACCESS)) => Some(format!("open /dev/fuse: {error}")),
        Err(error) => Some(format!("mount: {error}")),
    };
    Found { overlay, fuse, owners: owners(place).err().map(|error| format!("give a file away: {error}")) }
}

/// Whether files can be given to the second id of our namespace, if it has one: network file systems know
/// nothing of it, and others belong to one user.
fn owners(place: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place, "given", flags, Mode::from_raw_mode(0o644))?;
    let (uid, gid) = (Uid::from_raw(1), Gid::from_raw(1));
    match rustix::fs::fchown(&file, Some(uid), Some(gid)) {
        // There is no such id in our namespace.
        Err(Errno::INVAL) => return Ok(()),
        other => other?,
    }
    let given = rustix::fs::fstat(&file)?;
    // Some file systems say that it was done.
    if (given.st_uid, given.st_gid) == (1, 1) { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

type Tried = Result<(), (&'static str, Errno)>;

/// Mounting alone shows little: without extended attributes the kernel mounts an overlay in
/// which no directory can be replaced.
fn overlay(place: &OwnedFd) -> Tried {
    let during = |what: &'static str| move |error| (what, error);
    let make = |name: &str| rustix::fs::mkdirat(place, name, Mode::from_raw_mode(0o755));
    for name in ["lower", "lower/gone", "lower/moved", "lower/replaced", "upper", "work"] {
        make(name).map_err(during("make a directory"))?;
    }
    let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    for name in ["lower/file", "lower/moved/file", "lower/replaced/file"] {
        rustix::fs::openat(place, name, file, Mode::from_raw_mode(0o644)).map_err(during("make a file"))?;
    }
    rustix::process::fchdir(place).map_err(during("enter the place"))?;
    let root = mount().map_err(during("mount"))?;
    let root = &root;
    let remove = |name: &str, flags| rustix::fs::unlinkat(root, name, flags);
    remove("file", AtFlags::empty()).map_err(during("delete a file of a layer"))?;
    remove("gone", AtFlags::REMOVEDIR).map_err(during("delete a directory of a layer"))?;
    remove("replaced/file", AtFlags::empty()).map_err(during("delete a file of a layer"))?;
    remove("replaced", AtFlags::REMOVEDIR).map_err(during("delete a directory of a layer"))?;
    rustix::fs::mkdirat(root, "replaced", Mode::from_raw_mode(0o755)).map_err(during("replace a directory"))?;
    rustix::fs::mkdirat(root, "new", Mode::from_raw_mode(0o755)).map_err(during("make a directory in it"))?;
    rustix::fs::renameat(root, "new", root, "gone").map_err(during("rename a directory over a deleted one"))?;
    rustix::fs::openat(root, "moved/file", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(during("write to a file of a layer"))?;
    let user = c"user.pybox.trial";
    let own = rustix::fs::openat(root, "moved/file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    own.and_then(|own| rustix::fs::fsetxattr(own, user, b"1", XattrFlags::empty()))
        .map_err(during("set an extended attribute"))?;
    left_behind(place).map_err(during("look for the marks of deleted files"))
}

fn mount() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"lowerdir", c"lower"), (c"upperdir", c"upper"), (c"workdir", c"work")] {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?;
    }
    rustix::mount::fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let root =
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    rustix::fs::openat(root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the upper directory has what our own readers look for.
fn left_behind(place: &OwnedFd) -> Result<(), Errno> {
    let deleted = lstat_at(place.as_fd(), "upper/file".as_ref())?;
    let replaced = rustix::fs::statat(place, "upper/replaced", AtFlags::SYMLINK_NOFOLLOW)?;
    let is_directory = FileType::from_raw_mode(replaced.st_mode) == FileType::Directory;
    let mut mark = [0; 2];
    let marked = rustix::fs::openat(CWD, "upper/replaced", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|directory| rustix::fs::fgetxattr(directory, OPAQUE, &mut mark))?;
    if is_whiteout(&deleted) && is_directory && marked == 1 { Ok(()) } else { Err(Errno::NODATA) }
}
