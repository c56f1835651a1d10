//! Making nodes.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Tree;
use super::attributes::{PERMISSIONS, change_mode, change_owner};
use super::copy_up::make_device;
use super::descriptors::Key;
use super::lookup::{Seen, is_hidden_by_file, look};
use super::place::open_entry;
use super::work::Work;
use crate::beneath;
use crate::filesystem::{Attributes, Caller, New, kind};
use crate::whiteout;

const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

/// What stands where something new is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Nothing at all.
    Free,
    /// A whiteout device.
    Whiteout,
    /// A file hides what the layers have.
    HiddenByFile,
}

impl Tree {
    /// Looks at where something new is to be; EEXIST if there is anything.
    pub(super) fn spot(&mut self, parent: u64, name: &[u8]) -> Result<Spot, Errno> {
        if whiteout::is_reserved(beneath::entry_name(name)?) {
            return Err(Errno::INVAL);
        }
        self.raise_directory(parent)?;
        let directory = self.handle(parent)?;
        match look(&directory, name)? {
            Seen::Present(_) => Err(Errno::EXIST),
            Seen::Hidden => Ok(Spot::Whiteout),
            Seen::Nothing if self.below(self.directory(parent)?.lower, name)?.is_none() => Ok(Spot::Free),
            Seen::Nothing if is_hidden_by_file(&directory, name)? => Ok(Spot::HiddenByFile),
            Seen::Nothing => Err(Errno::EXIST),
        }
    }

    /// Makes a node of any kind.
    pub(super) fn make(
        &mut self,
        parent: u64,
        name: &[u8],
        new: &New<'_>,
        caller: Caller,
    ) -> Result<Attributes, Errno> {
        if whiteout::is_reserved(beneath::entry_name(name)?) {
            return Err(Errno::INVAL);
        }
        if new.mode & kind::MASK == kind::CHARACTER && new.rdev == 0 {
            // On disk it would delete the name, and so could not be seen; recorded it would do so in the layer that is
            // made of it. The kernel's overlay refuses it too.
            return Err(Errno::PERM);
        }
        self.raise_directory(parent)?;
        let directory = self.handle(parent)?;
        let rules = self.rules((parent, &directory), new, caller)?;
        let covers = self.below(self.directory(parent)?.lower, name)?.is_some();
        // Where the layers have nothing of the name, making it is the question.
        let tried = if covers { Err(Errno::EXIST) } else { self.put(&directory, name, new, &rules) };
        let (spot, fd) = match tried {
            Err(Errno::EXIST) => {
                let opaque = covers && rules.mode & kind::MASK == kind::DIRECTORY;
                (self.spot(parent, name)?, self.put_aside(&directory, name, (new, &rules), opaque)?)
            }
            other => (Spot::Free, other?),
        };
        if spot == Spot::HiddenByFile {
            Work::unhide(&directory, name)?;
        }
        let stat = beneath::stat_of(&fd)?;
        let ino = self.newborn(&rules.attributes(&stat), stat.st_ino);
        self.nodes.add_name(ino, parent, name);
        self.nodes.count(ino);
        self.open.put(Key::Upper(ino), fd);
        let attributes = self.true_above(ino, beneath::attributes(&stat, ino));
        Ok(self.show(attributes))
    }

