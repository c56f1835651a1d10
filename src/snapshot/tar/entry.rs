//! An entry of an archive, and the rules for the names in it.

use super::sparse::SparseMap;
use crate::snapshot::failure::{Failure, shown};

/// Longest name, as the archive has it (PATH_MAX).
pub(crate) const MAX_NAME: usize = 4096;
/// Longest component of a name (NAME_MAX).
const MAX_COMPONENT: usize = 255;
/// Deepest name. Far beyond any real tree; it bounds the open descriptors.
const MAX_DEPTH: usize = 256;

/// A name made relative and plain: components joined by `/`, none of them
/// empty, `.` or `..`. The root itself is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Applies the rules to a name from an archive.
    pub(crate) fn parse(name: &[u8]) -> Result<Self, Failure> {
        let refuse = |reason: &str| Err(Failure::refused(name, reason));
        if name.len() > MAX_NAME {
            return refuse("name is longer than 4096 bytes");
        }
        if name.contains(&0) {
            return refuse("name has a NUL byte");
        }
        let mut path = Vec::with_capacity(name.len());
        let mut depth = 0;
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return refuse("name has a `..` component"),
                long if long.len() > MAX_COMPONENT => return refuse("component of the name is longer than 255 bytes"),
                _ => {}
            }
            depth += 1;
            if depth > MAX_DEPTH {
                return refuse("name is deeper than 256 directories");
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        Ok(Self(path))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent and the last component; `None` for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((self.0.get(..slash)?, self.0.get(slash + 1..)?)),
            None => Some((b"", &self.0)),
        }
    }
}

impl std::fmt::Display for EntryPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file of [`Entry::size`] bytes.
    File,
    /// A regular file with holes; [`Entry::size`] bytes of data follow.
    Sparse(SparseMap),
    Directory,
    /// The target, verbatim.
    Symlink(Vec<u8>),
    /// Another name of a file that came before.
    Hardlink(EntryPath),
    Fifo,
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// A point in time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// The last second that anything downstream prints well: the end of year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

impl Time {
    /// Clamps to the years 1970 to 9999.
    pub(crate) fn clamped(seconds: u64, nanos: u32) -> Self {
        Self { seconds: i64::try_from(seconds.min(LAST_SECOND)).unwrap_or(0), nanos }
    }
}

/// An extended attribute: name and value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// One entry of an archive, its name checked and its numbers in range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: EntryPath,
    pub(crate) kind: Kind,
    /// Permission, set-id and sticky bits: 0 to 07777.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Bytes of data that follow in the archive.
    pub(crate) size: u64,
    pub(crate) attributes: Vec<Attribute>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_relative_and_plain() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"etc/passwd", b"etc/passwd"),
            (b"/etc/passwd", b"etc/passwd"),
            (b"./etc//./passwd/", b"etc/passwd"),
            (b"", b""),
            (b"./", b""),
            (b"///", b""),
            (b"..a/b..", b"..a/b.."),
            (b"\xff\xfe", b"\xff\xfe"),
        ];
        for (name, expected) in cases {
            assert_eq!(EntryPath::parse(name).expect("accepted").as_bytes(), expected);
        }
    }

    #[test]
    fn names_that_climb_or_overflow_are_refused() {
        let long = [b"a/".repeat(2048), b"b".to_vec()].concat();
        let component = [b'c'; 256];
        let deep = b"d/".repeat(257);
        let cases: [&[u8]; 8] = [b"..", b"../a", b"a/../b", b"a/..", b"/..", b"a\0b", &component, &deep];
        for name in cases.into_iter().chain([&long[..]]) {
            assert!(matches!(EntryPath::parse(name), Err(Failure::Unsafe { .. })), "{}", name.escape_ascii());
        }
        assert!(EntryPath::parse(&[b'c'; 255]).is_ok());
    }

    #[test]
    fn paths_split_at_the_last_component() {
        let split = |name: &[u8]| {
            let path = EntryPath::parse(name).expect("accepted");
            path.split().map(|(parent, last)| (parent.to_vec(), last.to_vec()))
        };
        assert_eq!(split(b"a/b/c"), Some((b"a/b".to_vec(), b"c".to_vec())));
        assert_eq!(split(b"a"), Some((b"".to_vec(), b"a".to_vec())));
        assert_eq!(split(b"/"), None);
    }

    #[test]
    fn times_are_clamped() {
        assert_eq!(Time::clamped(u64::MAX, 5), Time { seconds: 253_402_300_799, nanos: 5 });
    }
}
