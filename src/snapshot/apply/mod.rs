//! Applies the entries of a layer to a directory: `*at` calls only, each on a
//! parent that was opened component by component without following a link.
//!
//! Assumes an empty directory that nobody else writes to, a umask of 0, and the
//! rights of a root over the ids it knows. Knows nothing of lower layers: what a
//! layer deletes becomes a mark that the overlay mount reads.

mod attributes;
mod directories;
mod files;
mod side_file;
mod walk;
mod warnings;
mod whiteout;

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use self::directories::Directories;
use self::side_file::SideFile;
use self::walk::{Missing, Walk};
use self::warnings::Warnings;
use self::whiteout::Meaning;
use super::failure::Failure;
use super::tar::entry::{Entry, EntryPath, Kind};
use super::tar::reader::Archive;
use super::tar::stream::Supply;
use super::worker::view::Owners;
use super::worker::{Limits, Warning};
use crate::sys::path::lstat_at;

/// Bytes written between two looks at the free space.
const SPACE_EVERY: u64 = 64 << 20;
/// What an entry counts towards that, its contents aside.
const ENTRY_COST: u64 = 4096;

/// What an archive is, and how it meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A layer: some names delete, and what comes later replaces what was there.
    Layer,
    /// Files that are copied to a tree that others use: names are names, directories stay as they are,
    /// and nothing takes the place of one.
    Tree {
        /// Whose the files are.
        owners: Owners,
        /// Whether the root becomes what the archive says of it.
        root: bool,
    },
}

/// A layer while its archive is read.
pub(crate) struct Layer<'d> {
    root: BorrowedFd<'d>,
    manner: Manner,
    /// Where entries are made, and where the targets of hard links are looked up.
    walk: Walk<'d>,
    targets: Walk<'d>,
    directories: Directories,
    warnings: Warnings,
    /// Where owners and devices are noted, if the disk cannot hold them.
    noted: Option<SideFile>,
    limits: Limits,
    entries: u64,
    bytes: u64,
    unchecked: u64,
}

/// What a finished layer says of itself.
pub(crate) struct Done {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) warnings: Vec<Warning>,
}

