//! Pools in which equal things stand once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};

use rustix::io::Errno;

use super::format::Shared;

/// Byte strings one behind the other.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub bytes: Vec<u8>,
    /// Hash of what stands at an offset. A collision costs room, not truth:
    /// the bytes are compared.
    seen: HashMap<u64, (u32, u32)>,
}

impl Bytes {
    /// The offset of `piece`, which is added if it is not there.
    pub(super) fn put(&mut self, piece: &[u8]) -> Result<u32, Errno> {
        let mut hasher = DefaultHasher::new();
        piece.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(&(start, length)) = self.seen.get(&hash) {
            let there = self.bytes.get(start as usize..start as usize + length as usize);
            if there == Some(piece) {
                return Ok(start);
            }
        }
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::FBIG)?;
        let length = u32::try_from(piece.len()).map_err(|_| Errno::FBIG)?;
        self.bytes.extend_from_slice(piece);
        self.seen.insert(hash, (start, length));
        Ok(start)
    }
}

/// The attribute table.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub bytes: Vec<u8>,
    seen: HashMap<Shared, u32>,
}

impl Table {
    /// The number of `entry`, which is added if it is not there.
    pub(super) fn put(&mut self, entry: Shared) -> Result<u32, Errno> {
        if let Some(&number) = self.seen.get(&entry) {
            return Ok(number);
        }
        let number = u32::try_from(self.seen.len()).map_err(|_| Errno::FBIG)?;
        entry.write(&mut self.bytes);
        self.seen.insert(entry, number);
        Ok(number)
    }
}
