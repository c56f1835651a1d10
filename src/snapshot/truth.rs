//! What files really are where one user owns all of them on disk: for those who read a tree.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pybox_fuse_overlay::filesystem::kind;
use pybox_fuse_overlay::record::{JOURNAL, Journal, Record, TRUTH, XATTR};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

/// As many bytes as a journal may have.
const LONGEST: u64 = 256 << 20;

/// Where it is told.
#[derive(Debug, Default)]
pub(crate) enum Truth {
    /// By the files themselves.
    #[default]
    Disk,
    /// By the mount of a server that records it.
    Mount,
    /// By attributes of the files of an upper directory, and by its journal.
    Upper(HashMap<u64, Record>),
}

impl Truth {
    /// Of the tree below `root`, which may be such a mount.
    pub(crate) fn of_mount(root: impl AsFd) -> Self {
        match rustix::fs::fgetxattr(root, TRUTH, &mut [0_u8; 96]) {
            Ok(_) => Self::Mount,
            // What does not know the question records nothing.
            Err(_) => Self::Disk,
        }
    }

    /// Of the upper directory whose work directory is `work`.
    ///
    /// # Errors
    /// What the disk says; EBADMSG for a journal that is none.
    pub(crate) fn of_upper(work: &OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(work, JOURNAL, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Self::Upper(HashMap::new())),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let read = File::from(file).take(LONGEST).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Journal::parse(&bytes).map(|(records, _)| Self::Upper(records)).ok_or(Errno::BADMSG)
    }

    /// Puts right what `stat` says of the open file or directory `file`.
    pub(crate) fn correct(&self, file: impl AsFd, stat: Stat) -> Result<Stat, Errno> {
        let mut text = [0_u8; 96];
        let asked = match self {
            Self::Disk => return Ok(stat),
            Self::Mount => rustix::fs::fgetxattr(file, TRUTH, &mut text),
            Self::Upper(journal) => match journal.get(&stat.st_ino) {
                Some(record) => return Ok(applied(*record, stat)),
                None => rustix::fs::fgetxattr(file, XATTR, &mut text),
            },
        };
        heard(asked, &text, stat)
    }

    /// The same for what lies as `name` in `directory`, which becomes our working directory.
    pub(crate) fn correct_entry(&self, directory: BorrowedFd<'_>, name: &[u8], stat: Stat) -> Result<Stat, Errno> {
        let attribute = match self {
            Self::Disk => return Ok(stat),
            Self::Mount => TRUTH,
            Self::Upper(journal) => match journal.get(&stat.st_ino) {
                Some(record) => return Ok(applied(*record, stat)),
                None => XATTR,
            },
        };
        let mut text = [0_u8; 96];
        rustix::process::fchdir(directory)?;
        heard(rustix::fs::lgetxattr(name, attribute, &mut text), &text, stat)
    }
}

fn heard(asked: Result<usize, Errno>, text: &[u8], stat: Stat) -> Result<Stat, Errno> {
    match asked {
        Ok(length) => Ok(text.get(..length).and_then(Record::parse).map_or(stat, |record| applied(record, stat))),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::RANGE) => Ok(stat),
        Err(error) => Err(error),
    }
}

fn applied(record: Record, mut stat: Stat) -> Stat {
    let kind = if record.mode & kind::MASK == 0 { stat.st_mode } else { record.mode } & kind::MASK;
    (stat.st_uid, stat.st_gid) = (record.uid, record.gid);
    (stat.st_mode, stat.st_rdev) = (kind | record.mode & 0o7777, u64::from(record.rdev));
    stat
}

/// Gives what lies as `name` in `directory` an owner that only the server of the mount can hold. The directory becomes
/// our working directory.
///
/// # Errors
/// EOPNOTSUPP where nobody records it.
pub(crate) fn give(directory: BorrowedFd<'_>, name: &[u8], (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let record = Record { uid, gid, mode: 0, rdev: 0 };
    rustix::process::fchdir(directory)?;
    rustix::fs::lsetxattr(name, TRUTH, record.text().as_bytes(), XattrFlags::empty())
}

/// Gives what lies as `name` in `directory`, which is no link that is followed, to an owner; by the server of the
/// mount where the namespace does not have that id.
///
/// # Errors
/// EINVAL for an id that neither knows.
pub(crate) fn own(directory: BorrowedFd<'_>, name: &[u8], (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match rustix::fs::chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::INVAL) => give(directory, name, (uid, gid)).map_err(|_| Errno::INVAL),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_wins() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        std::fs::write(dir.path().join("file"), "").expect("a file");
        let file = File::open(dir.path().join("file")).expect("open");
        let stat = rustix::fs::fstat(&file).expect("stat");
        assert_eq!(Truth::Disk.correct(&file, stat).expect("as it is").st_uid, stat.st_uid);
        let record = Record { uid: 33, gid: 34, mode: 0o20_600, rdev: 259 };
        let journal = Truth::Upper(HashMap::from([(stat.st_ino, record)]));
        let told = journal.correct(&file, stat).expect("told");
        assert_eq!((told.st_uid, told.st_gid, told.st_mode, told.st_rdev), (33, 34, 0o20_600, 259));
        let none = Truth::Upper(HashMap::new());
        rustix::fs::fsetxattr(&file, XATTR, b"5:6:4711", XattrFlags::empty()).expect("user attributes");
        let told = none.correct(&file, stat).expect("told");
        assert_eq!((told.st_uid, told.st_gid, told.st_mode), (5, 6, 0o104_711));
        assert!(matches!(Truth::of_mount(&file), Truth::Disk));
    }
}
