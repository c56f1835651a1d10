//! Working out the merged tree and writing it down.
//!
//! Directories are merged breadth first, so the children of each are written
//! as neighbours; what is held is the index itself and the directory at hand.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::Stat;
use rustix::io::Errno;

use super::format::{
    CHECKSUM_AT, HEADER, MAGIC, MAX_LAYERS, MAX_NODES, NODE, Node, SECTIONS, SECTIONS_AT, Shared, VERSION,
};
use super::merge::{Merged, Seen};
use super::pool::{Bytes, Table};
use super::read::checksum;
use super::xattrs;
use crate::beneath;
use crate::filesystem::{Attributes, kind};
use crate::record::{Owners, Record};

/// A layer to be indexed.
pub struct Layer<'a> {
    /// Its directory.
    pub directory: BorrowedFd<'a>,
    /// Owners, modes and devices that its files really have, where the disk
    /// could not hold them.
    pub owners: Option<&'a Owners>,
}

/// Says which id of the image an id on disk stands for: first of a user, then
/// of a group.
pub type Reverse<'a> = &'a dyn Fn(u32, u32) -> (u32, u32);

/// Indexes `layers`, topmost first, and writes the result to `file`, which
/// should be empty. `reverse` turns owners on disk into those of the image.
///
/// # Errors
/// What the disk says; EFBIG for more than 2^31 files or 255 layers.
pub fn build(layers: &[Layer<'_>], reverse: Reverse<'_>, file: &File) -> io::Result<()> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(Errno::FBIG.into());
    }
    let mut draft = Draft::new(layers, reverse);
    draft.root()?;
    while let Some(directory) = draft.pending.pop_front() {
        draft.directory(&directory)?;
    }
    let bytes = draft.finish()?;
    std::os::unix::fs::FileExt::write_all_at(file, &bytes, 0)?;
    Ok(())
}

/// A directory whose children are not written yet. Its path is not kept: of many deep ones that would be more than
/// all else.
struct Pending {
    node: u32,
    layers: Vec<u8>,
}

struct Draft<'a> {
    layers: &'a [Layer<'a>],
    reverse: Reverse<'a>,
    pending: VecDeque<Pending>,
    nodes: Vec<Node>,
    table: Table,
    names: Bytes,
    xattrs: Bytes,
    /// Nodes by layer, device and inode number, of files that have several names.
    links: HashMap<(u8, u64, u64), Vec<u32>>,
}

