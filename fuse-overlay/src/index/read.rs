//! Looking things up in an index.
//!
//! The bytes are foreign: each access is checked, and what does not add up is
//! EIO for whoever asked, never a wrong byte of memory.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use super::format::{
    ATTRIBUTES, CHECKSUM_AT, Checksum, HEADER, MAGIC, MAX_NODES, NODE, Node, Position, SECTIONS, SECTIONS_AT, Shared,
    VERSION, u32_at, u64_at,
};
use super::xattrs::Set;
use crate::filesystem::{Attributes, Time, kind};
use crate::mapping::Mapping;

#[derive(Debug)]
enum Bytes {
    Mapped(Mapping),
    Held(Vec<u8>),
}

/// The merged tree of some layers.
#[derive(Debug)]
pub struct Index {
    bytes: Bytes,
    count: u32,
    layers: u32,
    identity: u64,
    nodes: Range<usize>,
    attributes: Range<usize>,
    names: Range<usize>,
    xattrs: Range<usize>,
    links: Range<usize>,
}

/// A node of an [`Index`].
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its name; empty for the root.
    pub name: &'a [u8],
    /// The layer that holds its contents; 0 is the topmost.
    pub layer: u8,
    node: Node,
    shared: Shared,
}

impl Index {
    /// Maps an index and checks that it is whole.
    ///
    /// # Errors
    /// `InvalidData` for what is no index of this version or is damaged.
    pub fn open(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| damaged("length"))?;
        if length < HEADER {
            return Err(damaged("length"));
        }
        // Read, not looked at through the mapping: pages that are merely
        // summed would count as this process's own.
        verify(file, length)?;
        Self::over(Bytes::Mapped(Mapping::of(file.as_fd(), length)?))
    }

    /// Reads an index from memory.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let mut sum = Summed::new();
        sum.add(&bytes);
        sum.end()?;
        Self::over(Bytes::Held(bytes))
    }

    fn over(bytes: Bytes) -> io::Result<Self> {
        let all = bytes.all();
        let header = all.get(..HEADER).ok_or_else(|| damaged("length"))?;
        if header.get(..8) != Some(&MAGIC) || u32_at(header, 8) != Some(VERSION) {
            return Err(damaged("magic or version"));
        }
        if u64_at(header, 24) != Some(all.len() as u64) {
            return Err(damaged("length"));
        }
        let section = |number: usize| -> Option<Range<usize>> {
            let at = SECTIONS_AT + number * 16;
            let start = usize::try_from(u64_at(header, at)?).ok()?;
            let end = start.checked_add(usize::try_from(u64_at(header, at + 8)?).ok()?)?;
            (start >= HEADER && end <= all.len()).then_some(start..end)
        };
        let mut sections = Vec::with_capacity(SECTIONS);
        for number in 0..SECTIONS {
            sections.push(section(number).ok_or_else(|| damaged("sections"))?);
        }
        let [nodes, attributes, names, xattrs, links] =
            <[Range<usize>; SECTIONS]>::try_from(sections).map_err(|_| damaged("sections"))?;
        let (Some(count), Some(layers), Some(identity)) =
            (u32_at(header, 12), u32_at(header, 16), u64_at(header, CHECKSUM_AT))
        else {
            return Err(damaged("header"));
        };
        if count == 0 || count as usize > MAX_NODES || nodes.len() != count as usize * NODE {
            return Err(damaged("nodes"));
        }
        let index = Self { count, layers, identity, nodes, attributes, names, xattrs, links, bytes };
        let root = index.entry(Position::ROOT).map_err(|_| damaged("root"))?;
        if root.kind() == kind::DIRECTORY { Ok(index) } else { Err(damaged("root")) }
    }

    /// How many nodes there are, the root included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there always is a root")]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// How many layers the tree is made of.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// A number that tells this index from others.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The node at `position`.
    ///
    /// # Errors
    /// EIO where the index is damaged.
    pub fn entry(&self, position: Position) -> Result<Entry<'_>, Errno> {
        self.try_entry(position).ok_or(Errno::IO)
    }

    /// The place with this number, if the index has it.
    #[must_use]
    pub fn position(&self, ino: u64) -> Option<Position> {
        let number = u32::try_from(ino.checked_sub(1)?).ok()?;
        (number < self.count).then_some(Position(number))
    }

    fn try_entry(&self, position: Position) -> Option<Entry<'_>> {
        let node = self.node(position)?;
        let at = (node.attributes as usize).checked_mul(ATTRIBUTES)?;
        let record = self.section(&self.attributes)?.get(at..at.checked_add(ATTRIBUTES)?)?;
        let name = self.text(node.name, usize::from(node.name_length))?;
        Some(Entry { position, name, layer: node.layer, node, shared: Shared::read(record)? })
    }

    fn node(&self, position: Position) -> Option<Node> {
        let at = position.number().checked_mul(NODE)?;
        Node::read(self.section(&self.nodes)?.get(at..at.checked_add(NODE)?)?)
    }

    fn section(&self, range: &Range<usize>) -> Option<&[u8]> {
        self.bytes.all().get(range.clone())
    }

    fn text(&self, start: u32, length: usize) -> Option<&[u8]> {
        let start = start as usize;
        self.section(&self.names)?.get(start..start.checked_add(length)?)
    }

    /// The children of a directory, sorted by name; none for what is none.
    #[must_use]
    pub fn children(&self, entry: &Entry<'_>) -> Range<u32> {
        let (first, count) = entry.node.halves();
        let end = first.checked_add(count).filter(|&end| end <= self.count && first > entry.position.0);
        match end {
            Some(end) if entry.kind() == kind::DIRECTORY => first..end,
            _ => 0..0,
        }
    }

    /// The child of `directory` called `name`.
    ///
    /// # Errors
    /// EIO where the index is damaged.
    pub fn find(&self, directory: Position, name: &[u8]) -> Result<Option<Position>, Errno> {
        let Range { start: mut low, end: mut high } = self.children(&self.entry(directory)?);
        while low < high {
            let middle = low + (high - low) / 2;
            let node = self.node(Position(middle)).ok_or(Errno::IO)?;
            let here = self.text(node.name, usize::from(node.name_length)).ok_or(Errno::IO)?;
            match here.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                // A node that two directories claim would make a tree with more ways than nodes.
                Ordering::Equal if node.parent != directory.0 => return Err(Errno::IO),
                Ordering::Equal => return Ok(Some(Position(middle))),
            }
        }
        Ok(None)
    }

    /// The directory that the node stands in.
    ///
    /// # Errors
    /// EIO where the index is damaged.
    pub fn parent(&self, position: Position) -> Result<Position, Errno> {
        let parent = self.node(position).ok_or(Errno::IO)?.parent;
        if parent < position.0 || position == Position::ROOT { Ok(Position(parent)) } else { Err(Errno::IO) }
    }

    /// The path of a node beneath its layer; empty for the root.
    ///
    /// # Errors
    /// EIO where the index is damaged, also if a name of it is none.
    pub fn path(&self, position: Position) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut here = position;
        while here != Position::ROOT {
            names.push(crate::beneath::entry_name(self.entry(here)?.name).map_err(|_| Errno::IO)?);
            here = self.parent(here)?;
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for what is none, EIO where the index is damaged.
    pub fn target(&self, entry: &Entry<'_>) -> Result<&[u8], Errno> {
        if entry.kind() != kind::SYMLINK {
            return Err(Errno::INVAL);
        }
        let (start, length) = entry.node.halves();
        self.text(start, length as usize).ok_or(Errno::IO)
    }

    /// Extended attributes: names and values.
    pub fn xattrs(&self, entry: &Entry<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let set = entry.shared.xattrs.checked_sub(1).and_then(|at| {
            let pool = self.section(&self.xattrs)?;
            Set::at(pool.get(at as usize..)?)
        });
        set.into_iter().flatten()
    }

    /// Whether any node has an extended attribute.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        !self.xattrs.is_empty()
    }

    /// All names of the file that this node is a name of, itself included;
    /// none if it has one name only. Directories have no others, and only what
    /// says so itself is in a group: no name leads back up.
    pub fn links(&self, entry: &Entry<'_>) -> impl Iterator<Item = Position> {
        let (number, kind) = (entry.node.group, entry.kind());
        let group = number.checked_sub(1).filter(|_| kind != kind::DIRECTORY).and_then(|at| {
            let pool = self.section(&self.links)?.get(at as usize..)?;
            let length = (u32_at(pool, 0)? as usize).checked_mul(4)?;
            pool.get(4..length.checked_add(4)?)
        });
        let words = group.unwrap_or_default().as_chunks::<4>().0;
        let is_of_it = move |position: &Position| {
            self.try_entry(*position).is_some_and(|other| other.node.group == number && other.kind() == kind)
        };
        words.iter().map(|word| Position(u32::from_le_bytes(*word))).filter(is_of_it)
    }

    /// The node under whose number the file is shown: the first of its names.
    #[must_use]
    pub fn first_link(&self, entry: &Entry<'_>) -> Position {
        if entry.node.group == 0 { entry.position } else { self.links(entry).next().unwrap_or(entry.position) }
    }

    /// What `stat` shows.
    #[must_use]
    pub fn attributes(&self, entry: &Entry<'_>) -> Attributes {
        let time = Time { seconds: entry.node.seconds, nanoseconds: entry.node.nanoseconds.min(999_999_999) };
        let links = if entry.node.group == 0 { 1 } else { self.links(entry).count().max(1) };
        Attributes {
            ino: self.first_link(entry).ino(),
            size: entry.size(),
            blocks: u64::from(entry.node.blocks),
            accessed: time,
            modified: time,
            changed: time,
            mode: entry.shared.mode,
            links: u32::try_from(links).unwrap_or(u32::MAX),
            uid: entry.shared.uid,
            gid: entry.shared.gid,
            rdev: entry.shared.rdev,
        }
    }
}

