//! Extended attributes of layer files, and sets of them in an index.
//!
//! A set is the number of attributes (16 bits), then of each the length of the
//! name (8 bits), that of the value (32 bits), name and value.

use rustix::io::Errno;

use super::build::Reverse;
use super::format::{u16_at, u32_at};

/// As many bytes as the kernel has for a value or a list of names.
const LIMIT: usize = 65_536;

/// Names and values.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Whether the attribute is bookkeeping of an overlay, and no part of a tree.
pub(crate) fn is_private(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"user.pybox.")
}

/// The attributes of what `path` names, without following a last symbolic link,
/// sorted, bookkeeping left out; none where the disk has none.
pub(crate) fn read_all(path: &[u8]) -> Result<Attributes, Errno> {
    let absent = |error: Errno| matches!(error, Errno::OPNOTSUPP | Errno::NODATA | Errno::ACCESS | Errno::PERM);
    // Most files have none: the first call asks with a small buffer.
    let mut names = vec![0_u8; 256];
    let length = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Err(Errno::RANGE) => {
            names.resize(LIMIT, 0);
            rustix::fs::llistxattr(path, names.as_mut_slice())
        }
        other => other,
    };
    let length = match length {
        Ok(length) => length,
        Err(error) if absent(error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    names.truncate(length);
    let mut found = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !is_private(name)) {
        match value(path, name) {
            Ok(value) => found.push((name.to_vec(), value)),
            Err(error) if absent(error) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

fn value(path: &[u8], name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0_u8; 256];
    let length = match rustix::fs::lgetxattr(path, name, value.as_mut_slice()) {
        Err(Errno::RANGE) => {
            value.resize(LIMIT, 0);
            rustix::fs::lgetxattr(path, name, value.as_mut_slice())?
        }
        other => other?,
    };
    value.truncate(length);
    Ok(value)
}

/// A set as bytes.
pub(super) fn encode(set: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u16::try_from(set.len()).map_err(|_| Errno::FBIG)?.to_le_bytes());
    for (name, value) in set {
        bytes.push(u8::try_from(name.len()).map_err(|_| Errno::FBIG)?);
        bytes.extend_from_slice(&u32::try_from(value.len()).map_err(|_| Errno::FBIG)?.to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    Ok(bytes)
}

/// Walks the set at the beginning of `bytes`; `None` ends a damaged one.
#[derive(Clone, Debug)]
pub(super) struct Set<'a> {
    bytes: &'a [u8],
    left: u16,
}

impl<'a> Set<'a> {
    pub(super) fn at(bytes: &'a [u8]) -> Option<Self> {
        Some(Self { left: u16_at(bytes, 0)?, bytes: bytes.get(2..)? })
    }

    fn split(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name_length = usize::from(*self.bytes.first()?);
        let value_length = usize::try_from(u32_at(self.bytes, 1)?).ok()?;
        let rest = self.bytes.get(5..)?;
        let (name, rest) = rest.split_at_checked(name_length)?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        self.bytes = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for Set<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = self.split();
        if item.is_none() {
            self.left = 0;
        }
        item
    }
}

/// An access list with the ids of the image; `None` for what is no list.
pub(super) fn image_list(value: &[u8], reverse: Reverse<'_>) -> Option<Vec<u8>> {
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let mut list = version.to_vec();
    for entry in entries {
        let (tag, id) = (u16_at(entry, 0)?, u32_at(entry, 4)?);
        let id = match tag {
            USER => reverse(id, id).0,
            GROUP => reverse(id, id).1,
            _ => id,
        };
        list.extend_from_slice(entry.get(..4)?);
        list.extend_from_slice(&id.to_le_bytes());
    }
    Some(list)
}

/// The 20 bytes of a file capability without those that name the user
/// namespace: the form that a process in that namespace sees. `root` is the id
/// that root of the layers has where they are read.
pub(super) fn plain_capability(value: &[u8], root: u32) -> Option<Vec<u8>> {
    const REVISION_3: u32 = 0x0300_0000;
    const REVISION_2: u32 = 0x0200_0000;
    let magic = u32_at(value, 0)?;
    if value.len() != 24 || magic & 0xff00_0000 != REVISION_3 || u32_at(value, 20)? != root {
        return None;
    }
    let mut plain = ((magic & 0x00ff_ffff) | REVISION_2).to_le_bytes().to_vec();
    plain.extend_from_slice(value.get(4..20)?);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_the_layers_root_lose_the_namespace() {
        let mut value = [0_u32; 6].map(u32::to_le_bytes).concat();
        value[3] = 3;
        value[0] = 1;
        value[4] = 7;
        value[20..24].copy_from_slice(&1000_u32.to_le_bytes());
        let plain = plain_capability(&value, 1000).expect("plain");
        assert_eq!((plain.len(), plain[3], plain[0], plain[4]), (20, 2, 1, 7));
        assert_eq!(plain_capability(&value, 1001), None, "of another namespace");
        assert_eq!(plain_capability(&value[..20], 1000), None);
    }

    #[test]
    fn ids_in_access_lists_are_those_of_the_image() {
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat();
        let list =
            |user, group| [2_u32.to_le_bytes().to_vec(), entry(1, u32::MAX), entry(2, user), entry(8, group)].concat();
        let reverse: Reverse<'_> = &|uid, gid| (uid.wrapping_sub(100), gid.wrapping_sub(200));
        assert_eq!(image_list(&list(105, 206), reverse), Some(list(5, 6)));
        assert_eq!(image_list(b"nonsense", reverse), None);
    }

    #[test]
    fn sets_are_read_back_and_damaged_ones_end() {
        let set = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())];
        let bytes = encode(&set).expect("encode");
        let read: Vec<_> =
            Set::at(&bytes).expect("a set").map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(read, set);
        for length in 2..bytes.len() {
            assert!(Set::at(&bytes[..length]).expect("a count").count() < 2);
        }
    }
}
