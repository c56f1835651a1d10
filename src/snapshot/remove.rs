//! Removes trees that somebody else made: no link is followed, no recursion, a
//! bounded number of open directories however deep the tree is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::failure::{Failure, SnapshotError, shown};
use super::worker::WorkerProgram;
use crate::sys::path::lstat_at;

/// Directories open at once; a tree deeper than this is cut into pieces.
const MAX_OPEN: usize = 64;

const OPEN_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Removes `path` and all in it as the caller, without a worker: for trees that
/// the caller owns alone, as most containers' are. Nothing there is fine.
///
/// # Errors
/// EACCES or EPERM where another id owns a directory in it (part of the tree is
/// gone then): [`remove`] takes a worker for the rest.
pub fn remove_plain(path: &Path) -> Result<(), SnapshotError> {
    let failed = |error: Errno| failed(path, error);
    let directory = match rustix::fs::openat(CWD, path, OPEN_DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return rustix::fs::unlink(path).map_err(failed),
        Err(error) => return Err(failed(error)),
    };
    empty_from(directory.as_fd()).map_err(|(_, error)| failed(error))?;
    rustix::fs::rmdir(path).map_err(failed)
}

/// Removes `path` and all in it, whoever of the user's ids owns it: as
/// [`remove_plain`] where that is enough, else by a worker of `program`.
///
/// # Errors
/// When something cannot be removed, or no worker be started.
pub fn remove(path: &Path, program: &WorkerProgram) -> Result<(), SnapshotError> {
    match remove_plain(path) {
        Err(SnapshotError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(path, error))?;
    program.empty(directory.as_fd())?;
    rustix::fs::rmdir(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: Errno) -> SnapshotError {
    SnapshotError::Io { operation: format!("remove {}", path.display()), source: error.into() }
}

/// Removes everything in `directory`, not the directory itself.
pub(crate) fn empty(directory: BorrowedFd<'_>) -> Result<(), Failure> {
    empty_from(directory).map_err(|(name, error)| Failure::sys(format!("remove {:?}", shown(name.to_bytes())), error))
}

/// Removes the directory `name` in `parent`, and all in it.
pub(crate) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let directory = rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty())?;
    empty_from(directory.as_fd()).map_err(|(_, error)| error)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// A directory on the way down, and its name in the one before.
struct Level {
    entries: Dir,
    name: CString,
}

/// What failed, and at which name.
type Stopped = (CString, Errno);

fn empty_from(root: BorrowedFd<'_>) -> Result<(), Stopped> {
    // Each pass removes all but what was too deep, which it has moved to the root.
    while pass(root)? {}
    Ok(())
}

/// Removes what is in `root` and no deeper than [`MAX_OPEN`]; true if there was more.
fn pass(root: BorrowedFd<'_>) -> Result<bool, Stopped> {
    let mut moved = 0_u32;
    let mut levels = vec![open_level(root, c".")?];
    loop {
        let deep = levels.len() >= MAX_OPEN;
        let Some(level) = levels.last_mut() else { break };
        let Some(entry) = level.entries.read() else {
            let Some(Level { name, .. }) = levels.pop() else { break };
            if let Some(parent) = levels.last() {
                unlink(&parent.entries, &name, AtFlags::REMOVEDIR)?;
            }
            continue;
        };
        let entry = entry.map_err(|error| (level.name.clone(), error))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !is_directory(&level.entries, name, entry.file_type())? {
            unlink(&level.entries, name, AtFlags::empty())?;
        } else if !deep {
            let below = open_level(descriptor(&level.entries, name)?, name)?;
            levels.push(below);
        } else {
            move_up(&level.entries, name, root, &mut moved)?;
        }
    }
    Ok(moved > 0)
}

fn descriptor<'d>(directory: &'d Dir, name: &CStr) -> Result<BorrowedFd<'d>, Stopped> {
    directory.fd().map_err(|error| (name.to_owned(), error))
}

fn is_directory(directory: &Dir, name: &CStr, kind: FileType) -> Result<bool, Stopped> {
    if kind != FileType::Unknown {
        return Ok(kind == FileType::Directory);
    }
    let name_bytes = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
    match lstat_at(descriptor(directory, name)?, name_bytes) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(error) => Err((name.to_owned(), error)),
    }
}

