//! Paths inside a tree that somebody else has influence on.
//!
//! A [`RootFd`] is a directory that nothing resolves out of: every lookup is
//! `openat2(2)` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`, every change is
//! an `*at` call on the parent so found. There is no fallback that resolves
//! strings: without openat2 (Linux 5.6) the calls fail.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often a lookup is repeated when the kernel cannot tell whether a rename
/// raced with it (EAGAIN of openat2).
const RACE_RETRIES: u32 = 128;

/// A directory used as the root of all lookups below it.
#[derive(Debug)]
pub struct RootFd(OwnedFd);

impl RootFd {
    /// Takes the open directory `fd` as a root.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens `path`, which the caller trusts, as a root.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open_trusted(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self)
    }

    /// Opens `path` beneath the root, following symbolic links as if the root
    /// were `/`. `O_CLOEXEC` is added; `O_NONBLOCK` too unless `O_PATH` is
    /// given, so that a fifo cannot hold us up: check the type of what you got.
    ///
    /// # Errors
    /// Those of `openat2(2)`; EAGAIN after 128 races.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        open_in(self.0.as_fd(), path.as_ref(), flags, mode, ResolveFlags::empty())
    }

    /// Opens `path` with `O_PATH`; a symbolic link in last place is opened itself.
    ///
    /// # Errors
    /// Those of `openat2(2)`.
    pub fn open_nofollow(&self, path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens a regular file for reading, and refuses anything else or more than `limit` bytes.
    ///
    /// # Errors
    /// EINVAL for what is no regular file, EFBIG for what is too large.
    pub fn open_file(&self, path: impl AsRef<Path>, limit: u64) -> Result<std::fs::File, Errno> {
        let fd = self.open(path, OFlags::RDONLY | OFlags::NOCTTY, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limit {
            return Err(Errno::FBIG);
        }
        Ok(std::fs::File::from(fd))
    }

    /// The parent directory of `path` (opened `O_PATH`, links followed in-root) and its last component.
    ///
    /// # Errors
    /// EINVAL for a path without last component (`/`, `..`), else those of `openat2(2)`.
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fd = self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((fd, name))
    }

    /// Opens the directory `path`, making what is missing with `mode`, component
    /// by component; links on the way are followed in-root.
    ///
    /// # Errors
    /// EINVAL for a path with `..`, else those of `mkdirat(2)` and `openat2(2)`.
    pub fn create_dir_all(&self, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut walked = std::path::PathBuf::from(".");
        let mut here = self.open(".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
            };
            walked.push(name);
            here = match self.open(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&here, name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    self.open(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(here)
    }
}

impl AsFd for RootFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<RootFd> for OwnedFd {
    fn from(root: RootFd) -> Self {
        root.0
    }
}

/// `openat2(2)` beneath `root`; see [`RootFd::open`]. `extra` adds resolve flags, as `NO_XDEV`.
///
/// # Errors
/// Those of `openat2(2)`; EAGAIN after 128 races.
pub fn open_in(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    extra: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    resolve(root, path, flags, mode, extra)
}

fn resolve<P: rustix::path::Arg + Copy>(
    root: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
    mode: Mode,
    extra: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let nonblock = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | extra;
    for _ in 0..RACE_RETRIES {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC | nonblock, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// As [`open_in`], for C strings and where nothing may be allocated.
///
/// # Errors
/// Those of `openat2(2)`; EAGAIN after 128 races.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    resolve(root, path, flags, mode, ResolveFlags::empty())
}

/// The status of `name` in the directory `parent`, links not followed.
///
/// # Errors
/// Those of `fstatat(2)`.
pub fn lstat_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<rustix::fs::Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, RootFd) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = RootFd::open_trusted(dir.path()).expect("the directory opens");
        (dir, root)
    }

    #[test]
    fn links_resolve_inside_the_root() {
        let (dir, root) = root();
        std::fs::create_dir(dir.path().join("etc")).expect("mkdir");
        std::fs::write(dir.path().join("etc/passwd"), "inside").expect("write");
        symlink("/etc/passwd", dir.path().join("absolute")).expect("symlink");
        symlink("../../../../etc/passwd", dir.path().join("climbing")).expect("symlink");
        for name in ["absolute", "climbing", "etc/passwd", "/etc/passwd", "../etc/passwd"] {
            let mut text = String::new();
            root.open_file(name, 100).expect(name).read_to_string(&mut text).expect("read");
            assert_eq!(text, "inside", "{name}");
        }
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let (dir, root) = root();
        std::fs::write(dir.path().join("big"), [0; 11]).expect("write");
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("mkfifo");
        assert_eq!(root.open_file("big", 10).map(drop), Err(Errno::FBIG));
        assert_eq!(root.open_file("fifo", 10).map(drop), Err(Errno::INVAL));
        assert_eq!(root.open_file(".", 10).map(drop), Err(Errno::INVAL));
        assert_eq!(root.open_file("missing", 10).map(drop), Err(Errno::NOENT));
    }

    #[test]
    fn directories_are_made_beneath_links() {
        let (dir, root) = root();
        std::fs::create_dir_all(dir.path().join("run")).expect("mkdir");
        std::fs::create_dir_all(dir.path().join("var")).expect("mkdir");
        symlink("/run", dir.path().join("var/run")).expect("symlink");
        root.create_dir_all(Path::new("/var/run/a/b"), Mode::RWXU).expect("mkdir -p");
        assert!(dir.path().join("run/a/b").is_dir());
        assert_eq!(root.create_dir_all(Path::new("/a/../b"), Mode::RWXU).map(drop), Err(Errno::INVAL));
    }
}
