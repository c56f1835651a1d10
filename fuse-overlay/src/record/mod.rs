//! Owners, modes and devices of files where the disk cannot hold them.
//!
//! With a single mapped user every file on disk belongs to that user. What a
//! file really is stands in a record beside it: an extended attribute
//! ([`XATTR`]) of regular files and directories, a journal for the rest.
//! Layers carry a side file of the same records by path ([`Owners`]).

mod journal;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use journal::{Journal, NAME as JOURNAL};

use crate::filesystem::{Attributes, device_number, device_parts, kind};

/// The extended attribute that holds the record of a regular file or directory.
pub const XATTR: &str = "user.pybox.override_stat";

/// The attribute by which a mount tells, and is told, what a file really is where it is [recorded]: the text of
/// a [`Record`]. Writing takes what the kernel asks for `security.*`, CAP_SYS_ADMIN in the mount's user
/// namespace, and changes owner and group; type and device number stay. It is in no list of attributes.
///
/// [recorded]: crate::Ids::are_recorded
pub const TRUTH: &str = "security.pybox.stat";

/// Written on a directory of such a mount it makes an entry that mknod(2) would be refused: the text of a
/// [`Record`], a blank, and the name. Where the kernel may remember that there was nothing, making a file of
/// that name, which is refused with EEXIST, lets it forget.
pub const ENTRY: &str = "security.pybox.entry";

/// The file in the root of a layer that holds its [`Owners`]. No image can bring it: names that begin so are
/// left out when layers are unpacked.
pub const SIDE_FILE: &str = ".wh..wh.pybox-owners";

/// As many bytes as a side file may have.
const LONGEST: u64 = 256 << 20;

/// What a file really is. As text `uid:gid:mode`, the mode octal and with its
/// file type; devices add `:c-major-minor` or `:b-major-minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// File type and permission bits. Without a type that of the file on disk counts.
    pub mode: u32,
    /// Device number as [`device_number`] packs it; 0 for what is no device.
    pub rdev: u32,
}

impl Record {
    /// Reads the text form; `None` for what is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut fields = text.split(':');
        let uid = number(fields.next()?, 10)?;
        let gid = number(fields.next()?, 10)?;
        let mode = number(fields.next()?, 8).filter(|mode| mode & !(kind::MASK | 0o7777) == 0)?;
        let rdev = match fields.next() {
            None => 0,
            Some(device) => Self::device(device, mode)?,
        };
        fields.next().is_none().then_some(Self { uid, gid, mode, rdev })
    }

    fn device(text: &str, mode: u32) -> Option<u32> {
        let mut parts = text.split('-');
        let wanted = match parts.next()? {
            "c" => kind::CHARACTER,
            "b" => kind::BLOCK,
            _ => return None,
        };
        let major = number(parts.next()?, 10).filter(|&major| major < 1 << 12)?;
        let minor = number(parts.next()?, 10).filter(|&minor| minor < 1 << 20)?;
        (parts.next().is_none() && mode & kind::MASK == wanted).then(|| device_number(major, minor))
    }

    /// The text form.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { uid, gid, mode, rdev } = *self;
        let letter = match mode & kind::MASK {
            kind::CHARACTER => 'c',
            kind::BLOCK => 'b',
            _ => return format!("{uid}:{gid}:{mode:o}"),
        };
        let (major, minor) = device_parts(rdev);
        format!("{uid}:{gid}:{mode:o}:{letter}-{major}-{minor}")
    }

    /// The record of a file with these attributes.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        Self { uid: attributes.uid, gid: attributes.gid, mode: attributes.mode, rdev: attributes.rdev }
    }

    /// Replaces in `attributes` what the record knows better.
    pub fn apply(self, attributes: &mut Attributes) {
        let kind = if self.mode & kind::MASK == 0 { attributes.kind() } else { self.mode & kind::MASK };
        attributes.uid = self.uid;
        attributes.gid = self.gid;
        attributes.mode = kind | (self.mode & 0o7777);
        attributes.rdev = self.rdev;
    }
}

/// Digits only: no sign, no blank.
fn number(text: &str, radix: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    digits.then(|| u32::from_str_radix(text, radix).ok())?
}

/// The records of a layer, by path beneath it.
///
/// As bytes each is the record's text, a blank, the path and a zero byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    records: HashMap<Vec<u8>, Record>,
}