impl Entry<'_> {
    /// The file type bits of the mode.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.shared.mode & kind::MASK
    }

    /// Bytes of a file or of a link's target.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind() {
            kind::REGULAR => self.node.extent,
            kind::SYMLINK => u64::from(self.node.halves().1),
            kind::DIRECTORY => 4096,
            _ => 0,
        }
    }

    /// Whether the file has more than one name.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.node.group != 0
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping.bytes(),
            Self::Held(bytes) => bytes,
        }
    }
}

/// Sums a file from its beginning, the place of the checksum itself taken as zero.
struct Summed {
    sum: Checksum,
    expected: Option<u64>,
}

impl Summed {
    fn new() -> Self {
        Self { sum: Checksum::new(), expected: None }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        if self.expected.is_none() {
            let (head, rest) = bytes.split_at(bytes.len().min(HEADER));
            self.expected = u64_at(head, CHECKSUM_AT);
            self.sum.add(head.get(..CHECKSUM_AT).unwrap_or_default());
            self.sum.add(&[0; 8]);
            self.sum.add(head.get(CHECKSUM_AT + 8..).unwrap_or_default());
            bytes = rest;
        }
        self.sum.add(bytes);
    }

    fn end(self) -> io::Result<()> {
        if self.expected == Some(self.sum.end()) { Ok(()) } else { Err(damaged("checksum")) }
    }
}

/// The checksum of a whole file that is in memory.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mut summed = Summed::new();
    summed.add(bytes);
    summed.sum.end()
}

fn verify(file: &File, length: usize) -> io::Result<()> {
    let mut summed = Summed::new();
    let mut buffer = vec![0_u8; 1 << 18];
    let mut done = 0;
    while done < length {
        let want = buffer.len().min(length - done);
        let piece = buffer.get_mut(..want).unwrap_or_default();
        std::os::unix::fs::FileExt::read_exact_at(file, piece, done as u64)?;
        summed.add(piece);
        done += want;
    }
    summed.end()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no index, or a damaged one: {what}"))
}
