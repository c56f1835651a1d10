//! How much a tree that somebody else made takes: the bytes of its files, those
//! with several names counted once. No link is followed.
//!
//! Each directory is opened from the root of the tree by its path beneath it, so
//! few descriptors are open however deep the tree is. What lies below a path of
//! more than 4095 bytes, which no program can name either, is left out.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::failure::{Failure, SnapshotError, shown};
use super::worker::WorkerProgram;
use crate::sys::path::{lstat_at, open_in};

/// As long as a path can be, with its end.
const LONGEST: usize = 4095;

const OPEN_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The bytes below `path`; nothing there is nothing. Directories that the caller
/// may not read are for a worker, which `program` starts if it is needed.
///
/// # Errors
/// What the file system says, or if no worker can be started.
pub fn measure(path: &Path, program: impl FnOnce() -> Option<WorkerProgram>) -> Result<u64, SnapshotError> {
    let failed =
        |error: Errno| SnapshotError::Io { operation: format!("measure {}", path.display()), source: error.into() };
    let directory = match rustix::fs::openat(CWD, path, OPEN_DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    match walk(directory.as_fd()) {
        Err((_, Errno::ACCESS | Errno::PERM)) => match program() {
            Some(program) => program.measure(directory.as_fd()),
            None => Err(failed(Errno::ACCESS)),
        },
        other => other.map_err(|(_, error)| failed(error)),
    }
}

/// The same in a worker: `root` is all that can be named.
pub(crate) fn tree(root: BorrowedFd<'_>) -> Result<u64, Failure> {
    walk(root).map_err(|(path, error)| Failure::sys(format!("measure {:?}", shown(path.as_os_str().as_bytes())), error))
}

/// What failed, and where.
type Stopped = (PathBuf, Errno);

fn walk(root: BorrowedFd<'_>) -> Result<u64, Stopped> {
    let mut total = 0_u64;
    let mut linked = HashSet::new();
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        let failed = |error| (path.clone(), error);
        let opened = open_in(root, &path, OPEN_DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let mut entries = match opened.and_then(Dir::new) {
            // It has gone, or become something else, since its parent was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => other.map_err(failed)?,
        };
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match lstat_at(entries.fd().map_err(failed)?, name) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(failed)?,
            };
            let below = path.join(name);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if below.as_os_str().len() <= LONGEST => waiting.push(below),
                FileType::Directory => {}
                _ if stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino)) => {}
                _ => total = total.saturating_add(u64::try_from(stat.st_size).unwrap_or(0)),
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_count_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).expect("mkdir");
        std::fs::write(dir.path().join("outside"), vec![0; 5000]).expect("write");
        std::fs::write(tree.join("one"), vec![0; 1000]).expect("write");
        std::fs::write(tree.join("a/b/two"), vec![0; 234]).expect("write");
        std::fs::hard_link(tree.join("one"), tree.join("a/again")).expect("link");
        symlink("../outside", tree.join("link")).expect("symlink");
        let no_worker = || None;
        assert_eq!(measure(&tree, no_worker).expect("measured"), 1234 + "../outside".len() as u64);
        assert_eq!(measure(&dir.path().join("none"), no_worker).expect("nothing"), 0);
    }

    #[test]
    fn depth_is_no_limit() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let mut here = std::os::fd::OwnedFd::from(std::fs::File::open(dir.path()).expect("open"));
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "dd", Mode::RWXU).expect("mkdir");
            here = rustix::fs::openat(&here, "dd", OPEN_DIRECTORY, Mode::empty()).expect("open");
        }
        std::fs::write(dir.path().join("file"), "12345").expect("write");
        assert_eq!(measure(dir.path(), || None).expect("measured"), 5);
        crate::snapshot::remove::remove_plain(&dir.path().join("dd")).expect("removed");
    }
}
