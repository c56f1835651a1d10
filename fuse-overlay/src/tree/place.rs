//! Where a node is: in the upper directory, in the layers, or both; and opening it there.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Tree;
use super::descriptors::Key;
use super::nodes::{Name, Released};
use super::work::Work;
use crate::beneath;
use crate::filesystem::{ROOT, kind};
use crate::index::Position;

/// Where a node is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// File type bits.
    pub kind: u32,
    /// Of a directory: the lower one that shows through. Of others: what they
    /// are as long as they are not in the upper directory.
    pub lower: Option<Position>,
    /// Whether the upper directory has it.
    pub upper: bool,
}

impl Tree {
    /// Where the node is.
    pub(super) fn place(&self, ino: u64) -> Result<Place, Errno> {
        if let Some(node) = self.nodes.get(ino)
            && !(node.upper.is_none() && node.gone)
        {
            return Ok(Place { kind: node.kind, lower: node.lower, upper: node.upper.is_some() });
        }
        let position = self.index.position(ino).ok_or(Errno::STALE)?;
        Ok(Place { kind: self.index.entry(position)?.kind(), lower: Some(position), upper: false })
    }

    /// The place of a directory; ENOTDIR for anything else.
    pub(super) fn directory(&self, ino: u64) -> Result<Place, Errno> {
        let place = self.place(ino)?;
        if place.kind == kind::DIRECTORY { Ok(place) } else { Err(Errno::NOTDIR) }
    }

    /// The upper directory and what belongs to it; EROFS without one.
    pub(super) fn work(&mut self) -> Result<&mut Work, Errno> {
        self.work.as_mut().ok_or(Errno::ROFS)
    }

    /// A name of the node: its directory and entry.
    pub(super) fn name_of(&self, ino: u64) -> Result<Name, Errno> {
        if let Some(node) = self.nodes.get(ino)
            && (node.upper.is_some() || node.gone)
        {
            return node.names.first().cloned().ok_or(Errno::NOENT);
        }
        let position = self.index.position(ino).ok_or(Errno::STALE)?;
        let entry = self.index.entry(position)?;
        Ok((self.index.parent(position)?.ino(), entry.name.into()))
    }

    /// A descriptor of a node in the upper directory: for reading and writing
    /// of a regular file, for listing of a directory, else one that only points.
    pub(super) fn handle(&mut self, ino: u64) -> Result<Arc<OwnedFd>, Errno> {
        let mut way = Vec::new();
        let mut here = ino;
        let mut fd = loop {
            if let Some(fd) = self.held(here)? {
                break fd;
            }
            let (parent, name) = self.name_of(here)?;
            way.push((here, name));
            here = parent;
        };
        while let Some((child, name)) = way.pop() {
            let kind = self.disk_kind(self.place(child)?.kind);
            let opened = open_entry(&fd, &name, kind)?;
            fd = self.open.put(Key::Upper(child), opened);
        }
        Ok(fd)
    }

    fn held(&mut self, ino: u64) -> Result<Option<Arc<OwnedFd>>, Errno> {
        let node = self.nodes.get(ino).filter(|node| node.upper.is_some()).ok_or(Errno::STALE)?;
        let Some(pinned) = node.pinned.clone() else { return Ok(self.open.get(Key::Upper(ino))) };
        let kind = self.disk_kind(node.kind);
        // The root was opened for use.
        if ino == ROOT
            || !matches!(kind, kind::REGULAR | kind::DIRECTORY)
            || !rustix::fs::fcntl_getfl(&*pinned)?.contains(OFlags::PATH)
        {
            return Ok(Some(pinned));
        }
        let usable = Arc::new(reopen(&pinned, kind)?);
        self.nodes.get_mut(ino)?.pinned = Some(Arc::clone(&usable));
        Ok(Some(usable))
    }

    /// A descriptor for reading a file of the layers.
    pub(super) fn lower_file(&mut self, position: Position) -> Result<Arc<OwnedFd>, Errno> {
        let key = Key::Lower(position.ino());
        if let Some(fd) = self.open.get(key) {
            return Ok(fd);
        }
        let fd = self.open_lower(position)?;
        Ok(self.open.put(key, fd))
    }

