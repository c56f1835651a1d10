//! Opening what lies beneath a directory, and nothing else.
//!
//! The kernel resolves the path beneath the descriptor, follows no symbolic
//! link and crosses no mount, so a path made of foreign names cannot leave.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::filesystem::{Attributes, NAME_MAX, Time, device_number};

/// What the kernel takes as one path, less some room for its end.
const CHUNK: usize = 4000;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// For files whose contents are read: never waits, never becomes a terminal.
pub(crate) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// For directories that are listed.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// For nodes that are only pointed at.
pub(crate) const POINT: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens `path` beneath `root`; the empty path is `root` itself. Longer than
/// the kernel takes at once is walked in pieces.
pub(crate) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > CHUNK {
        let head = rest.get(..CHUNK).unwrap_or_default();
        let cut = head.iter().rposition(|&byte| byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        let (piece, tail) = rest.split_at(cut);
        let from = held.as_ref().map_or(root, AsFd::as_fd);
        let next = rustix::fs::openat2(from, piece, POINT | OFlags::DIRECTORY, Mode::empty(), RESOLVE)?;
        held = Some(next);
        rest = tail.get(1..).unwrap_or_default();
    }
    let from = held.as_ref().map_or(root, AsFd::as_fd);
    let last: &[u8] = if rest.is_empty() { b"." } else { rest };
    retried(|| rustix::fs::openat2(from, last, flags, Mode::empty(), RESOLVE))
}

/// `openat2` with `RESOLVE_BENEATH` says EAGAIN when something was renamed meanwhile.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..16 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// `stat` of an entry of a directory, not following it.
pub(crate) fn stat(directory: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// `stat` of what a descriptor of any kind stands for.
pub(crate) fn stat_of(node: impl AsFd) -> Result<Stat, Errno> {
    rustix::fs::statat(node, c"", AtFlags::EMPTY_PATH)
}

/// Whether `stat` is that of a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether `stat` is that of a regular file.
pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// `name`, if it can be that of one entry of a directory.
///
/// # Errors
/// ENAMETOOLONG, or EINVAL for what would be a path or another directory.
pub(crate) fn entry_name(name: &[u8]) -> Result<&[u8], Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let walks = matches!(name, b"" | b"." | b"..");
    if walks || name.iter().any(|&byte| byte == b'/' || byte == 0) { Err(Errno::INVAL) } else { Ok(name) }
}

/// What stands for the descriptor itself in calls that only take a path.
pub(crate) fn magic_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens `/proc/self/fd`, from which descriptors without a name can be linked.
pub(crate) fn own_descriptors() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Seconds and nanoseconds of a `stat`.
fn time(seconds: i64, nanoseconds: u64) -> Time {
    Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
}

/// The attributes that `stat` shows, under the number `ino`.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the fields differ between architectures")]
pub(crate) fn attributes(stat: &Stat, ino: u64) -> Attributes {
    let device = stat.st_rdev;
    Attributes {
        ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        accessed: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
        modified: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        changed: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        mode: stat.st_mode,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: device_number(rustix::fs::major(device), rustix::fs::minor(device)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_entries_are_names() {
        for good in [&b"a"[..], b"..a", b".wh", &[b'n'; 255]] {
            assert_eq!(entry_name(good), Ok(good));
        }
        for (bad, errno) in [
            (&b""[..], Errno::INVAL),
            (b".", Errno::INVAL),
            (b"..", Errno::INVAL),
            (b"a/b", Errno::INVAL),
            (b"a\0", Errno::INVAL),
            (&[b'n'; 256], Errno::NAMETOOLONG),
        ] {
            assert_eq!(entry_name(bad), Err(errno), "{bad:?}");
        }
    }

    #[test]
    fn paths_do_not_leave_the_directory() {
        let outer = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::create_dir(outer.path().join("in")).expect("mkdir");
        std::fs::write(outer.path().join("secret"), "x").expect("write");
        std::os::unix::fs::symlink("../secret", outer.path().join("in/link")).expect("symlink");
        std::os::unix::fs::symlink("/", outer.path().join("in/root")).expect("symlink");
        let root = std::fs::File::open(outer.path().join("in")).expect("open");
        for path in [&b"../secret"[..], b"link", b"root/etc/passwd", b"/etc/passwd"] {
            assert!(open(root.as_fd(), path, READ).is_err(), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn paths_beyond_the_kernels_limit_are_walked() {
        let top = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let name = "d".repeat(200);
        let mut here = OwnedFd::from(std::fs::File::open(top.path()).expect("open"));
        let mut path = Vec::new();
        for _ in 0..40 {
            rustix::fs::mkdirat(&here, &name, Mode::RWXU).expect("mkdir");
            here = rustix::fs::openat(&here, &name, DIRECTORY, Mode::empty()).expect("open");
            path.extend_from_slice(name.as_bytes());
            path.push(b'/');
        }
        path.pop();
        let root = std::fs::File::open(top.path()).expect("open");
        let found = open(root.as_fd(), &path, DIRECTORY).expect("a long path");
        assert_eq!(stat_of(&found).expect("stat").st_ino, stat_of(&here).expect("stat").st_ino);
    }
}
