//! Copying nodes of the layers into the upper directory before they change.
//!
//! A copy is made in the work directory and gets its name when it is whole, so
//! whatever happens on the way the tree shows the old file or the new one. All
//! names of a hard-linked file are given to the copy at once: it stays one file.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::Tree;
use super::attributes::{PERMISSIONS, change_mode, change_owner, set_times};
use super::copying::copy_contents;
use super::lookup::{Seen, is_hidden_by_file, look};
use super::nodes::{Name, Node};
use crate::beneath;
use crate::config::Durability;
use crate::filesystem::{Attributes, SetTime, Time, device_parts, kind};
use crate::index::Position;

/// Which node of the index a copy was made of: number of the index, then place.
const ORIGIN: &str = "user.pybox.origin";

/// Contents that were copied before the tree was locked.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The name in the work directory.
    pub name: Vec<u8>,
    /// The copy.
    pub fd: OwnedFd,
}

impl Tree {
    /// Makes sure that the upper directory has the node with its contents.
    pub(super) fn raise(&mut self, ino: u64) -> Result<(), Errno> {
        self.raise_for(ino, None)
    }

    /// As [`Tree::raise`], for one who will make it `size` bytes long: what
    /// lies behind is not copied.
    pub(super) fn raise_for(&mut self, ino: u64, size: Option<u64>) -> Result<(), Errno> {
        self.work()?;
        let place = self.place(ino)?;
        if place.upper {
            return Ok(());
        }
        if place.kind == kind::DIRECTORY {
            return self.raise_directory(ino);
        }
        self.raise_node(ino, size, None)
    }

    /// Makes sure that the upper directory has a directory, and all above it.
    pub(super) fn raise_directory(&mut self, ino: u64) -> Result<(), Errno> {
        self.work()?;
        let mut missing = Vec::new();
        let mut here = ino;
        while !self.directory(here)?.upper {
            missing.push(here);
            here = self.name_of(here)?.0;
        }
        while let Some(directory) = missing.pop() {
            self.raise_one_directory(directory)?;
        }
        Ok(())
    }

    fn raise_one_directory(&mut self, ino: u64) -> Result<(), Errno> {
        let position = self.directory(ino)?.lower.ok_or(Errno::STALE)?;
        let attributes = self.index.attributes(&self.index.entry(position)?);
        let (parent, name) = self.name_of(ino)?;
        let above = self.handle(parent)?;
        if let Seen::Present(stat) = look(&above, &name)? {
            // It is there, and was forgotten: who asks came to something in it by a handle.
            let lower = self.directory(parent)?.lower;
            let found = self.adopt(parent, &name, &stat, lower)?.ino;
            return if found == ino { Ok(()) } else { Err(Errno::STALE) };
        }
        let aside = self.work()?.name();
        let work = self.work()?;
        rustix::fs::mkdirat(work.directory(), &aside, Mode::RWXU)?;
        let made = super::place::open_entry(work.directory(), &aside, kind::DIRECTORY)
            .and_then(|fd| self.resemble(&fd, position, &attributes).map(|()| fd))
            .and_then(|fd| keeping_times(&above, || self.work()?.settle(&aside, &above, &name, true)).map(|()| fd));
        let fd = made.inspect_err(|_| self.abandon(&aside))?;
        let upper = beneath::stat_of(&fd)?.st_ino;
        let record = self.record_for(&attributes);
        let node = self.nodes.raise(ino, kind::DIRECTORY, upper);
        node.lower = Some(position);
        node.record = record;
        self.nodes.add_name(ino, parent, &name);
        self.open.put(super::descriptors::Key::Upper(ino), fd);
        Ok(())
    }

    /// Copies what is no directory up, with contents that may be there already.
    pub(super) fn raise_node(&mut self, ino: u64, size: Option<u64>, ready: Option<Prepared>) -> Result<(), Errno> {
        let gone = self.nodes.get(ino).is_some_and(|node| node.gone);
        let position = self.place(ino)?.lower.ok_or(Errno::STALE)?;
        let names = if gone { Vec::new() } else { self.visible_links(position)? };
        let aside = match &ready {
            Some(prepared) => prepared.name.clone(),
            None => self.work()?.name(),
        };
        let attributes = self.index.attributes(&self.index.entry(position)?);
        let placed = self
            .imitate(&aside, position, (size, ready))
            .and_then(|fd| self.resemble(&fd, position, &attributes).map(|()| fd))
            .and_then(|fd| self.give_names(&aside, &fd, &names).map(|places| (fd, places)));
        let (fd, places) = placed.inspect_err(|_| self.abandon(&aside))?;
        let upper = beneath::stat_of(&fd)?.st_ino;
        let record = self.record_for(&attributes);
        let node = self.nodes.raise(ino, attributes.kind(), upper);
        node.lower = Some(position);
        node.record = record;
        if places.is_empty() {
            node.pinned = Some(std::sync::Arc::new(fd));
        } else {
            self.open.put(super::descriptors::Key::Upper(ino), fd);
        }
        for (parent, name) in places {
            self.nodes.add_name(ino, parent, &name);
        }
        self.open.remove(super::descriptors::Key::Lower(position.ino()));
        Ok(())
    }