    /// The same, not kept.
    pub(super) fn open_lower(&mut self, position: Position) -> Result<OwnedFd, Errno> {
        let layer = self.index.entry(position)?.layer;
        let directory = self.lower_directory(self.index.parent(position)?, layer)?;
        let name = beneath::entry_name(self.index.entry(position)?.name).map_err(|_| Errno::IO)?;
        // Layers do not change, their access times included; only a file's owner may say so.
        match rustix::fs::openat(&directory, name, beneath::READ | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(directory, name, beneath::READ, Mode::empty()),
            other => other,
        }
    }

    /// A directory in one of the layers that have it. Files of a directory are
    /// mostly read one after the other, so only the first walks the way.
    fn lower_directory(&mut self, position: Position, layer: u8) -> Result<Arc<OwnedFd>, Errno> {
        let key = Key::LowerDirectory(position.ino(), layer);
        if let Some(fd) = self.open.get(key) {
            return Ok(fd);
        }
        let root = self.layers.get(usize::from(layer)).ok_or(Errno::IO)?;
        let fd = beneath::open(root.as_fd(), &self.index.path(position)?, beneath::POINT | OFlags::DIRECTORY)?;
        Ok(self.open.put(key, fd))
    }

    /// Keeps a node that is about to lose its last name, if anybody knows it.
    pub(super) fn pin(&mut self, ino: u64) -> Result<(), Errno> {
        let known = self.nodes.lookups(ino) > 0;
        let last = self.nodes.get(ino).is_some_and(|node| node.names.len() <= 1 && node.pinned.is_none());
        if !known || !last || ino == ROOT {
            return Ok(());
        }
        let fd = match self.open.get(Key::Upper(ino)) {
            Some(fd) => fd,
            // Most are never used again, and one that points is had for less.
            None => {
                let (parent, name) = self.name_of(ino)?;
                Arc::new(rustix::fs::openat(self.handle(parent)?, &*name, beneath::POINT, Mode::empty())?)
            }
        };
        self.nodes.get_mut(ino)?.pinned = Some(fd);
        Ok(())
    }

    /// Notes that a name is gone, and lets go of the node if nobody knows it.
    pub(super) fn unname(&mut self, ino: u64, parent: u64, name: &[u8]) {
        self.nodes.drop_name(ino, parent, name);
        if self.nodes.get(ino).is_some_and(|node| node.names.is_empty()) && self.nodes.lookups(ino) == 0 {
            self.let_go(ino);
        }
    }

    /// Forgets a node as far as that can be done, and closes what is open of it.
    pub(super) fn let_go(&mut self, ino: u64) {
        drop(self.release(ino));
    }

    /// As [`Tree::let_go`], but what is open comes back: closing what has no name any more takes the
    /// disk's time, and others need not wait for it.
    pub(super) fn release(&mut self, ino: u64) -> [Option<Arc<OwnedFd>>; 3] {
        let mut above = Vec::new();
        let open = self.release_one(ino, &mut above);
        while let Some(directory) = above.pop() {
            // One that the kernel has forgotten was known for this only.
            if self.nodes.lookups(directory) == 0 {
                drop(self.release_one(directory, &mut above));
            }
        }
        open
    }

    /// Forgets one node, and adds the directories to `above` that it was named in.
    fn release_one(&mut self, ino: u64, above: &mut Vec<u64>) -> [Option<Arc<OwnedFd>>; 3] {
        let Released::Gone(node) = self.nodes.release(ino) else { return [None, None, None] };
        let node = node.unwrap_or_default();
        above.extend(node.names.iter().map(|(directory, _)| *directory));
        [node.pinned, self.open.remove(Key::Upper(ino)), self.open.remove(Key::Lower(ino))]
    }
}

/// Opens what a descriptor points at.
fn reopen(fd: &OwnedFd, kind: u32) -> Result<OwnedFd, Errno> {
    let flags = if kind == kind::DIRECTORY { OFlags::RDONLY | OFlags::DIRECTORY } else { OFlags::RDWR };
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(beneath::magic_path(fd), flags, Mode::empty())
}

/// Opens an entry of an upper directory the way a node of this kind is used.
pub(super) fn open_entry(directory: &OwnedFd, name: &[u8], kind: u32) -> Result<OwnedFd, Errno> {
    let flags = match kind {
        kind::DIRECTORY => beneath::DIRECTORY,
        kind::REGULAR => {
            let both = (beneath::READ - OFlags::RDONLY) | OFlags::RDWR;
            match rustix::fs::openat(directory, name, both, Mode::empty()) {
                Err(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => beneath::READ,
                other => return other,
            }
        }
        _ => beneath::POINT,
    };
    rustix::fs::openat(directory, name, flags, Mode::empty())
}
