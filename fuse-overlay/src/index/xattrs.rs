//! Extended attributes of layer files, and sets of them in an index.
//!
//! A set is the number of attributes (16 bits), then of each the length of the
//! name (8 bits), that of the value (32 bits), name and value.

use rustix::io::Errno;

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
