//! Modes, times and attributes of directories: kept until all is in them.
//!
//! Making a file in a directory changes its time, and a mode without write
//! permission, a set-group-id bit or a default ACL would change how files are
//! made in it.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::warnings::Warnings;
use super::{attributes, failed, files};
use crate::snapshot::failure::Failure;
use crate::snapshot::tar::entry::{Attribute, EntryPath, Time};

/// Bytes that all names and attributes of a layer's directories may take.
const MAX_BYTES: usize = 64 << 20;
/// What a directory takes besides them.
const OVERHEAD: usize = 200;

/// What a directory will be.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) attributes: Vec<Attribute>,
    /// What to note of its true owner.
    pub(super) note: Option<String>,
}

/// The directories of a layer by path, free of links; the root is the empty path.
#[derive(Debug, Default)]
pub(super) struct Directories {
    all: BTreeMap<Vec<u8>, Directory>,
    bytes: usize,
}

impl Directories {
    /// Remembers `directory`; the last to speak of a path wins.
    pub(super) fn insert(&mut self, path: Vec<u8>, directory: Directory) -> Result<(), Failure> {
        let attributes: usize = directory.attributes.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        // What is replaced is not given back: this bounds the work as well.
        self.bytes += path.len() + attributes + OVERHEAD;
        if self.bytes > MAX_BYTES {
            return Err(Failure::too_large("more directories than 64 MiB of names"));
        }
        self.all.insert(path, directory);
        Ok(())
    }

    /// Forgets the directory `path` and all beneath it: they were removed.
    pub(super) fn forget_tree(&mut self, path: &[u8]) {
        self.all.remove(path);
        let from = [path, b"/"].concat();
        // `0` is the byte after `/`.
        let to = [path, b"0"].concat();
        let beneath: Vec<_> = self.all.range(from..to).map(|(path, _)| path.clone()).collect();
        for path in beneath {
            self.all.remove(&path);
        }
    }

    /// Makes the directories beneath `root` what they will be, inner ones first.
    pub(super) fn apply(self, root: BorrowedFd<'_>, warnings: &mut Warnings) -> Result<(), Failure> {
        for (path, directory) in self.all.into_iter().rev() {
            let path = EntryPath::parse(&path)?;
            apply(root, &path, &directory, warnings)?;
        }
        Ok(())
    }
}

fn apply(
    root: BorrowedFd<'_>,
    path: &EntryPath,
    directory: &Directory,
    warnings: &mut Warnings,
) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let name = if path.is_root() { b"." } else { path.as_bytes() };
    let failed = |error| failed("set mode and time of", path, error);
    let fd = rustix::fs::openat2(root, name, flags, Mode::empty(), resolve).map_err(failed)?;
    attributes::set(std::os::fd::AsFd::as_fd(&fd), path, &directory.attributes, warnings);
    if let Some(note) = &directory.note {
        attributes::note(std::os::fd::AsFd::as_fd(&fd), path, note, warnings);
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(directory.mode)).map_err(failed)?;
    rustix::fs::futimens(&fd, &files::timestamps(directory.mtime)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(mode: u32) -> Directory {
        Directory { mode, mtime: Time::default(), attributes: Vec::new(), note: None }
    }

    #[test]
    fn a_removed_tree_is_forgotten_and_nothing_else() {
        let mut directories = Directories::default();
        for path in ["", "a", "a/b", "a/b/c", "a-b", "a0", "ab/c"] {
            directories.insert(path.as_bytes().to_vec(), directory(0o755)).expect("room");
        }
        directories.forget_tree(b"a");
        let left: Vec<_> = directories.all.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        assert_eq!(left, ["", "a-b", "a0", "ab/c"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut directories = Directories::default();
        let refused = (0..1_000_000_u32).find(|_| directories.insert(vec![b'x'; 4000], directory(0)).is_err());
        assert!(refused.is_some_and(|number| number < 20_000), "{refused:?}");
    }
}
