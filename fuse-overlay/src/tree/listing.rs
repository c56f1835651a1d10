//! Listing directories, without a state between the calls.
//!
//! Where a listing goes on is a number: 1 and 2 behind the two dots, then one
//! for each name that the layers have, then what the upper directory's own file
//! system says, shifted. A name of the layers keeps its number whatever becomes
//! of it: copied up, replaced, or moved along with a directory that is closed
//! to the layers meanwhile, it is listed once. So a listing survives what
//! happens to the directory exactly as well as that file system's own, and the
//! kernel, which keeps whole listings, may put one together from several calls.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::Tree;
use super::lookup::{Seen, is_hidden_by_file, look};
use crate::beneath;
use crate::filesystem::{Attributes, Listed, Listing, ROOT, kind};
use crate::index::Position;
use crate::whiteout;

/// Where the entries of the layers begin.
const FIRST: u64 = 2;
/// No offset may be larger: the kernel's are signed.
const LAST: u64 = i64::MAX.unsigned_abs();

/// A directory that is being listed.
struct Shown<'a> {
    ino: u64,
    /// What shows through.
    lower: Option<Position>,
    /// Whose names have numbers of their own: what shows through, or did.
    order: Option<Position>,
    /// The directory in the upper one.
    fd: Option<&'a OwnedFd>,
}

impl Tree {
    /// Lists a directory from `offset`.
    pub(super) fn list(&mut self, ino: u64, offset: u64, listing: &mut dyn Listing) -> Result<(), Errno> {
        let place = self.directory(ino)?;
        if !self.list_dots(ino, offset, listing)? {
            return Ok(());
        }
        // One that was closed to the layers has kept its number, and with it the order in which it is listed.
        let order = place.lower.or_else(|| self.index.position(ino));
        let names = match order {
            Some(order) => self.index.children(&self.index.entry(order)?),
            None => 0..0,
        };
        let upper_begins = FIRST + u64::from(names.end - names.start);
        let fd = if place.upper { Some(self.handle(ino)?) } else { None };
        let shown = Shown { ino, lower: place.lower, order, fd: fd.as_deref() };
        let done = u32::try_from(offset.saturating_sub(FIRST)).unwrap_or(u32::MAX);
        for number in names.start.saturating_add(done)..names.end {
            let next = FIRST + u64::from(number - names.start) + 1;
            if !self.list_named_below(&shown, Position(number), next, listing)? {
                return Ok(());
            }
        }
        match &fd {
            Some(fd) => self.list_upper(&shown, fd, (offset, upper_begins), listing),
            None => Ok(()),
        }
    }

    fn list_dots(&mut self, ino: u64, offset: u64, listing: &mut dyn Listing) -> Result<bool, Errno> {
        let above = if ino == ROOT { Ok(ROOT) } else { self.name_of(ino).map(|(parent, _)| parent) };
        // A removed directory has none.
        let above = above.unwrap_or(ino);
        for (nth, name, ino) in [(0, &b"."[..], ino), (1, b"..", above)] {
            let attributes = Attributes { ino, mode: kind::DIRECTORY, ..Attributes::default() };
            if nth >= offset && !listing.take(&Listed { name, next: nth + 1, attributes, known: false }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lists a name that the layers have, as whatever stands under it.
    fn list_named_below(
        &mut self,
        shown: &Shown<'_>,
        position: Position,
        next: u64,
        listing: &mut dyn Listing,
    ) -> Result<bool, Errno> {
        let Some(fd) = shown.fd else { return self.list_lower(position, next, listing) };
        let name = self.index.entry(position)?.name;
        match look(fd, name)? {
            Seen::Hidden => Ok(true),
            Seen::Present(stat) => {
                let name = name.to_vec();
                self.list_present(shown, fd, (&name, &stat), next, listing)
            }
            Seen::Nothing if shown.lower.is_none() || is_hidden_by_file(fd, name)? => Ok(true),
            Seen::Nothing => self.list_lower(position, next, listing),
        }
    }

    fn list_lower(&mut self, position: Position, next: u64, listing: &mut dyn Listing) -> Result<bool, Errno> {
        let entry = self.index.entry(position)?;
        let known = self.wants(listing, entry.kind());
        let mut attributes = self.show(self.index.attributes(&entry));
        if known && entry.is_linked() && self.work.is_some() {
            attributes = self.attributes(attributes.ino)?;
        }
        let entry = self.index.entry(position)?;
        let taken = listing.take(&Listed { name: entry.name, next, attributes, known });
        if taken && known {
            self.listed(&attributes);
        }
        Ok(taken)
    }

    /// Whether an entry of this kind is listed with its attributes.
    fn wants(&self, listing: &dyn Listing, kind: u32) -> bool {
        let of_use = kind == kind::DIRECTORY || self.eagerness.is_eager();
        listing.wants_attributes() && (of_use || listing.needs_attributes())
    }

    fn listed(&mut self, attributes: &Attributes) {
        self.nodes.count(attributes.ino);
        if attributes.kind() != kind::DIRECTORY {
            self.eagerness.listed();
        }
    }

    /// Lists what only the upper directory has.
    fn list_upper(
        &mut self,
        shown: &Shown<'_>,
        fd: &OwnedFd,
        (offset, begins): (u64, u64),
        listing: &mut dyn Listing,
    ) -> Result<(), Errno> {
        let from = if offset == LAST { LAST } else { offset.saturating_sub(begins) };
        rustix::fs::seek(fd, SeekFrom::Start(from))?;
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); (listing.room() / 4).clamp(1 << 10, 1 << 15)];
        let mut entries = RawDir::new(fd, buffer.as_mut_slice());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let dots = name == b"." || name == b"..";
            if dots || whiteout::is_reserved(name) || self.below(shown.order, name)?.is_some() {
                continue;
            }
            let next = begins.saturating_add(entry.next_entry_cookie()).min(LAST);
            let Seen::Present(stat) = look(fd, name)? else { continue };
            if !self.list_present(shown, fd, (name, &stat), next, listing)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lists an entry of the upper directory.
    fn list_present(
        &mut self,
        shown: &Shown<'_>,
        fd: &OwnedFd,
        (name, stat): (&[u8], &Stat),
        next: u64,
        listing: &mut dyn Listing,
    ) -> Result<bool, Errno> {
        let known = self.wants(listing, stat.st_mode & kind::MASK);
        let attributes = if known {
            self.adopt(shown.ino, name, stat, shown.lower)?
        } else {
            let (number, _) = self.identify(fd, name, stat, shown.lower)?;
            let mode = super::owners::kind_of(self.read_record(fd, name, stat)?, stat);
            Attributes { mode, ..beneath::attributes(stat, number) }
        };
        let taken = listing.take(&Listed { name, next, attributes, known });
        match (known, taken) {
            (true, true) => self.listed(&attributes),
            (true, false) => self.let_go(attributes.ino),
            (false, _) => {}
        }
        Ok(taken)
    }
}
