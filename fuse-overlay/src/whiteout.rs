//! The marks by which a directory says what it hides of those below it.
//!
//! Written is what the kernel's overlay writes with `userxattr`: character
//! devices 0:0, and `user.overlay.opaque`. Where the disk or the kernel refuses
//! such a device an empty file `.wh.NAME` stands for it. Read are these, the
//! `.wh..wh..opq` of image layers, and the kernel's `user.overlay.whiteout`.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, XattrFlags};
use rustix::io::Errno;

use crate::beneath;

/// Begins the name of a file that hides the rest of the name.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// The file that makes its directory opaque.
pub(crate) const OPAQUE_FILE: &[u8] = b".wh..wh..opq";
const OPAQUE: &str = "user.overlay.opaque";
const WHITEOUT: &str = "user.overlay.whiteout";

/// Whether `stat` is that of a deleted name.
pub(crate) fn is_device(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether the entry is a whiteout of one of the two kinds that carry the name they hide.
pub(crate) fn is_entry(directory: impl AsFd, name: &[u8], stat: &Stat) -> bool {
    if is_device(stat) {
        return true;
    }
    // Only an empty file can be one, and few files are empty.
    if !beneath::is_regular(stat) || stat.st_size != 0 {
        return false;
    }
    let mut path = beneath::magic_path(directory).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    rustix::fs::lgetxattr(path, WHITEOUT, &mut [0_u8; 8]).is_ok()
}

/// The name that an entry called `name` hides, if its own name says that it does.
pub(crate) fn hidden_by(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(PREFIX).filter(|rest| !rest.is_empty() && !rest.starts_with(PREFIX))
}

/// Whether the name is reserved for marks, and so can be that of no file.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// `.wh.` before `name`.
pub(crate) fn file_name(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// Whether the directory hides all that lies below it.
pub(crate) fn is_opaque(directory: impl AsFd) -> Result<bool, Errno> {
    let mut value = [0_u8; 2];
    match rustix::fs::fgetxattr(&directory, OPAQUE, &mut value) {
        Ok(length) if length == 1 && value.first() == Some(&b'y') => return Ok(true),
        Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    Ok(beneath::stat(directory, OPAQUE_FILE).is_ok())
}

/// Makes the directory opaque; by a file where the disk has no such attribute.
pub(crate) fn make_opaque(directory: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) => make_file(directory, OPAQUE_FILE),
        other => other,
    }
}

/// Makes an empty file called `name`, or finds one.
pub(crate) fn make_file(directory: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hide() {
        assert_eq!(hidden_by(b".wh.a"), Some(&b"a"[..]));
        assert_eq!(hidden_by(b".wh."), None);
        assert_eq!(hidden_by(OPAQUE_FILE), None);
        assert_eq!(hidden_by(b".wh..wh.plnk"), None);
        assert_eq!(hidden_by(b".whisper"), None);
        assert!(is_reserved(b".wh.a") && is_reserved(OPAQUE_FILE) && !is_reserved(b".whisper"));
        assert_eq!(hidden_by(&file_name(b"x")), Some(&b"x"[..]));
    }

    #[test]
    fn a_directory_made_opaque_reads_so() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let fd = std::fs::File::open(dir.path()).expect("open");
        assert_eq!(is_opaque(&fd), Ok(false));
        make_opaque(&fd).expect("mark");
        assert_eq!(is_opaque(&fd), Ok(true));
        rustix::fs::fremovexattr(&fd, OPAQUE).expect("unmark");
        make_file(&fd, OPAQUE_FILE).expect("mark");
        assert_eq!(is_opaque(&fd), Ok(true));
    }
}
