//! The upper directory's helpers: names for what is not in its place yet, and whiteouts.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::beneath;
use crate::config::Upper;
use crate::whiteout;

/// The whiteout that others are links of.
const MODEL: &[u8] = b"whiteout";

/// How a deleted name is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A character device 0:0; nearly all are one inode.
    Device,
    /// An empty file `.wh.NAME`.
    File,
}

/// Where things are made before they get their name.
#[derive(Debug)]
pub(super) struct Work {
    directory: OwnedFd,
    /// `/proc/self/fd`, to give a name to what has none.
    descriptors: OwnedFd,
    style: Style,
    serial: u64,
}

impl Work {
    /// Takes the work directory over; what a predecessor left there goes.
    pub(super) fn begin(upper: &Upper) -> Result<Self, Errno> {
        let directory = beneath::open(upper.work.as_fd(), b"", beneath::DIRECTORY)?;
        if beneath::stat_of(&directory)?.st_dev != beneath::stat_of(&upper.directory)?.st_dev {
            return Err(Errno::XDEV);
        }
        // Two servers of one upper directory would not see each other's changes. Where a file system has
        // no locks it is left to the caller.
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(Errno::BUSY);
        }
        empty(&directory)?;
        let mut work = Self { directory, descriptors: beneath::own_descriptors()?, style: Style::Device, serial: 0 };
        if work.model().is_err() {
            work.style = Style::File;
        }
        Ok(work)
    }

    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// A name in the work directory that nothing has.
    pub(super) fn name(&mut self) -> Vec<u8> {
        self.serial += 1;
        format!("{:x}", self.serial).into_bytes()
    }

    fn model(&self) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.directory, MODEL, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        rustix::fs::mknodat(&self.directory, MODEL, FileType::CharacterDevice, Mode::empty(), 0)
    }

    /// A whiteout device under a new name in the work directory; `None` where
    /// whiteouts are files.
    pub(super) fn whiteout(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        if self.style == Style::File {
            return Ok(None);
        }
        let name = self.name();
        self.link_model(self.directory.as_fd(), &name)?;
        Ok(Some(name))
    }

    fn link_model(&self, directory: impl std::os::fd::AsFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::linkat(&self.directory, MODEL, &directory, name, AtFlags::empty()) {
            // Full, gone, or a file system without links: the next ones are of a new model.
            Err(Errno::MLINK | Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP) => {
                rustix::fs::mknodat(&directory, name, FileType::CharacterDevice, Mode::empty(), 0)?;
                // The name is hidden, and that the next one finds no model leads back here.
                let _ = self.model();
                Ok(())
            }
            other => other,
        }
    }

    /// Hides `name` of the layers, where the upper directory has nothing of that name.
    pub(super) fn hide(&self, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match self.style {
            Style::Device => self.link_model(directory, name),
            Style::File => whiteout::make_file(directory, &whiteout::file_name(name)),
        }
    }

    /// Replaces what the upper directory has under `name` (no directory) by a whiteout.
    pub(super) fn replace_by_whiteout(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match self.whiteout()? {
            Some(mark) => {
                rustix::fs::renameat(&self.directory, &mark, directory, name).inspect_err(|_| self.abandon(&mark))
            }
            None => {
                self.hide(directory, name)?;
                rustix::fs::unlinkat(directory, name, AtFlags::empty())
            }
        }
    }

    /// Gives what is called `from` in the work directory its place, in which
    /// there is nothing or a whiteout.
    pub(super) fn settle(&mut self, from: &[u8], directory: &OwnedFd, name: &[u8], is_dir: bool) -> Result<(), Errno> {
        if !is_dir {
            return rustix::fs::renameat(&self.directory, from, directory, name);
        }
        match rustix::fs::renameat_with(&self.directory, from, directory, name, RenameFlags::NOREPLACE) {
            // The file system may not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&self.directory, from, directory, name),
            // Whatever is more than a whiteout is not ours to take away.
            Err(Errno::EXIST) if beneath::is_directory(&beneath::stat(directory, name)?) => Err(Errno::EXIST),
            Err(Errno::EXIST) => self.exchange(from, directory, name),
            other => other,
        }
    }

    /// Puts `from` in the place of a whiteout; a directory cannot simply replace one.
    fn exchange(&mut self, from: &[u8], directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::renameat_with(&self.directory, from, directory, name, RenameFlags::EXCHANGE) {
            Ok(()) => {
                self.abandon(from);
                Ok(())
            }
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.instead_of_whiteout(directory, name, |work| {
                    rustix::fs::renameat(&work.directory, from, directory, name)
                })?;
                Self::unhide(directory, name)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a directory out of the tree, leaving a whiteout if asked to, and
    /// removes it with the whiteouts that it holds.
    pub(super) fn discard(&mut self, directory: &OwnedFd, name: &[u8], hide: bool) -> Result<(), Errno> {
        if let Some(mark) = if hide { self.whiteout()? } else { None } {
            let exchanged = rustix::fs::renameat_with(&self.directory, &mark, directory, name, RenameFlags::EXCHANGE);
            self.abandon(&mark);
            match exchanged {
                Err(Errno::INVAL | Errno::NOSYS) => {}
                other => return other,
            }
        }
        self.discard_in_steps(directory, name, hide)
    }

    /// The same where a file system cannot exchange names.
    fn discard_in_steps(&mut self, directory: &OwnedFd, name: &[u8], hide: bool) -> Result<(), Errno> {
        let aside = self.name();
        let covered = hide && self.cover(directory, name)?;
        rustix::fs::renameat(directory, name, &self.directory, &aside)?;
        if covered {
            self.uncover(directory, name);
        } else if hide {
            self.hide(directory, name).inspect_err(|_| {
                let _ = rustix::fs::renameat(&self.directory, &aside, directory, name);
            })?;
        }
        self.abandon(&aside);
        Ok(())
    }

    /// Hides `name` of the layers by a file, whatever stands under it and will be gone in the next step: at no
    /// time, should that be the last, does what was deleted show. `false` for a name that leaves no room for the mark.
    pub(super) fn cover(&self, directory: &OwnedFd, name: &[u8]) -> Result<bool, Errno> {
        match whiteout::make_file(directory, &whiteout::file_name(name)) {
            Ok(()) => Ok(true),
            Err(Errno::NAMETOOLONG) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a device in the place of the file that hides `name`, where devices are what hides: others know them too.
    fn uncover(&self, directory: &OwnedFd, name: &[u8]) {
        if self.style == Style::Device && self.link_model(directory.as_fd(), name).is_ok() {
            let _ = Self::unhide(directory, name);
        }
    }

    /// Moves a name in two steps, and hides what the layers have under the old one.
    pub(super) fn shift(&mut self, old: (&OwnedFd, &[u8]), new: (&OwnedFd, &[u8])) -> Result<(), Errno> {
        if self.cover(old.0, old.1)? {
            rustix::fs::renameat(old.0, old.1, new.0, new.1).inspect_err(|_| {
                let _ = Self::unhide(old.0, old.1);
            })?;
            self.uncover(old.0, old.1);
            return Ok(());
        }
        let mark = self.whiteout()?.ok_or(Errno::NAMETOOLONG)?;
        rustix::fs::renameat(old.0, old.1, new.0, new.1).inspect_err(|_| self.abandon(&mark))?;
        rustix::fs::renameat(&self.directory, &mark, old.0, old.1)
    }

    /// Lets `put` put something in the place of a whiteout that cannot be replaced in one step. A file may be
    /// left that hides the name too.
    pub(super) fn instead_of_whiteout(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        put: impl FnOnce(&mut Self) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let covered = self.cover(directory, name)?;
        rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        put(self).inspect_err(|_| {
            if !covered {
                let _ = self.link_model(directory, name);
            }
        })
    }

    /// Takes the mark away that hides `name` by a file, if there is one.
    pub(super) fn unhide(directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::unlinkat(directory, whiteout::file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives what `fd` stands for one more name.
    pub(super) fn link(&self, fd: &OwnedFd, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        use std::os::fd::AsRawFd as _;
        let number = fd.as_raw_fd().to_string();
        rustix::fs::linkat(&self.descriptors, number, directory, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Removes what is called `name` in the work directory: after something went wrong, or has left the tree.
    pub(super) fn abandon(&self, name: &[u8]) {
        // It is swept away with the next start at the latest.
        let _ = remove_all(&self.directory, name);
    }

    /// A regular file in the work directory.
    pub(super) fn file(&self, name: &[u8], mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, mode)
    }
}

/// Removes everything in a work directory but the records of owners.
fn empty(directory: &OwnedFd) -> Result<(), Errno> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && name != crate::record::JOURNAL.as_bytes() {
            remove_all(directory, name)?;
        }
    }
    Ok(())
}

/// Removes an entry and all below it. The tree is as deep as a mount of ours
/// let it become, so the way down is kept on the heap.
fn remove_all(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    let mut way: Vec<(OwnedFd, Vec<u8>)> = Vec::new();
    let mut here = rustix::io::fcntl_dupfd_cloexec(parent, 0)?;
    let mut next = name.to_vec();
    loop {
        let inside = rustix::fs::openat(&here, &next, beneath::DIRECTORY, Mode::empty())?;
        match first_directory(&inside)? {
            Some(child) => {
                way.push((here, std::mem::replace(&mut next, child)));
                here = inside;
            }
            None => {
                rustix::fs::unlinkat(&here, &next, AtFlags::REMOVEDIR)?;
                let Some((above, name)) = way.pop() else { return Ok(()) };
                here = above;
                next = name;
            }
        }
    }
}

/// Removes what is no directory from `directory`, up to the first that is one.
fn first_directory(directory: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR | Errno::PERM) => return Ok(Some(name.to_vec())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::lookup::{Seen, is_hidden_by_file, look};

    #[test]
    fn deep_trees_are_removed() {
        let top = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        std::fs::create_dir_all(top.path().join("a/b/c/d")).expect("mkdir");
        std::fs::create_dir_all(top.path().join("a/b/e")).expect("mkdir");
        std::fs::write(top.path().join("a/b/file"), "x").expect("write");
        let fd = OwnedFd::from(std::fs::File::open(top.path()).expect("open"));
        remove_all(&fd, b"a").expect("remove");
        assert_eq!(std::fs::read_dir(top.path()).expect("list").count(), 0);
    }

    /// A work directory, and a directory beside it in which things are hidden.
    fn beside() -> (tempfile::TempDir, Work, OwnedFd) {
        let top = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let open = |name: &str| {
            std::fs::create_dir(top.path().join(name)).expect("mkdir");
            OwnedFd::from(std::fs::File::open(top.path().join(name)).expect("open"))
        };
        let upper = Upper { directory: open("upper"), work: open("work") };
        let work = Work::begin(&upper).expect("a work directory");
        (top, work, upper.directory)
    }

    fn is_hidden(directory: &OwnedFd, name: &[u8]) -> bool {
        match look(directory, name).expect("look") {
            Seen::Hidden => true,
            Seen::Present(_) => false,
            Seen::Nothing => is_hidden_by_file(directory, name).expect("look"),
        }
    }

    /// A usual name, and one that leaves no room for the mark of a file.
    const NAMES: [&[u8]; 2] = [b"name", &[b'n'; 255]];

    #[test]
    fn what_stood_behind_a_whiteout_stays_hidden_when_nothing_comes_in_its_place() {
        for name in NAMES {
            let (_top, mut work, directory) = beside();
            work.hide(&directory, name).expect("hide");
            let failing = work.instead_of_whiteout(&directory, name, |work| {
                assert_eq!(is_hidden(&directory, name), name.len() < 250, "and at no time shows");
                rustix::fs::renameat(&work.directory, "none", &directory, name)
            });
            assert_eq!(failing, Err(Errno::NOENT));
            assert!(is_hidden(&directory, name));
        }
    }

    #[test]
    fn a_name_is_hidden_when_it_was_moved_in_steps() {
        for name in NAMES {
            let (_top, mut work, directory) = beside();
            rustix::fs::mkdirat(&directory, name, Mode::RWXU).expect("mkdir");
            whiteout::make_file(&directory, b"full").expect("make a file");
            assert_eq!(work.shift((&directory, name), (&directory, b"full")), Err(Errno::NOTDIR));
            assert!(beneath::is_directory(&beneath::stat(&directory, name).expect("still there")));
            assert!(!is_hidden_by_file(&directory, name).expect("look"));
            work.shift((&directory, name), (&directory, b"new")).expect("move");
            assert!(is_hidden(&directory, name) && beneath::stat(&directory, b"new").is_ok());
            assert!(matches!(look(&directory, name), Ok(Seen::Hidden)), "by a device");
        }
    }

    #[test]
    fn a_directory_is_hidden_when_it_was_discarded_in_steps() {
        for name in NAMES {
            let (top, mut work, directory) = beside();
            rustix::fs::mkdirat(&directory, name, Mode::RWXU).expect("mkdir");
            let inside = super::super::place::open_entry(&directory, name, crate::filesystem::kind::DIRECTORY);
            work.hide(&inside.expect("open"), b"gone").expect("hide");
            work.discard_in_steps(&directory, name, true).expect("discard");
            assert!(is_hidden(&directory, name));
            assert_eq!(std::fs::read_dir(top.path().join("work")).expect("list").count(), 1, "only the model");
        }
    }

    #[test]
    fn only_a_whiteout_is_replaced_by_a_directory() {
        let (_top, mut work, directory) = beside();
        rustix::fs::mkdirat(&directory, "d", Mode::RWXU).expect("mkdir");
        rustix::fs::mkdirat(&work.directory, "new", Mode::RWXU).expect("mkdir");
        assert_eq!(work.settle(b"new", &directory, b"d", true), Err(Errno::EXIST));
        work.hide(&directory, b"e").expect("hide");
        work.settle(b"new", &directory, b"e", true).expect("in place of the whiteout");
    }
}
