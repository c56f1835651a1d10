//! Names that delete (OCI image-spec 1.1, "Whiteouts"), and the marks that the
//! kernel's overlay knows them by. On a disk that cannot hold those marks the kernel's
//! overlay does not work either, and ours reads the names themselves.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::Path;
use crate::snapshot::failure::Failure;
use crate::snapshot::kernel_overlay::OPAQUE;
use crate::snapshot::tar::entry::EntryPath;
use crate::sys::path::lstat_at;

const PREFIX: &[u8] = b".wh.";
/// Prefix of names that AUFS keeps for itself; only the opaque mark has a meaning outside of it.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// What an entry's name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// It is what it says it is.
    Entry,
    /// The lower layers' contents of the directory it lies in are hidden.
    Opaque,
    /// This name of the lower layers is hidden.
    Whiteout(&'a [u8]),
    /// Something of AUFS: left out.
    Nothing,
}

/// Reads the meaning of a name, which is not the root's.
pub(super) fn meaning(path: &EntryPath) -> Result<Meaning<'_>, Failure> {
    let bytes = path.as_bytes();
    let Some((parent, name)) = path.split() else { return Ok(Meaning::Entry) };
    // Hardly any name has the prefix in it: one look at the whole is enough then.
    if !bytes.windows(PREFIX.len()).any(|window| window == PREFIX) {
        return Ok(Meaning::Entry);
    }
    for component in parent.split(|byte| *byte == b'/') {
        if component.starts_with(RESERVED) {
            return Ok(Meaning::Nothing);
        }
        if component.starts_with(PREFIX) {
            return Err(Failure::refused(bytes, "lies beneath a whiteout"));
        }
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Meaning::Entry),
        Some(_) if name == OPAQUE_NAME => Ok(Meaning::Opaque),
        Some(_) if name.starts_with(RESERVED) => Ok(Meaning::Nothing),
        Some(b"" | b"." | b"..") => Err(Failure::refused(bytes, "is a whiteout of no name")),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

/// Hides `name` of the layers below, in the directory `parent`. What this layer
/// itself has at that name stays, whichever came first in the archive.
pub(super) fn hide(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::EXIST) => {
            let stat = lstat_at(parent, Path(name).as_os_str())?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                make_opaque(parent, Path(name))?;
            }
            Ok(())
        }
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => mark(parent, &[PREFIX, name].concat()),
        other => other,
    }
}

/// Marks the directory `name` in `parent` as hiding what the layers below have in it.
pub(super) fn make_opaque(parent: BorrowedFd<'_>, name: Path<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name.0, flags, Mode::empty())?;
    match rustix::fs::fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) => mark(directory.as_fd(), OPAQUE_NAME),
        other => other,
    }
}

/// An empty file as a mark.
fn mark(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_meanings() {
        let cases: [(&[u8], Option<Meaning<'_>>); 14] = [
            (b"etc/passwd", Some(Meaning::Entry)),
            (b"etc/x.wh.y", Some(Meaning::Entry)),
            (b"etc/.wh.passwd", Some(Meaning::Whiteout(b"passwd"))),
            (b".wh.etc", Some(Meaning::Whiteout(b"etc"))),
            (b".wh...", None),
            (b"a/.wh..", None),
            (b"a/.wh.", None),
            (b"a/.wh....", Some(Meaning::Whiteout(b"..."))),
            (b"a/.wh..wh..opq", Some(Meaning::Opaque)),
            (b".wh..wh..opq", Some(Meaning::Opaque)),
            (b".wh..wh.plnk", Some(Meaning::Nothing)),
            (b".wh..wh.plnk/1.2", Some(Meaning::Nothing)),
            (b".wh.a/b", None),
            (b"a/.wh..wh.aufs", Some(Meaning::Nothing)),
        ];
        for (name, expected) in cases {
            let path = EntryPath::parse(name).expect("a name");
            assert_eq!(meaning(&path).ok(), expected, "{}", name.escape_ascii());
        }
    }
}