    /// Makes a regular file that has no name.
    pub(super) fn make_nameless(&mut self, parent: u64, new: &New<'_>, caller: Caller) -> Result<Attributes, Errno> {
        self.raise_directory(parent)?;
        let directory = self.handle(parent)?;
        let rules = self.rules((parent, &directory), new, caller)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&directory, c".", flags, Mode::from_raw_mode(rules.mode & PERMISSIONS))?;
        self.finish(&fd, &rules)?;
        let stat = beneath::stat_of(&fd)?;
        let ino = self.newborn(&rules.attributes(&stat), stat.st_ino);
        self.nodes.count(ino);
        self.nodes.get_mut(ino)?.pinned = Some(std::sync::Arc::new(fd));
        let attributes = self.true_above(ino, beneath::attributes(&stat, ino));
        Ok(self.show(attributes))
    }

    /// Mode and owner of what is to be made.
    fn rules(&mut self, (parent, directory): (u64, &OwnedFd), new: &New<'_>, caller: Caller) -> Result<Rules, Errno> {
        let above = self.truth(parent)?;
        let mut mode = new.mode;
        // A default access list takes the place of the mask.
        let masked = mode & new.mask & 0o777 != 0;
        if masked && !super::xattr::has(directory, super::xattr::DEFAULT_LIST) {
            mode &= !(new.mask & 0o777);
        }
        let inherits = above.mode & SET_GROUP_ID != 0;
        let gid = if inherits { above.gid } else { caller.gid };
        if inherits && mode & kind::MASK == kind::DIRECTORY {
            mode |= SET_GROUP_ID;
        } else if inherits && caller.uid != 0 && caller.gid != gid && mode & GROUP_EXECUTES != 0 {
            mode &= !SET_GROUP_ID;
        }
        Ok(Rules { mode, rdev: new.rdev, uid: caller.uid, gid, inherits })
    }

    /// Makes the node in its place.
    fn put(&mut self, directory: &OwnedFd, name: &[u8], new: &New<'_>, rules: &Rules) -> Result<OwnedFd, Errno> {
        let fd = self.create(directory, name, new.target, rules)?;
        match self.finish(&fd, rules) {
            Ok(()) => Ok(fd),
            Err(error) => {
                unmake(directory, name, rules.mode & kind::MASK == kind::DIRECTORY);
                Err(error)
            }
        }
    }

    /// Makes the node in the work directory, then puts it in the place of a whiteout.
    fn put_aside(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        (new, rules): (&New<'_>, &Rules),
        opaque: bool,
    ) -> Result<OwnedFd, Errno> {
        let aside = self.work()?.name();
        let is_dir = rules.mode & kind::MASK == kind::DIRECTORY;
        let work = rustix::io::fcntl_dupfd_cloexec(self.work()?.directory(), 0)?;
        let made = self.put(&work, &aside, new, rules).and_then(|fd| {
            if opaque {
                whiteout::make_opaque(&fd)?;
            }
            super::xattr::inherit_lists(directory, &fd, is_dir)?;
            // Inheritance of the work directory is not that of the place.
            if self.ids.are_recorded() {
                self.finish(&fd, rules)?;
            } else {
                change_group(&fd, rules)?;
            }
            self.work()?.settle(&aside, directory, name, is_dir)?;
            Ok(fd)
        });
        made.inspect_err(|_| self.abandon(&aside))
    }

    fn create(&self, directory: &OwnedFd, name: &[u8], target: &[u8], rules: &Rules) -> Result<OwnedFd, Errno> {
        let mode = Mode::from_raw_mode(rules.mode & PERMISSIONS);
        let kind = self.disk_kind(rules.mode & kind::MASK);
        match kind {
            kind::REGULAR => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return rustix::fs::openat(directory, name, flags, mode);
            }
            kind::DIRECTORY => rustix::fs::mkdirat(directory, name, mode)?,
            kind::SYMLINK => rustix::fs::symlinkat(target, directory, name)?,
            _ => make_device(directory, name, (rules.mode, rules.rdev))?,
        }
        // There may be no descriptor left.
        open_entry(directory, name, kind).inspect_err(|_| unmake(directory, name, kind == kind::DIRECTORY))
    }

    /// Owner and mode, where making did not give them.
    fn finish(&mut self, fd: &OwnedFd, rules: &Rules) -> Result<(), Errno> {
        if self.ids.are_recorded() {
            let attributes = rules.attributes(&beneath::stat_of(fd)?);
            return self.record_new(fd, &attributes);
        }
        let by_making = (self.creator.0, if rules.inherits { rules.gid } else { self.creator.1 });
        if (rules.uid, rules.gid) == by_making {
            return Ok(());
        }
        change_owner(fd, Some(rules.uid), Some(rules.gid))?;
        // Changing the owner takes these bits away.
        let lends = rules.mode & 0o6000 != 0 && rules.mode & kind::MASK == kind::REGULAR;
        if lends { change_mode(fd, rules.permissions(&beneath::stat_of(fd)?)) } else { Ok(()) }
    }
}

/// Mode and owner of something new.
struct Rules {
    mode: u32,
    rdev: u32,
    uid: u32,
    gid: u32,
    /// Whether the directory hands its group on.
    inherits: bool,
}

impl Rules {
    /// Of what was made and looks like this on disk.
    fn attributes(&self, made: &Stat) -> Attributes {
        let mode = (self.mode & kind::MASK) | self.permissions(made);
        Attributes { mode, uid: self.uid, gid: self.gid, rdev: self.rdev, ..Attributes::default() }
    }

    /// The permissions asked for, less what a default access list has taken from them when it was made.
    fn permissions(&self, made: &Stat) -> u32 {
        self.mode & ((PERMISSIONS & !0o777) | (made.st_mode & 0o777))
    }
}

fn change_group(fd: &OwnedFd, rules: &Rules) -> Result<(), Errno> {
    if !rules.inherits {
        return Ok(());
    }
    change_owner(fd, None, Some(rules.gid))?;
    if rules.mode & kind::MASK == kind::SYMLINK {
        return Ok(());
    }
    change_mode(fd, rules.permissions(&beneath::stat_of(fd)?))
}

/// Takes away what was only just made, and could not be finished.
fn unmake(directory: &OwnedFd, name: &[u8], is_dir: bool) {
    let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let _ = rustix::fs::unlinkat(directory, name, flags);
}