    /// A node like the one at `position` in the work directory, contents included.
    fn imitate(
        &mut self,
        aside: &[u8],
        position: Position,
        (size, ready): (Option<u64>, Option<Prepared>),
    ) -> Result<OwnedFd, Errno> {
        if let Some(prepared) = ready {
            return Ok(prepared.fd);
        }
        let entry = self.index.entry(position)?;
        let attributes = self.index.attributes(&entry);
        let work = self.work.as_ref().ok_or(Errno::ROFS)?;
        match attributes.kind() {
            kind::REGULAR => {
                let to = work.file(aside, Mode::RUSR | Mode::WUSR)?;
                let length = size.map_or(attributes.size, |size| size.min(attributes.size));
                if length > 0 {
                    let from = self.lower_file(position)?;
                    copy_contents(&from, &to, length)?;
                    if self.durability == Durability::Synced {
                        rustix::fs::fsync(&to)?;
                    }
                }
                return Ok(to);
            }
            kind::SYMLINK => rustix::fs::symlinkat(self.index.target(&entry)?, work.directory(), aside)?,
            _ => self.make_special(aside, &attributes)?,
        }
        super::place::open_entry(work.directory(), aside, self.disk_kind(attributes.kind()))
    }

    fn make_special(&self, aside: &[u8], attributes: &Attributes) -> Result<(), Errno> {
        let work = self.work.as_ref().ok_or(Errno::ROFS)?;
        if self.ids.are_recorded() {
            return work.file(aside, Mode::RUSR | Mode::WUSR).map(drop);
        }
        make_device(work.directory(), aside, (attributes.mode, attributes.rdev))
    }

