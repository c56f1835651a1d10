//! Listing directories, without a state between the calls.
//!
//! Where a listing goes on is a number: 1 and 2 behind the two dots, then one
//! for each entry of the layers, then what the upper directory's own file
//! system says, shifted. So a listing survives whatever happens to the
//! directory meanwhile exactly as well as that file system's own.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

use super::Tree;
use super::lookup::{Seen, is_hidden_by_file, look};
use super::place::Place;
use crate::beneath;
use crate::filesystem::{Attributes, Listed, Listing, ROOT, kind};
use crate::index::Position;
use crate::whiteout;

/// Where the entries of the layers begin.
const FIRST: u64 = 2;
/// No offset may be larger: the kernel's are signed.
const LAST: u64 = i64::MAX.unsigned_abs();

impl Tree {
    /// Lists a directory from `offset`.
    pub(super) fn list(&mut self, ino: u64, offset: u64, listing: &mut dyn Listing) -> Result<(), Errno> {
        let place = self.directory(ino)?;
        if !self.list_dots(ino, offset, listing)? {
            return Ok(());
        }
        let children = match place.lower {
            Some(lower) => self.index.children(&self.index.entry(lower)?),
            None => 0..0,
        };
        let upper_begins = FIRST + u64::from(children.end - children.start);
        let fd = if place.upper { Some(self.handle(ino)?) } else { None };
        for (nth, number) in (FIRST..upper_begins).zip(children) {
            if nth >= offset && !self.list_lower(fd.as_deref(), Position(number), nth + 1, listing)? {
                return Ok(());
            }
        }
        match fd {
            Some(fd) => self.list_upper((ino, place), &fd, (offset, upper_begins), listing),
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

    fn list_lower(
        &mut self,
        upper: Option<&OwnedFd>,
        position: Position,
        next: u64,
        listing: &mut dyn Listing,
    ) -> Result<bool, Errno> {
        let entry = self.index.entry(position)?;
        if let Some(fd) = upper
            && (!matches!(look(fd, entry.name)?, Seen::Nothing) || is_hidden_by_file(fd, entry.name)?)
        {
            return Ok(true);
        }
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

    fn list_upper(
        &mut self,
        (ino, place): (u64, Place),
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
            if name == b"." || name == b".." || whiteout::is_reserved(name) {
                continue;
            }
            let next = begins.saturating_add(entry.next_entry_cookie()).min(LAST);
            let Seen::Present(stat) = look(fd, name)? else { continue };
            let known = self.wants(listing, stat.st_mode & kind::MASK);
            let attributes = if known {
                self.adopt(ino, name, &stat, place.lower)?
            } else {
                let (number, _) = self.identify(fd, name, &stat, place.lower)?;
                let mode = super::owners::kind_of(self.read_record(fd, name, &stat)?, &stat);
                Attributes { mode, ..beneath::attributes(&stat, number) }
            };
            let taken = listing.take(&Listed { name, next, attributes, known });
            match (known, taken) {
                (true, true) => self.listed(&attributes),
                (true, false) => self.let_go(attributes.ino),
                (false, _) => {}
            }
            if !taken {
                return Ok(());
            }
        }
        Ok(())
    }
}
