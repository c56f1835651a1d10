//! Finding a name: the upper directory first, then the index.

use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::Tree;
use super::nodes::{Node, upper_number};
use super::owners;
use crate::beneath;
use crate::filesystem::{Attributes, NAME_MAX, ROOT, kind};
use crate::index::Position;
use crate::whiteout;

/// What an upper directory says about a name.
pub(super) enum Seen {
    /// It has it.
    Present(Stat),
    /// It hides it.
    Hidden,
    /// Nothing; the layers may have it.
    Nothing,
}

/// Looks at an entry of an upper directory, without regard to marks in files.
pub(super) fn look(directory: &OwnedFd, name: &[u8]) -> Result<Seen, Errno> {
    match beneath::stat(directory, name) {
        Ok(stat) if whiteout::is_entry(directory, name, &stat) => Ok(Seen::Hidden),
        Ok(stat) => Ok(Seen::Present(stat)),
        Err(Errno::NOENT) => Ok(Seen::Nothing),
        Err(error) => Err(error),
    }
}

/// Whether a file in the upper directory hides `name`.
pub(super) fn is_hidden_by_file(directory: &OwnedFd, name: &[u8]) -> Result<bool, Errno> {
    if name.len() + whiteout::PREFIX.len() > NAME_MAX {
        return Ok(false);
    }
    match beneath::stat(directory, &whiteout::file_name(name)) {
        Ok(_) => Ok(true),
        // Some disks have shorter names than we.
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Tree {
    /// Finds a name, for the kernel.
    pub(super) fn lookup(&mut self, parent: u64, name: &[u8]) -> Result<Attributes, Errno> {
        let found = match name {
            b"." => self.attributes(parent)?,
            b".." => {
                let above = if parent == ROOT { ROOT } else { self.name_of(parent)?.0 };
                self.attributes(above)?
            }
            _ => self.find(parent, name)?,
        };
        self.nodes.count(found.ino);
        if found.kind() != kind::DIRECTORY {
            self.eagerness.missed();
        }
        Ok(found)
    }

    /// Finds a name; not counted.
    pub(super) fn find(&mut self, parent: u64, name: &[u8]) -> Result<Attributes, Errno> {
        let name = match beneath::entry_name(name) {
            Err(Errno::INVAL) => return Err(Errno::NOENT),
            other => other?,
        };
        let place = self.directory(parent)?;
        if place.upper {
            if whiteout::is_reserved(name) {
                return Err(Errno::NOENT);
            }
            let directory = self.handle(parent)?;
            match look(&directory, name)? {
                Seen::Hidden => return Err(Errno::NOENT),
                Seen::Present(stat) => return self.adopt(parent, name, &stat, place.lower),
                Seen::Nothing => {}
            }
            let below = self.below(place.lower, name)?.ok_or(Errno::NOENT)?;
            if is_hidden_by_file(&directory, name)? {
                return Err(Errno::NOENT);
            }
            return self.shown_below(below);
        }
        let below = self.below(place.lower, name)?.ok_or(Errno::NOENT)?;
        self.shown_below(below)
    }

    /// What the layers have under a name in a directory that shows `lower`.
    pub(super) fn below(&self, lower: Option<Position>, name: &[u8]) -> Result<Option<Position>, Errno> {
        lower.map_or(Ok(None), |position| self.index.find(position, name))
    }

    fn shown_below(&mut self, position: Position) -> Result<Attributes, Errno> {
        let entry = self.index.entry(position)?;
        if entry.is_linked() && self.work.is_some() {
            let first = self.index.first_link(&entry);
            return self.attributes(first.ino());
        }
        Ok(self.show(self.index.attributes(&entry)))
    }

    /// Which node an entry of an upper directory is, and which lower directory
    /// shows through it. `lower` is what shows through its parent.
    pub(super) fn identify(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        lower: Option<Position>,
    ) -> Result<(u64, Option<Position>), Errno> {
        if let Some(ino) = self.nodes.of_upper(stat.st_ino) {
            return Ok((ino, self.nodes.get(ino).and_then(|node| node.lower)));
        }
        let is_directory = stat.st_mode & kind::MASK == kind::DIRECTORY;
        let through = if is_directory { self.shows_through(directory, name, lower)? } else { None };
        let origin = match stat.st_mode & kind::MASK {
            _ if through.is_some() => through,
            // A closed one may have come from elsewhere.
            kind::DIRECTORY => self.origin(directory, name, kind::DIRECTORY)?,
            kind::REGULAR => self.whole_origin(directory, name)?,
            _ => None,
        };
        let is_free = |node: &Node| node.upper.is_none() && !node.gone;
        let free = origin.filter(|position| self.nodes.get(position.ino()).is_none_or(is_free));
        let ino = free.map_or_else(|| upper_number(stat.st_ino), Position::ino);
        Ok((ino, if is_directory { through } else { free }))
    }

    /// The node of the index that a copy is now. Not one that a crash has left without some of its names: these are
    /// of the file in the layers still, and that one keeps its number.
    fn whole_origin(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<Option<Position>, Errno> {
        let Some(position) = self.origin(directory, name, kind::REGULAR)? else { return Ok(None) };
        let is_whole = !self.index.entry(position)?.is_linked() || self.visible_links(position)?.is_empty();
        Ok(is_whole.then_some(position))
    }

    fn shows_through(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        lower: Option<Position>,
    ) -> Result<Option<Position>, Errno> {
        let Some(position) = self.below(lower, name)? else { return Ok(None) };
        if self.index.entry(position)?.kind() != kind::DIRECTORY {
            return Ok(None);
        }
        let fd = super::place::open_entry(directory, name, kind::DIRECTORY)?;
        Ok(if whiteout::is_opaque(&fd)? { None } else { Some(position) })
    }

    /// Makes a node of an entry of an upper directory, or finds the one that it is.
    pub(super) fn adopt(
        &mut self,
        parent: u64,
        name: &[u8],
        stat: &Stat,
        lower: Option<Position>,
    ) -> Result<Attributes, Errno> {
        let directory = self.handle(parent)?;
        let (ino, lower) = self.identify(&directory, name, stat, lower)?;
        if self.nodes.of_upper(stat.st_ino).is_none() {
            let record = self.read_record(&directory, name, stat)?;
            let kind = owners::kind_of(record, stat);
            let record = record.into();
            self.nodes.put(ino, Node { kind, lower, upper: Some(stat.st_ino), record, ..Node::default() });
        }
        if stat.st_mode & kind::MASK == kind::DIRECTORY {
            self.nodes.only_name(ino, parent, name);
        } else {
            self.nodes.add_name(ino, parent, name);
        }
        let attributes = self.true_above(ino, beneath::attributes(stat, ino));
        Ok(self.show(attributes))
    }
}