    /// Gives a copy what else belongs to its original.
    fn resemble(&mut self, fd: &OwnedFd, position: Position, attributes: &Attributes) -> Result<(), Errno> {
        let is_link = attributes.kind() == kind::SYMLINK;
        self.own(fd, attributes)?;
        if !is_link {
            let entry = self.index.entry(position)?;
            for (name, value) in self.index.xattrs(&entry) {
                match super::xattr::set(fd, name, value, XattrFlags::empty()) {
                    // The upper directory may be poorer than the layers.
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if attributes.kind() == kind::REGULAR {
            self.note_origin(fd, position);
        }
        let at = |time: Time| Some(SetTime::At(time));
        set_times(fd, at(attributes.accessed), at(attributes.modified))
    }

    /// Owner and mode of something new, which belongs to this process so far.
    pub(super) fn own(&mut self, fd: &OwnedFd, attributes: &Attributes) -> Result<(), Errno> {
        if self.ids.are_recorded() {
            return self.record_new(fd, attributes);
        }
        if (attributes.uid, attributes.gid) != self.creator {
            change_owner(fd, Some(attributes.uid), Some(attributes.gid))?;
        }
        if attributes.kind() == kind::SYMLINK {
            return Ok(());
        }
        change_mode(fd, attributes.mode & PERMISSIONS)
    }

    /// Puts a copy in all its places: directory and name of each.
    fn give_names(&mut self, aside: &[u8], fd: &OwnedFd, names: &[Position]) -> Result<Vec<Name>, Errno> {
        let mut places = Vec::with_capacity(names.len());
        for &position in names {
            let parent = self.index.parent(position)?.ino();
            self.raise_directory(parent)?;
            let name: Box<[u8]> = self.index.entry(position)?.name.into();
            places.push((parent, name));
        }
        if places.is_empty() {
            let work = self.work()?;
            rustix::fs::unlinkat(work.directory(), aside, AtFlags::empty())?;
        }
        for (nth, (parent, name)) in places.iter().enumerate() {
            let is_last = nth + 1 == places.len();
            let given = self.handle(*parent).and_then(|directory| {
                keeping_times(&directory, || {
                    let work = self.work()?;
                    if is_last { work.settle(aside, &directory, name, false) } else { work.link(fd, &directory, name) }
                })
            });
            if let Err(error) = given {
                self.take_back(places.get(..nth).unwrap_or_default());
                return Err(error);
            }
        }
        Ok(places)
    }

    /// Takes names away that a copy has got already: half of them would be a file of their own.
    fn take_back(&mut self, places: &[Name]) {
        for (parent, name) in places {
            // What is not even to be taken back is left as a crash would leave it.
            let _ = self.handle(*parent).and_then(|directory| {
                keeping_times(&directory, || rustix::fs::unlinkat(&directory, &**name, AtFlags::empty()))
            });
        }
    }

    /// Writes down what a file or directory was copied from. Without that it has another number after the next
    /// mount, no more.
    fn note_origin(&self, fd: &OwnedFd, position: Position) {
        let origin = [self.index.identity().to_le_bytes().as_slice(), &position.0.to_le_bytes()].concat();
        let _ = rustix::fs::fsetxattr(fd, ORIGIN, &origin, XattrFlags::empty());
    }

    /// The node of the index that an entry of the upper directory was copied from, a file or directory as `kind` says.
    pub(super) fn origin(&self, directory: &OwnedFd, name: &[u8], kind: u32) -> Result<Option<Position>, Errno> {
        let mut path = beneath::magic_path(directory).into_bytes();
        path.push(b'/');
        path.extend_from_slice(name);
        let mut value = [0_u8; 13];
        let length = match rustix::fs::lgetxattr(path, ORIGIN, &mut value) {
            Ok(length) => length,
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::ACCESS | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((identity, place)) = value.get(..length).and_then(|value| value.split_first_chunk::<8>()) else {
            return Ok(None);
        };
        let Ok(place) = <[u8; 4]>::try_from(place) else { return Ok(None) };
        let known = u64::from_le_bytes(*identity) == self.index.identity();
        let position = self.index.position(u64::from(u32::from_le_bytes(place)) + 1).filter(|_| known);
        Ok(position.filter(|&position| self.index.entry(position).is_ok_and(|entry| entry.kind() == kind)))
    }

    /// Copies a directory up with all that shows in it, and closes it to the
    /// layers: only then can it stand anywhere else.
    pub(super) fn raise_whole(&mut self, ino: u64) -> Result<(), Errno> {
        self.raise_directory(ino)?;
        let mut pending = vec![ino];
        let mut merged = Vec::new();
        while let Some(directory) = pending.pop() {
            let Some(lower) = self.directory(directory)?.lower else { continue };
            merged.push((directory, lower));
            let fd = self.handle(directory)?;
            for number in self.index.children(&self.index.entry(lower)?) {
                let child = Position(number);
                let name: Box<[u8]> = self.index.entry(child)?.name.into();
                let shown = match look(&fd, &name)? {
                    Seen::Hidden => continue,
                    Seen::Nothing if is_hidden_by_file(&fd, &name)? => continue,
                    Seen::Nothing => self.find(directory, &name)?.ino,
                    Seen::Present(stat) => self.adopt(directory, &name, &stat, Some(lower))?.ino,
                };
                self.raise(shown)?;
                if self.place(shown)?.kind == kind::DIRECTORY {
                    pending.push(shown);
                }
            }
        }
        // Leaves first: as long as a directory above is open, nothing is lost.
        for (directory, lower) in merged.into_iter().rev() {
            let fd = self.handle(directory)?;
            // Its name may be another one soon.
            self.note_origin(&fd, lower);
            keeping_times(&fd, || crate::whiteout::make_opaque(&fd))?;
            self.nodes.get_mut(directory)?.lower = None;
        }
        Ok(())
    }

    /// Removes what is in the work directory after something went wrong.
    pub(super) fn abandon(&self, aside: &[u8]) {
        if let Some(work) = &self.work {
            work.abandon(aside);
        }
    }

    /// Puts a node into the tree that was made in the upper directory.
    pub(super) fn newborn(&mut self, attributes: &Attributes, upper: u64) -> u64 {
        let ino = super::nodes::upper_number(upper);
        let record = self.record_for(attributes);
        self.nodes.put(ino, Node { kind: attributes.kind(), upper: Some(upper), record, ..Node::default() });
        ino
    }
}

/// Makes a pipe, a socket or a device.
pub(super) fn make_device(directory: &OwnedFd, name: &[u8], (mode, rdev): (u32, u32)) -> Result<(), Errno> {
    let (major, minor) = device_parts(rdev);
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(directory, name, FileType::from_raw_mode(mode), Mode::from_raw_mode(mode), device)
}

/// Does something in a directory that does not show in its times.
fn keeping_times(directory: &OwnedFd, act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let before = beneath::attributes(&beneath::stat_of(directory)?, 0);
    act()?;
    set_times(directory, Some(SetTime::At(before.accessed)), Some(SetTime::At(before.modified)))
}