impl<'a> Draft<'a> {
    fn new(layers: &'a [Layer<'a>], reverse: Reverse<'a>) -> Self {
        Self {
            layers,
            reverse,
            pending: VecDeque::new(),
            nodes: Vec::new(),
            table: Table::default(),
            names: Bytes::default(),
            xattrs: Bytes::default(),
            links: HashMap::new(),
        }
    }

    fn root(&mut self) -> Result<(), Errno> {
        let Some(top) = self.layers.first() else { return Err(Errno::INVAL) };
        let stat = beneath::stat_of(top.directory)?;
        if !beneath::is_directory(&stat) {
            return Err(Errno::NOTDIR);
        }
        let path = beneath::magic_path(top.directory).into_bytes();
        let set = self.xattr_set(&[&path[..], b"/."].concat())?;
        let node = self.node(0, b"", (0, &stat), (b"", set))?;
        let all = (0..self.layers.len()).filter_map(|layer| u8::try_from(layer).ok()).collect();
        self.nodes.push(node);
        self.pending.push_back(Pending { node: 0, layers: all });
        Ok(())
    }

    fn directory(&mut self, directory: &Pending) -> Result<(), Errno> {
        let path = self.path(directory.node)?;
        let mut merged = Merged::default();
        let mut open = Vec::with_capacity(directory.layers.len());
        for &layer in &directory.layers {
            let Some(root) = self.layers.get(usize::from(layer)) else { return Err(Errno::INVAL) };
            let fd = beneath::open(root.directory, &path, beneath::DIRECTORY)?;
            let hides = merged.add(layer, &fd)?;
            open.push((layer, fd));
            if hides {
                break;
            }
        }
        let first = self.next()?;
        for (name, seen) in &merged.entries {
            let (layer, stat) = match seen {
                Seen::Hidden => continue,
                Seen::Other { layer, stat } => (*layer, stat),
                Seen::Directory { layers, stat, .. } => (layers.first().copied().unwrap_or(0), stat),
            };
            let Some((_, parent)) = open.iter().find(|(number, _)| *number == layer) else { return Err(Errno::INVAL) };
            let child = (&name[..], &join(&path, name)[..]);
            let number = self.child(directory.node, child, (layer, stat), parent.as_fd())?;
            if let Seen::Directory { layers, .. } = seen {
                self.pending.push_back(Pending { node: number, layers: layers.clone() });
            }
        }
        let count = self.next()? - first;
        if let Some(node) = self.nodes.get_mut(directory.node as usize) {
            node.extent = Node::pair(first, count);
        }
        Ok(())
    }

    /// The path of a node that is written already.
    fn path(&self, node: u32) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut here = node;
        while here != 0 {
            let node = self.nodes.get(here as usize).ok_or(Errno::INVAL)?;
            let end = node.name as usize + usize::from(node.name_length);
            names.push(self.names.bytes.get(node.name as usize..end).ok_or(Errno::INVAL)?);
            here = node.parent;
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    fn next(&self) -> Result<u32, Errno> {
        u32::try_from(self.nodes.len()).ok().filter(|&next| (next as usize) < MAX_NODES).ok_or(Errno::FBIG)
    }

    fn child(
        &mut self,
        parent: u32,
        (name, path): (&[u8], &[u8]),
        (layer, stat): (u8, &Stat),
        directory: BorrowedFd<'_>,
    ) -> Result<u32, Errno> {
        let number = self.next()?;
        let is_link = stat.st_mode & kind::MASK == kind::SYMLINK;
        let mut magic = beneath::magic_path(directory).into_bytes();
        magic.push(b'/');
        magic.extend_from_slice(name);
        let set = if is_link { 0 } else { self.xattr_set(&magic)? };
        let mut node = self.node(parent, name, (layer, stat), (path, set))?;
        if is_link {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes();
            let length = u32::try_from(target.len()).map_err(|_| Errno::NAMETOOLONG)?;
            node.extent = Node::pair(self.names.put(&target)?, length);
        }
        if stat.st_nlink > 1 && !beneath::is_directory(stat) {
            self.links.entry((layer, stat.st_dev, stat.st_ino)).or_default().push(number);
        }
        self.nodes.push(node);
        Ok(number)
    }

    fn node(
        &mut self,
        parent: u32,
        name: &[u8],
        (layer, stat): (u8, &Stat),
        (path, xattrs): (&[u8], u32),
    ) -> Result<Node, Errno> {
        let shown = self.shown(layer, stat, path);
        let shared = Shared { mode: shown.mode, uid: shown.uid, gid: shown.gid, rdev: shown.rdev, xattrs };
        Ok(Node {
            name: self.names.put(name)?,
            parent,
            attributes: self.table.put(shared)?,
            group: 0,
            extent: if shown.kind() == kind::REGULAR { shown.size } else { 0 },
            seconds: shown.modified.seconds,
            nanoseconds: shown.modified.nanoseconds,
            blocks: u32::try_from(shown.blocks).unwrap_or(u32::MAX),
            name_length: u8::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?,
            layer,
        })
    }

    /// The attributes that the file has in the image.
    fn shown(&self, layer: u8, stat: &Stat, path: &[u8]) -> Attributes {
        let mut shown = beneath::attributes(stat, 0);
        (shown.uid, shown.gid) = (self.reverse)(shown.uid, shown.gid);
        let owners = self.layers.get(usize::from(layer)).and_then(|layer| layer.owners);
        if let Some(record) = owners.and_then(|owners| owners.of(path)) {
            Record::apply(record, &mut shown);
        }
        shown
    }

    fn xattr_set(&mut self, path: &[u8]) -> Result<u32, Errno> {
        let mut set = xattrs::read_all(path)?;
        if set.is_empty() {
            return Ok(0);
        }
        let root = self.disk_root();
        for (name, value) in &mut set {
            let image = match name.as_slice() {
                b"security.capability" => xattrs::plain_capability(value, root),
                b"system.posix_acl_access" | b"system.posix_acl_default" => xattrs::image_list(value, self.reverse),
                _ => None,
            };
            *value = image.unwrap_or_else(|| std::mem::take(value));
        }
        let at = self.xattrs.put(&xattrs::encode(&set)?)?;
        at.checked_add(1).ok_or(Errno::FBIG)
    }

    /// The id on disk of the image's root, judged by the topmost layer.
    fn disk_root(&self) -> u32 {
        let owner =
            self.layers.first().and_then(|top| beneath::stat_of(top.directory).ok()).map_or(0, |stat| stat.st_uid);
        if (self.reverse)(owner, owner).0 == 0 { owner } else { 0 }
    }

    /// Writes the groups of hard links down, and where each is in their nodes.
    fn groups(&mut self) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        let mut groups: Vec<_> =
            std::mem::take(&mut self.links).into_values().filter(|group| group.len() > 1).collect();
        groups.sort_unstable();
        for group in groups {
            let at = u32::try_from(bytes.len() + 1).map_err(|_| Errno::FBIG)?;
            bytes.extend_from_slice(&u32::try_from(group.len()).map_err(|_| Errno::FBIG)?.to_le_bytes());
            for number in group {
                bytes.extend_from_slice(&number.to_le_bytes());
                if let Some(node) = self.nodes.get_mut(number as usize) {
                    node.group = at;
                }
            }
        }
        Ok(bytes)
    }

    fn finish(mut self) -> Result<Vec<u8>, Errno> {
        let links = self.groups()?;
        let mut nodes = Vec::with_capacity(self.nodes.len() * NODE);
        self.nodes.iter().for_each(|node| node.write(&mut nodes));
        let sections: [&[u8]; SECTIONS] = [&nodes, &self.table.bytes, &self.names.bytes, &self.xattrs.bytes, &links];
        let total = HEADER + sections.iter().map(|section| section.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(total);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.next()?.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.layers.len()).map_err(|_| Errno::FBIG)?.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(total as u64).to_le_bytes());
        bytes.extend_from_slice(&[0; SECTIONS_AT - CHECKSUM_AT]);
        let mut start = HEADER as u64;
        for section in sections {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
            start += section.len() as u64;
        }
        bytes.resize(HEADER, 0);
        for section in sections {
            bytes.extend_from_slice(section);
        }
        let sum = checksum(&bytes).to_le_bytes();
        if let Some(field) = bytes.get_mut(CHECKSUM_AT..CHECKSUM_AT + 8) {
            field.copy_from_slice(&sum);
        }
        Ok(bytes)
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}
