//! Moving names.
//!
//! The kernel's overlay refuses to move directories that show something of the
//! layers, or marks them with a redirect that plain readers of the upper
//! directory do not know. Here such a directory is copied up with all it shows
//! and made opaque: it costs time once, and what lies in the upper directory
//! stays a tree like any other.

use std::os::fd::OwnedFd;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::Tree;
use super::lookup::{Seen, look};
use super::remove::Losing;
use super::work::Work;
use crate::beneath;
use crate::filesystem::{Move, kind};
use crate::whiteout;

/// A name in a directory of the upper directory.
#[derive(Clone, Copy, Debug)]
struct End<'a> {
    parent: u64,
    name: &'a [u8],
    directory: &'a OwnedFd,
    /// Whether the layers have the name too.
    covers: bool,
}

/// What stands at both ends changes places.
fn swap(old: &End<'_>, new: &End<'_>) -> Result<(), Errno> {
    rustix::fs::renameat_with(old.directory, old.name, new.directory, new.name, RenameFlags::EXCHANGE)
}

impl Tree {
    /// Moves a name. A whiteout that is to be left is what is left anyway: the name is gone, and
    /// what the layers have of it stays hidden. (As a device that could be seen it would be a
    /// contradiction: here such a device deletes a name.)
    pub(super) fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), how: Move) -> Result<(), Errno> {
        self.work()?;
        if whiteout::is_reserved(beneath::entry_name(to.1)?) {
            return Err(Errno::INVAL);
        }
        let source = self.find(from.0, from.1)?.ino;
        let target = match self.find(to.0, to.1) {
            Ok(found) => Some(found.ino),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        match (how, target) {
            (Move::KeepTarget, Some(_)) => return Err(Errno::EXIST),
            (Move::Exchange, None) => return Err(Errno::NOENT),
            (_, Some(target)) if target == source => return Ok(()),
            _ => {}
        }
        self.raise_movable(source)?;
        self.raise_directory(from.0)?;
        self.raise_directory(to.0)?;
        let (old_directory, new_directory) = (self.handle(from.0)?, self.handle(to.0)?);
        let old = self.end(from, &old_directory)?;
        let new = self.end(to, &new_directory)?;
        match target {
            Some(target) if how == Move::Exchange => self.exchange((source, old), (target, new)),
            _ => self.replace((source, old), (target, new)),
        }
    }

    fn end<'a>(&self, (parent, name): (u64, &'a [u8]), directory: &'a OwnedFd) -> Result<End<'a>, Errno> {
        let covers = self.below(self.directory(parent)?.lower, name)?.is_some();
        Ok(End { parent, name, directory, covers })
    }

    fn raise_movable(&mut self, ino: u64) -> Result<(), Errno> {
        if self.place(ino)?.kind == kind::DIRECTORY { self.raise_whole(ino) } else { self.raise(ino) }
    }

    /// A directory that comes to a name of the layers must not let theirs through.
    fn close(&mut self, ino: u64, at: &End<'_>) -> Result<(), Errno> {
        if at.covers && self.place(ino)?.kind == kind::DIRECTORY {
            whiteout::make_opaque(self.handle(ino)?)?;
        }
        Ok(())
    }

    fn exchange(&mut self, (source, old): (u64, End<'_>), (target, new): (u64, End<'_>)) -> Result<(), Errno> {
        self.raise_movable(target)?;
        self.close(source, &new)?;
        self.close(target, &old)?;
        swap(&old, &new)?;
        for (ino, left, reached) in [(source, &old, &new), (target, &new, &old)] {
            self.nodes.drop_name(ino, left.parent, left.name);
            self.nodes.add_name(ino, reached.parent, reached.name);
        }
        Ok(())
    }

    fn replace(&mut self, (source, old): (u64, End<'_>), (target, new): (Option<u64>, End<'_>)) -> Result<(), Errno> {
        let is_dir = self.place(source)?.kind == kind::DIRECTORY;
        let hidden = match target {
            Some(target) => self.make_way(target, &new, is_dir)?,
            None => None,
        };
        self.close(source, &new)?;
        if is_dir && target.is_some() && hidden.is_none() {
            self.shift_onto_directory(&old, &new)?;
        } else {
            self.shift(&old, &new, is_dir)?;
        }
        if new.covers {
            Work::unhide(new.directory, new.name)?;
        }
        match (target, hidden) {
            (Some(target), Some(losing)) => self.lost(target, losing),
            (Some(target), None) => self.unname(target, new.parent, new.name),
            (None, _) => {}
        }
        self.nodes.drop_name(source, old.parent, old.name);
        self.nodes.add_name(source, new.parent, new.name);
        Ok(())
    }

    /// Sees to it that what stands at the target can be replaced, which is all that happens to it yet: what
    /// follows may fail. The answer is what is lost of the layers, if it is there that it will be hidden.
    fn make_way(&mut self, target: u64, at: &End<'_>, by_directory: bool) -> Result<Option<Losing>, Errno> {
        let place = self.place(target)?;
        match (place.kind == kind::DIRECTORY, by_directory) {
            (true, false) => return Err(Errno::ISDIR),
            (false, true) => return Err(Errno::NOTDIR),
            (true, true) => self.must_be_empty(target)?,
            (false, false) => {}
        }
        if !place.upper {
            // What comes hides it, a directory because it was closed.
            let position = self.below(self.directory(at.parent)?.lower, at.name)?.ok_or(Errno::STALE)?;
            return self.losing(position).map(Some);
        }
        self.pin(target)?;
        Ok(None)
    }

    /// Moves a directory in the upper directory to where another stands that shows nothing, but may hold whiteouts.
    fn shift_onto_directory(&mut self, old: &End<'_>, new: &End<'_>) -> Result<(), Errno> {
        match swap(old, new) {
            Ok(()) => self.work()?.discard(old.directory, old.name, old.covers).inspect_err(|_| {
                let _ = swap(old, new);
            }),
            Err(Errno::INVAL | Errno::NOSYS) => self.shift_past_directory(old, new),
            Err(error) => Err(error),
        }
    }

    /// The same where a file system cannot exchange names.
    fn shift_past_directory(&mut self, old: &End<'_>, new: &End<'_>) -> Result<(), Errno> {
        let work = self.work()?;
        let aside = work.name();
        if new.covers {
            work.cover(new.directory, new.name)?;
        }
        rustix::fs::renameat(new.directory, new.name, work.directory(), &aside)?;
        match self.shift(old, new, true) {
            Ok(()) => {
                self.abandon(&aside);
                Ok(())
            }
            Err(error) => {
                let _ = rustix::fs::renameat(self.work()?.directory(), &aside, new.directory, new.name);
                Err(error)
            }
        }
    }

    /// Moves in the upper directory, and hides what the layers have under the old name.
    fn shift(&mut self, old: &End<'_>, new: &End<'_>, is_dir: bool) -> Result<(), Errno> {
        let onto = look(new.directory, new.name)?;
        if is_dir && matches!(onto, Seen::Hidden) {
            return self.shift_onto_whiteout(old, new);
        }
        if !old.covers {
            return rustix::fs::renameat(old.directory, old.name, new.directory, new.name);
        }
        // One step where the file system can, so that no crash shows the old name again.
        match rustix::fs::renameat_with(old.directory, old.name, new.directory, new.name, RenameFlags::WHITEOUT) {
            Err(Errno::INVAL | Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.work()?.shift((old.directory, old.name), (new.directory, new.name))
            }
            other => other,
        }
    }

    fn shift_onto_whiteout(&mut self, old: &End<'_>, new: &End<'_>) -> Result<(), Errno> {
        match swap(old, new) {
            // The whiteout has come to the old name, where it is wanted or not.
            Ok(()) if old.covers => return Ok(()),
            Ok(()) => return rustix::fs::unlinkat(old.directory, old.name, rustix::fs::AtFlags::empty()),
            Err(Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error),
        }
        let work = self.work()?;
        let ends = ((old.directory, old.name), (new.directory, new.name));
        work.instead_of_whiteout(new.directory, new.name, |work| {
            if old.covers {
                return work.shift(ends.0, ends.1);
            }
            rustix::fs::renameat(old.directory, old.name, new.directory, new.name)
        })
    }
}
