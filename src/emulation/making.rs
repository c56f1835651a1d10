//! Files that somebody else than root makes, and devices.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};

use pybox_fuse_overlay::record::{ENTRY, Record};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::answers::Outcome;
use super::owners::Files;
use super::person::Person;
use super::place::Place;
use super::target::Target;
use crate::sys::notify::Answer;
use crate::sys::stat::Stat;

/// Who makes something, and what knows whose files are.
pub(super) struct Maker<'m> {
    pub target: &'m Target,
    pub person: &'m Person,
    pub files: &'m mut Files,
}

fn made() -> Outcome {
    Outcome::Answer(Answer::Value(0))
}

impl Maker<'_> {
    /// Whether what it makes belongs to root in any case.
    fn makes_as_root(&self) -> bool {
        (self.person.user.files, self.person.group.files) == (0, 0)
    }

    fn permitted(&self, mode: u32, bits: u32) -> Result<Mode, Errno> {
        Ok(Mode::from_raw_mode(mode & bits & !self.target.status()?.umask))
    }

    /// Gives `file`, which has just been made in `place`, to who has made it. What cannot be given is not left behind.
    fn hand_on(&mut self, place: &Place<'_>, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let given = self.inherited(place).and_then(|group| self.files.give(file, self.person.user.files, group));
        if given.is_err() {
            let is_directory =
                rustix::fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let _ = rustix::fs::unlinkat(&place.base, place.path.as_c_str(), flags);
        }
        given
    }

    /// The group of what is made there: that of the directory if it hands its own on.
    fn inherited(&mut self, place: &Place<'_>) -> Result<u32, Errno> {
        let (directory, _) = place.split()?;
        let found = Stat::at(directory.as_fd(), c"", libc::AT_EMPTY_PATH)?;
        if found.mode() & libc::S_ISGID == 0 {
            return Ok(self.person.group.files);
        }
        self.files.owner(directory.as_fd(), &found.plain()).map(|(_, group)| group)
    }

    /// A file that is opened. Only what is new is ours to make: the kernel opens the rest.
    pub(super) fn open(&mut self, named: (i32, u64), (flags, mode): (i32, u32)) -> Result<Outcome, Errno> {
        // Who only points at a file makes none, whatever else is asked for.
        if self.makes_as_root() || flags & libc::O_PATH != 0 {
            return Ok(Outcome::Answer(Answer::Go));
        }
        let mode = self.permitted(mode, 0o7777)?;
        let wanted = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOCTTY;
        let make = |place: &Place<'_>| rustix::fs::openat(&place.base, place.path.as_c_str(), wanted, mode);
        let opened = Place::locate(self.target, named, 0)?.reach(false, |place| match make(place) {
            Err(Errno::EXIST) => Ok(None),
            other => other.map(Some),
        })?;
        let (place, file) = match opened {
            (place, Some(file)) => (place, file),
            // What a link leads to is made, if it is not there yet.
            (place, None) if flags & (libc::O_EXCL | libc::O_NOFOLLOW) == 0 && place.point(true).is_err() => {
                let place = place.walked(true)?;
                let file = make(&place)?;
                (place, file)
            }
            (_, None) => return Ok(Outcome::Answer(Answer::Go)),
        };
        match self.hand_on(&place, file.as_fd()) {
            Ok(()) => Ok(Outcome::File(file, flags & libc::O_CLOEXEC != 0)),
            Err(error) => Ok(Outcome::Answer(Answer::Error(error))),
        }
    }

    /// Has `make` make something, and gives it to who asks.
    fn make(
        &mut self,
        named: (i32, u64),
        make: impl Fn(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
    ) -> Result<Outcome, Errno> {
        let (place, file) = Place::locate(self.target, named, 0)?.reach(false, |place| {
            make(place.base.as_fd(), place.path.as_c_str())?;
            place.point(false)
        })?;
        Ok(match self.hand_on(&place, file.as_fd()) {
            Ok(()) => made(),
            Err(error) => Outcome::Answer(Answer::Error(error)),
        })
    }

    /// A directory.
    pub(super) fn directory(&mut self, named: (i32, u64), mode: u32) -> Result<Outcome, Errno> {
        if self.makes_as_root() {
            return Ok(Outcome::Answer(Answer::Go));
        }
        let mode = self.permitted(mode, 0o1777)?;
        self.make(named, |base, path| rustix::fs::mkdirat(base, path, mode))
    }

    /// A symbolic link to the path at the address `text`.
    pub(super) fn link(&mut self, text: u64, named: (i32, u64)) -> Result<Outcome, Errno> {
        if self.makes_as_root() {
            return Ok(Outcome::Answer(Answer::Go));
        }
        let text = self.target.string(text)?;
        self.make(named, |base, path| rustix::fs::symlinkat(text.as_slice(), base, path))
    }

    /// A device, which is one in its record alone: nobody can open it; or for somebody else than root, a pipe,
    /// a socket or a file.
    pub(super) fn node(&mut self, named: (i32, u64), (mode, rdev): (u32, u32)) -> Result<Outcome, Errno> {
        let kind = match mode & libc::S_IFMT {
            0 => libc::S_IFREG,
            kind => kind,
        };
        // The one device that is none is anybody's to make, and file systems know what they take it for.
        let whiteout = kind == libc::S_IFCHR && rdev == 0;
        let device = matches!(kind, libc::S_IFCHR | libc::S_IFBLK) && !whiteout;
        if device {
            return self.device(named, (mode, rdev));
        }
        if self.makes_as_root() || whiteout {
            return Ok(Outcome::Answer(Answer::Go));
        }
        let (kind, mode) = (FileType::from_raw_mode(kind), self.permitted(mode, 0o7777)?);
        self.make(named, |base, path| rustix::fs::mknodat(base, path, kind, mode, 0))
    }

    fn device(&mut self, named: (i32, u64), (mode, rdev): (u32, u32)) -> Result<Outcome, Errno> {
        if self.person.user.files != 0 {
            return Ok(Outcome::Answer(Answer::Error(Errno::PERM)));
        }
        let mode = mode & libc::S_IFMT | self.permitted(mode, 0o7777)?.as_raw_mode();
        let (directory, name) = Place::locate(self.target, named, 0)?.reach(false, Place::split)?.1;
        // Elsewhere the attribute would be one like others, and the kernel makes what was to be refused.
        if !Files::serves_records(directory.as_fd()) {
            return Ok(Outcome::Answer(Answer::Go));
        }
        let record = Record { uid: self.person.user.files, gid: self.person.group.files, mode, rdev };
        let text = [record.text().as_bytes(), b" ", name.as_bytes()].concat();
        match self.files.set_text(directory.as_fd(), ENTRY, &text) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Outcome::Answer(Answer::Error(Errno::EXIST))),
            Err(error) => return Err(error),
        }
        // Refused, but so the kernel forgets that there was nothing.
        let _ = rustix::fs::mknodat(&directory, name.as_c_str(), FileType::RegularFile, Mode::empty(), 0);
        Ok(made())
    }
}
