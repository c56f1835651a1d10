//! Removing names.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::Tree;
use super::descriptors::Key;
use super::lookup::{Seen, is_hidden_by_file, look};
use crate::filesystem::kind;
use crate::index::Position;
use crate::whiteout;

/// A name in the layers that is about to be hidden.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losing {
    name: Position,
    /// File type bits.
    kind: u32,
    /// Whether the file has no other that shows.
    last: bool,
}

impl Tree {
    /// Removes a name of what is no directory.
    pub(super) fn unlink(&mut self, parent: u64, name: &[u8]) -> Result<(), Errno> {
        self.work()?;
        let found = self.find(parent, name)?;
        if self.place(found.ino)?.kind == kind::DIRECTORY {
            return Err(Errno::ISDIR);
        }
        self.raise_directory(parent)?;
        let hide = self.below(self.directory(parent)?.lower, name)?;
        let directory = self.handle(parent)?;
        if self.place(found.ino)?.upper {
            self.pin(found.ino)?;
            if hide.is_some() {
                self.work()?.replace_by_whiteout(&directory, name)?;
            } else {
                rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
            }
            self.unname(found.ino, parent, name);
            return Ok(());
        }
        self.hide_below(found.ino, (&directory, name), hide)
    }

    /// Hides what only the layers have under a name.
    fn hide_below(
        &mut self,
        ino: u64,
        (directory, name): (&OwnedFd, &[u8]),
        position: Option<Position>,
    ) -> Result<(), Errno> {
        let losing = self.losing(position.ok_or(Errno::STALE)?)?;
        self.work()?.hide(directory, name)?;
        self.lost(ino, losing);
        Ok(())
    }

    /// What is lost with a name in the layers that is about to be hidden. Asked before, since it may fail.
    pub(super) fn losing(&mut self, name: Position) -> Result<Losing, Errno> {
        let entry = self.index.entry(name)?;
        let (kind, is_linked) = (entry.kind(), entry.is_linked());
        let last = !is_linked || self.visible_links(name)?.iter().all(|&other| other == name);
        Ok(Losing { name, kind, last })
    }

    /// Notes that a name in the layers is hidden now.
    pub(super) fn lost(&mut self, ino: u64, losing: Losing) {
        if !losing.last || self.nodes.lookups(ino) == 0 {
            return;
        }
        let node = self.nodes.touch(ino);
        node.kind = losing.kind;
        node.lower = Some(losing.name);
        node.gone = true;
    }

    /// Removes a directory that shows nothing.
    pub(super) fn rmdir(&mut self, parent: u64, name: &[u8]) -> Result<(), Errno> {
        self.work()?;
        let found = self.find(parent, name)?;
        if self.place(found.ino)?.kind != kind::DIRECTORY {
            return Err(Errno::NOTDIR);
        }
        self.must_be_empty(found.ino)?;
        self.raise_directory(parent)?;
        let directory = self.handle(parent)?;
        let hide = self.below(self.directory(parent)?.lower, name)?;
        if self.directory(found.ino)?.upper {
            self.pin(found.ino)?;
            self.take_away(&directory, name, hide.is_some())?;
            self.open.remove(Key::Upper(found.ino));
            self.unname(found.ino, parent, name);
            return Ok(());
        }
        self.hide_below(found.ino, (&directory, name), hide)
    }

    fn take_away(&mut self, directory: &OwnedFd, name: &[u8], hide: bool) -> Result<(), Errno> {
        if hide {
            return self.work()?.discard(directory, name, true);
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            // Whiteouts are left in it.
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.work()?.discard(directory, name, false),
            other => other,
        }
    }

    /// ENOTEMPTY if a directory shows anything.
    pub(super) fn must_be_empty(&mut self, ino: u64) -> Result<(), Errno> {
        let place = self.directory(ino)?;
        let fd = if place.upper { Some(self.handle(ino)?) } else { None };
        if let Some(fd) = &fd {
            for entry in Dir::read_from(fd)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                let dots = name == b"." || name == b"..";
                if !dots && !whiteout::is_reserved(name) && matches!(look(fd, name)?, Seen::Present(_)) {
                    return Err(Errno::NOTEMPTY);
                }
            }
        }
        let Some(lower) = place.lower else { return Ok(()) };
        for number in self.index.children(&self.index.entry(lower)?) {
            let Some(fd) = &fd else { return Err(Errno::NOTEMPTY) };
            let name = self.index.entry(Position(number))?.name;
            // Present ones were found above.
            if matches!(look(fd, name)?, Seen::Nothing) && !is_hidden_by_file(fd, name)? {
                return Err(Errno::NOTEMPTY);
            }
        }
        Ok(())
    }
}