impl Owners {
    /// What the side file of the layer `directory` says, if there is one.
    ///
    /// # Errors
    /// What the disk says; `InvalidData` for a file that is none of ours.
    pub fn beside(directory: impl AsFd) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, SIDE_FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Self::parse(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads a side file; `None` where anything in it is no record.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut records = HashMap::new();
        let Some(body) = bytes.strip_suffix(b"\0") else {
            return bytes.is_empty().then(Self::default);
        };
        for line in body.split(|&byte| byte == 0) {
            let cut = line.iter().position(|&byte| byte == b' ')?;
            let (record, path) = line.split_at(cut);
            records.insert(path.get(1..)?.to_vec(), Record::parse(record)?);
        }
        Some(Self { records })
    }

    /// The side file, sorted by path.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut lines: Vec<_> = self.records.iter().collect();
        lines.sort_unstable_by_key(|(path, _)| *path);
        let mut bytes = Vec::new();
        for (path, record) in lines {
            bytes.extend_from_slice(record.text().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        bytes
    }

    /// Notes what the file at `path` (no leading slash) is.
    pub fn set(&mut self, path: &[u8], record: Record) {
        self.records.insert(path.to_vec(), record);
    }

    /// Forgets what was noted of the file at `path`: it is another one now.
    pub fn forget(&mut self, path: &[u8]) {
        self.records.remove(path);
    }

    /// What is noted of the file at `path`.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Option<Record> {
        self.records.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_what_they_mean() {
        let record = |uid, gid, mode, rdev| Some(Record { uid, gid, mode, rdev });
        for (text, meant) in [
            ("0:0:100644", record(0, 0, 0o100_644, 0)),
            ("42:1000:104755", record(42, 1000, 0o104_755, 0)),
            ("1:2:755", record(1, 2, 0o755, 0)),
            ("0:6:60660:b-8-1", record(0, 6, 0o60660, device_number(8, 1))),
            ("0:0:20666:c-1-3", record(0, 0, 0o20666, device_number(1, 3))),
            ("4294967295:0:100000", record(u32::MAX, 0, 0o100_000, 0)),
            ("", None),
            ("0:0", None),
            ("0:0:9", None),
            ("+1:0:100644", None),
            ("-1:0:100644", None),
            ("0:0:100644:c-1-3", None),
            ("0:0:20666:b-1-3", None),
            ("0:0:20666:c-1-3:x", None),
            ("0:0:20666:c-1", None),
            ("0:0:20666:c-4096-0", None),
            ("0:0:7777777", None),
            ("0:0:100644 ", None),
        ] {
            assert_eq!(Record::parse(text.as_bytes()), meant, "{text}");
        }
    }

    #[test]
    fn side_file_round_trip() {
        let mut owners = Owners::default();
        owners.set(b"var/with blank\n", Record { uid: 7, gid: 8, mode: 0o100_600, rdev: 0 });
        owners.set(b"", Record { uid: 1, gid: 1, mode: 0o40_755, rdev: 0 });
        let bytes = owners.bytes();
        assert_eq!(bytes, b"1:1:40755 \x007:8:100600 var/with blank\n\0");
        assert_eq!(Owners::parse(&bytes), Some(owners));
        assert_eq!(Owners::parse(b""), Some(Owners::default()));
        assert_eq!(Owners::parse(b"1:1:755 cut off"), None);
        assert_eq!(Owners::parse(b"nonsense\0"), None);
    }

    proptest! {
        #[test]
        fn any_record_survives(uid: u32, gid: u32, bits in 0_u32..0o10000, which in 0_usize..8, major in 0_u32..1 << 12, minor in 0_u32..1 << 20) {
            let kinds = [0, kind::FIFO, kind::CHARACTER, kind::DIRECTORY, kind::BLOCK, kind::REGULAR, kind::SYMLINK, kind::SOCKET];
            let mode = kinds[which] | bits;
            let is_device = [kind::CHARACTER, kind::BLOCK].contains(&kinds[which]);
            let record = Record { uid, gid, mode, rdev: if is_device { device_number(major, minor) } else { 0 } };
            prop_assert_eq!(Record::parse(record.text().as_bytes()), Some(record));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Record::parse(&bytes);
            let _ = Owners::parse(&bytes);
        }
    }
}
