//! The layout of an index file: fields, their places, and the checksum.

/// First bytes of an index.
pub(super) const MAGIC: [u8; 8] = *b"PYBOXIDX";
/// Raised with every change of the layout.
pub(super) const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER: usize = 128;
/// Bytes of a node.
pub(super) const NODE: usize = 44;
/// Bytes of an entry of the attribute table.
pub(super) const ATTRIBUTES: usize = 20;
/// As many nodes as leave half of the 32-bit inode numbers to the upper directory.
pub(super) const MAX_NODES: usize = (1 << 31) - 2;
/// Layer numbers are bytes.
pub(super) const MAX_LAYERS: usize = 255;

/// Where the checksum stands in the header.
pub(super) const CHECKSUM_AT: usize = 32;
/// Where the table of sections begins: offset and length of each.
pub(super) const SECTIONS_AT: usize = 40;
/// How many sections there are.
pub(super) const SECTIONS: usize = 5;

/// The place of a node in an index. The root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(crate) u32);

impl Position {
    /// The root of the tree.
    pub const ROOT: Self = Self(0);

    /// The inode number under which the node is shown.
    #[must_use]
    pub fn ino(self) -> u64 {
        u64::from(self.0) + 1
    }

    /// The place as a number.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// A node as it stands in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// Offset in the names.
    pub name: u32,
    /// The parent; the root's is itself.
    pub parent: u32,
    /// Number in the attribute table.
    pub attributes: u32,
    /// Offset in the links plus one; 0 for what has one name.
    pub group: u32,
    /// Size of a file; first child and number of children of a directory;
    /// offset in the names and length of a link's target.
    pub extent: u64,
    /// Time of modification.
    pub seconds: i64,
    /// Nanoseconds of it.
    pub nanoseconds: u32,
    /// Blocks of 512 bytes.
    pub blocks: u32,
    /// Bytes of the name.
    pub name_length: u8,
    /// The layer that has the contents.
    pub layer: u8,
}

impl Node {
    /// Two halves in one field.
    pub(super) fn pair(first: u32, second: u32) -> u64 {
        u64::from(first) | (u64::from(second) << 32)
    }

    /// What [`Node::pair`] put together.
    pub(super) fn halves(self) -> (u32, u32) {
        #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let first = self.extent as u32;
        (first, (self.extent >> 32) as u32)
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        for field in [self.name, self.parent, self.attributes, self.group] {
            into.extend_from_slice(&field.to_le_bytes());
        }
        into.extend_from_slice(&self.extent.to_le_bytes());
        into.extend_from_slice(&self.seconds.to_le_bytes());
        into.extend_from_slice(&self.nanoseconds.to_le_bytes());
        into.extend_from_slice(&self.blocks.to_le_bytes());
        into.extend_from_slice(&[self.name_length, self.layer, 0, 0]);
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        Some(Self {
            name: u32_at(record, 0)?,
            parent: u32_at(record, 4)?,
            attributes: u32_at(record, 8)?,
            group: u32_at(record, 12)?,
            extent: u64_at(record, 16)?,
            seconds: u64_at(record, 24)?.cast_signed(),
            nanoseconds: u32_at(record, 32)?,
            blocks: u32_at(record, 36)?,
            name_length: *record.get(40)?,
            layer: *record.get(41)?,
        })
    }
}

/// What nodes share: an entry of the attribute table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shared {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    /// Offset in the xattrs plus one; 0 for none.
    pub xattrs: u32,
}

impl Shared {
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        for field in [self.mode, self.uid, self.gid, self.rdev, self.xattrs] {
            into.extend_from_slice(&field.to_le_bytes());
        }
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        Some(Self {
            mode: u32_at(record, 0)?,
            uid: u32_at(record, 4)?,
            gid: u32_at(record, 8)?,
            rdev: u32_at(record, 12)?,
            xattrs: u32_at(record, 16)?,
        })
    }
}

/// The 16-bit number at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

/// The 32-bit number at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

/// The 64-bit number at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// A checksum against damage, not against malice: eight bytes a step, since the
/// whole file is summed whenever it is mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksum(u64);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Adds bytes; all pieces but the last must be a multiple of eight long.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0_u8; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.step(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
        }
    }

    fn step(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    }

    pub(super) fn end(self) -> u64 {
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        folded ^ (folded >> 32)
    }
}