impl<'d> Layer<'d> {
    /// Begins a layer in the empty directory `root`.
    pub(crate) fn begin(root: BorrowedFd<'d>, limits: Limits) -> Result<Self, Failure> {
        let layer = Self::over(root, limits, Manner::Layer)?;
        // A set-group-id bit or a group inherited from around the store would be
        // inherited by all that follows.
        let failed = |error| Failure::sys("prepare the layer's directory", error);
        let directory = rustix::fs::openat(root, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let directory = directory.map_err(failed)?;
        let zero = (Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT));
        rustix::fs::fchown(&directory, zero.0, zero.1).map_err(failed)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755)).map_err(failed)?;
        Ok(layer)
    }

    /// Begins in the directory `root`, as it is.
    pub(crate) fn over(root: BorrowedFd<'d>, limits: Limits, manner: Manner) -> Result<Self, Failure> {
        let layer = Self {
            root,
            manner,
            walk: Walk::new(root),
            targets: Walk::new(root),
            directories: Directories::default(),
            warnings: Warnings::default(),
            noted: None,
            limits,
            entries: 0,
            bytes: 0,
            unchecked: 0,
        };
        layer.check_space()?;
        Ok(layer)
    }

    /// From now on no file is given away: whose it is, and which device, goes into the side file of the layer.
    pub(crate) fn record_owners(&mut self) {
        self.noted = Some(SideFile::default());
    }

    /// Makes what `entry` says; takes its data from `archive`.
    pub(crate) fn apply<S: Supply>(&mut self, mut entry: Entry, archive: &mut Archive<S>) -> Result<(), Failure> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Failure::too_large(format!("more than {} entries", self.limits.entries)));
        }
        self.spend(ENTRY_COST)?;
        let path = entry.path.clone();
        if matches!(self.manner, Manner::Tree { owners: Owners::Root, .. }) {
            (entry.uid, entry.gid) = (0, 0);
        }
        let Some((parent, name)) = path.split() else {
            // The reader lets only directories be the root.
            let stays = matches!(self.manner, Manner::Tree { root: false, .. });
            return if stays { Ok(()) } else { self.root_directory(entry) };
        };
        if self.manner != Manner::Layer {
            self.enter(parent, &path)?;
            return self.make(name, entry, archive);
        }
        match whiteout::meaning(&path)? {
            Meaning::Nothing => Ok(()),
            Meaning::Opaque => {
                self.enter(parent, &path)?;
                whiteout::make_opaque(self.walk.here(), Path(b".")).map_err(|error| failed("mark", &path, error))
            }
            Meaning::Whiteout(name) => {
                self.enter(parent, &path)?;
                whiteout::hide(self.walk.here(), name).map_err(|error| failed("delete", &path, error))
            }
            Meaning::Entry => {
                self.enter(parent, &path)?;
                self.make(name, entry, archive)
            }
        }
    }

    /// Gives the directories their modes and times, and ends.
    pub(crate) fn finish(self) -> Result<Done, Failure> {
        let Self { root, directories, mut warnings, noted, entries, bytes, .. } = self;
        if let Some(noted) = noted {
            noted.write(root)?;
        }
        directories.apply(root, &mut warnings)?;
        Ok(Done { entries, bytes, warnings: warnings.into_list() })
    }

    fn enter(&mut self, parent: &[u8], entry: &EntryPath) -> Result<(), Failure> {
        self.walk.enter(parent, Missing::Make, entry).map(drop)
    }

    fn make<S: Supply>(&mut self, name: &[u8], entry: Entry, archive: &mut Archive<S>) -> Result<(), Failure> {
        if let Some(noted) = &mut self.noted {
            noted.note(&entry)?;
        }
        match &entry.kind {
            Kind::Directory => self.directory(name, entry),
            Kind::File | Kind::Sparse(_) => self.file(name, &entry, archive),
            Kind::Symlink(target) => self.symlink(name, target, &entry),
            Kind::Hardlink(target) => self.hardlink(name, target, &entry),
            Kind::Fifo => self.fifo(name, &entry),
            Kind::CharDevice(major, minor) => self.placeholder(name, &entry, &format!("char-{major}-{minor}")),
            Kind::BlockDevice(major, minor) => self.placeholder(name, &entry, &format!("block-{major}-{minor}")),
        }
    }

    /// Runs `make` for `name`; where something stands there already, that goes first.
    fn replacing<T>(
        &mut self,
        name: &[u8],
        path: &EntryPath,
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        match make(self.walk.here()) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(|error| failed("make", path, error)),
        }
        self.clear(name).map_err(|error| failed("replace", path, error))?;
        make(self.walk.here()).map_err(|error| failed("make", path, error))
    }

    /// Removes what stands at `name` in the current directory.
    fn clear(&mut self, name: &[u8]) -> Result<(), Errno> {
        let here = self.walk.here();
        let stat = lstat_at(here, Path(name).as_os_str())?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Whoever copies files means no harm to directories.
            FileType::Directory if self.manner != Manner::Layer => return Err(Errno::ISDIR),
            FileType::Directory => {
                super::remove::tree(here, name)?;
                self.directories.forget_tree(&self.walk.path_of(name));
            }
            FileType::Symlink => rustix::fs::unlinkat(here, name, AtFlags::empty())?,
            _ => return rustix::fs::unlinkat(here, name, AtFlags::empty()),
        }
        // What was looked up through it is no longer where it was.
        self.walk.forget_names();
        self.targets.forget();
        Ok(())
    }

    /// Counts `bytes` against the free space.
    fn spend(&mut self, bytes: u64) -> Result<(), Failure> {
        self.unchecked += bytes;
        if self.unchecked < SPACE_EVERY {
            return Ok(());
        }
        self.unchecked = 0;
        self.check_space()
    }

    fn check_space(&self) -> Result<(), Failure> {
        let space = rustix::fs::fstatvfs(self.root).map_err(|error| Failure::sys("look at the free space", error))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let keep = self.limits.reserve.min(space.f_blocks.saturating_mul(space.f_frsize) / 50);
        if free < keep {
            let reason = format!("{} MiB are free, {} MiB have to stay free", free >> 20, keep >> 20);
            return Err(Failure::NoSpace { reason });
        }
        Ok(())
    }
}

/// The bytes of one name, for calls that take a path.
#[derive(Clone, Copy)]
struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    fn as_os_str(self) -> &'a std::ffi::OsStr {
        std::os::unix::ffi::OsStrExt::from_bytes(self.0)
    }
}

/// The failure of doing `what` with an entry.
fn failed(what: &str, path: &EntryPath, error: Errno) -> Failure {
    Failure::sys(format!("{what} {:?}", path.to_string()), error)
}