fn open_level(parent: BorrowedFd<'_>, name: &CStr) -> Result<Level, Stopped> {
    let open = || rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty());
    let opened = match open() {
        // Ours, but not readable: as the kernel overlay's `work/work` is.
        Err(Errno::ACCESS) => grant(parent, name).and_then(|()| open()),
        other => other,
    };
    let entries = opened.and_then(|directory| {
        // Root inside may do without, but not on file systems whose server asks again as the user.
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
        if !mode.contains(Mode::RWXU) {
            let _ = rustix::fs::fchmod(&directory, Mode::RWXU);
        }
        Dir::new(directory)
    });
    Ok(Level { entries: entries.map_err(|error| (name.to_owned(), error))?, name: name.to_owned() })
}

/// Gives the owner, if we are that, all rights to the directory `name`.
fn grant(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory: OwnedFd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // The descriptor holds the very directory; there is no fchmod for O_PATH before Linux 6.6.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    // A worker sees no /proc. It was a directory just now, and nobody else is in the tree.
    let by_name = |_| rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    rustix::fs::chmod(path, Mode::RWXU).or_else(by_name).map_err(|_| Errno::ACCESS)
}

fn unlink(directory: &Dir, name: &CStr, flags: AtFlags) -> Result<(), Stopped> {
    let parent = descriptor(directory, name)?;
    let result = match rustix::fs::unlinkat(parent, name, flags) {
        // The directory may be ours and merely not writable.
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(parent, Mode::RWXU).and_then(|()| rustix::fs::unlinkat(parent, name, flags))
        }
        other => other,
    };
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err((name.to_owned(), error)),
    }
}

/// Moves the directory `name` to `root`, under a name that is free there.
fn move_up(directory: &Dir, name: &CStr, root: BorrowedFd<'_>, moved: &mut u32) -> Result<(), Stopped> {
    let from = descriptor(directory, name)?;
    loop {
        *moved += 1;
        let free = format!(".pybox-removed-{moved}");
        match rustix::fs::renameat_with(from, name, root, free, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err((name.to_owned(), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn links_are_removed_not_followed() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("canary/inner")).expect("mkdir");
        std::fs::create_dir_all(dir.path().join("tree/a/b")).expect("mkdir");
        symlink("../canary", dir.path().join("tree/link")).expect("symlink");
        symlink("../../../canary", dir.path().join("tree/a/b/link")).expect("symlink");
        std::fs::write(dir.path().join("tree/a/file"), "x").expect("write");
        remove_plain(&dir.path().join("tree")).expect("removed");
        assert!(!dir.path().join("tree").exists());
        assert!(dir.path().join("canary/inner").exists());
        remove_plain(&dir.path().join("tree")).expect("nothing there is fine");
        symlink("canary", dir.path().join("link")).expect("symlink");
        remove_plain(&dir.path().join("link")).expect("removed");
        assert!(dir.path().join("canary/inner").exists());
        assert!(!dir.path().join("link").is_symlink());
    }

    #[test]
    fn unreadable_directories_of_ours_are_removed() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let work = dir.path().join("tree/work");
        std::fs::create_dir_all(work.join("inner")).expect("mkdir");
        std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o0)).expect("chmod");
        remove_plain(&dir.path().join("tree")).expect("removed");
        assert!(!dir.path().join("tree").exists());
    }

    #[test]
    fn any_depth_is_removed() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::create_dir(dir.path().join("tree")).expect("mkdir");
        let mut here: OwnedFd = std::fs::File::open(dir.path().join("tree")).expect("open").into();
        for _ in 0..1000 {
            rustix::fs::mkdirat(&here, "a-directory", Mode::RWXU).expect("mkdir");
            rustix::fs::mkdirat(&here, ".pybox-removed-1", Mode::RWXU).expect("mkdir");
            here = rustix::fs::openat(&here, "a-directory", OPEN_DIRECTORY, Mode::empty()).expect("open");
        }
        remove_plain(&dir.path().join("tree")).expect("removed");
        assert!(!dir.path().join("tree").exists());
    }
}
