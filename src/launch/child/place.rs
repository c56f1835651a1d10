//! Places inside the root: found with links resolved in-root, made where missing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::launch::step::Target;
use crate::sys::path::open_in_root;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// The kind of what `fd` refers to.
pub(super) fn kind(fd: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let mode = rustix::fs::fstat(fd)?.st_mode;
    Ok(if FileType::from_raw_mode(mode) == FileType::Directory { Kind::Directory } else { Kind::File })
}

/// Opens what is at `target`, whatever it is.
pub(super) fn open(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    open_in_root(root, target.path.as_c_str(), OFlags::PATH, Mode::empty())
}

/// Opens the directory `target`, which has to be there.
pub(super) fn existing(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    open_in_root(root, target.path.as_c_str(), DIRECTORY, Mode::empty())
}

/// Opens the directory `target`, making it and its ancestors if need be.
pub(super) fn directory(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    match open_in_root(root, target.path.as_c_str(), DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let parent = ancestors(root, target)?;
    make_directory(parent.as_fd(), &target.name)?;
    open_in_root(root, target.path.as_c_str(), DIRECTORY, Mode::empty())
}

/// Opens the file `target`, making an empty one and its ancestors if need be.
pub(super) fn file(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    match open(root, target) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let parent = ancestors(root, target)?;
    make_file(parent.as_fd(), &target.name)?;
    open(root, target)
}

/// Makes a directory in `parent`; one that is there already is fine.
pub(super) fn make_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Makes an empty file in `parent`, never through a link.
pub(super) fn make_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The parent directory of `target`, component by component.
fn ancestors(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    let mut here = open_in_root(root, c".", DIRECTORY, Mode::empty())?;
    for (path, name) in &target.ancestors {
        here = match open_in_root(root, path.as_c_str(), DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {
                make_directory(here.as_fd(), name)?;
                open_in_root(root, path.as_c_str(), DIRECTORY, Mode::empty())?
            }
            other => other?,
        };
    }
    Ok(here)
}
