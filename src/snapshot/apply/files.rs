//! Making what entries say: one function a kind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pybox_fuse_overlay::record::{Record, TRUTH, XATTR};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::directories::Directory;
use super::side_file::record;
use super::walk::Missing;
use super::{Layer, Manner, Path, attributes, failed, whiteout};
use crate::snapshot::failure::Failure;
use crate::snapshot::layered::is_whiteout;
use crate::snapshot::tar::entry::{Entry, EntryPath, Kind, Time};
use crate::snapshot::tar::reader::Archive;
use crate::snapshot::tar::sparse::SparseMap;
use crate::snapshot::tar::stream::Supply;
use crate::snapshot::truth;
use crate::snapshot::worker::WarningKind;
use crate::sys::path::lstat_at;

/// Whether an entry's owner has ids in our namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Mapped,
    /// Owned by 0:0 instead.
    Unmapped,
}

impl Layer<'_> {
    pub(super) fn root_directory(&mut self, entry: Entry) -> Result<(), Failure> {
        if let Some(noted) = &mut self.noted {
            noted.note(&entry)?;
        }
        self.walk.forget();
        self.existing_directory(b".", Vec::new(), entry)
    }

    pub(super) fn directory(&mut self, name: &[u8], entry: Entry) -> Result<(), Failure> {
        let path = self.walk.path_of(name);
        let failed = |error| failed("make", &entry.path, error);
        match rustix::fs::mkdirat(self.walk.here(), name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = lstat_at(self.walk.here(), Path(name).as_os_str()).map_err(failed)?;
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if self.manner != Manner::Layer {
                    return if is_directory { Ok(()) } else { Err(failed(Errno::NOTDIR)) };
                }
                if is_directory {
                    return self.existing_directory(name, path, entry);
                }
                self.clear(name).map_err(failed)?;
                rustix::fs::mkdirat(self.walk.here(), name, Mode::RWXU).map_err(failed)?;
                if is_whiteout(&stat) {
                    whiteout::make_opaque(self.walk.here(), Path(name)).map_err(failed)?;
                }
            }
            Err(error) => return Err(failed(error)),
        }
        let owner = if is_root(&entry) { Owner::Mapped } else { self.own_name(name, &entry)? };
        self.remember(path, entry, owner)
    }

    /// A directory that is there already takes on what `entry` says of it.
    fn existing_directory(&mut self, name: &[u8], path: Vec<u8>, entry: Entry) -> Result<(), Failure> {
        let owner = self.own_name(name, &entry)?;
        if owner == Owner::Unmapped {
            let root = (Some(Uid::ROOT), Some(Gid::ROOT));
            rustix::fs::chownat(self.walk.here(), name, root.0, root.1, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed("set the owner of", &entry.path, error))?;
        }
        self.remember(path, entry, owner)
    }

    fn remember(&mut self, path: Vec<u8>, entry: Entry, owner: Owner) -> Result<(), Failure> {
        let note = (owner == Owner::Unmapped).then(|| record(&entry).text());
        let directory =
            Directory { mode: granted(&entry, owner), mtime: entry.mtime, attributes: entry.attributes, note };
        self.directories.insert(path, directory)
    }

    pub(super) fn file<S: Supply>(
        &mut self,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive<S>,
    ) -> Result<(), Failure> {
        let file = self.create(name, entry, entry.mode)?;
        match &entry.kind {
            Kind::Sparse(map) => self.sparse_data(&file, map, entry, archive)?,
            _ => self.data(&file, entry, entry.size, archive)?,
        }
        let owner = self.own_file(&file, entry)?;
        if entry.mode & 0o7000 != 0 {
            // Only now: writing and changing the owner both take these bits away.
            let mode = Mode::from_raw_mode(granted(entry, owner));
            rustix::fs::fchmod(&file, mode).map_err(|error| failed("set the mode of", &entry.path, error))?;
        }
        if owner == Owner::Unmapped {
            attributes::note(file.as_fd(), &entry.path, &record(entry).text(), &mut self.warnings);
        }
        attributes::set(file.as_fd(), &entry.path, &entry.attributes, &mut self.warnings);
        self.date(&file, entry)
    }

    /// An empty file that says it should be the device `what`: nodes that mean
    /// something to the kernel are never made from an archive.
    pub(super) fn placeholder(&mut self, name: &[u8], entry: &Entry, what: &str) -> Result<(), Failure> {
        let file = self.create(name, entry, entry.mode)?;
        self.own_file(&file, entry)?;
        if self.noted.is_none() {
            self.warnings.add(WarningKind::DevicePlaceholder, &entry.path, what);
            attributes::note(file.as_fd(), &entry.path, &record(entry).text(), &mut self.warnings);
        }
        self.date(&file, entry)
    }

    pub(super) fn symlink(&mut self, name: &[u8], target: &[u8], entry: &Entry) -> Result<(), Failure> {
        self.replacing(name, &entry.path, |here| rustix::fs::symlinkat(target, here, name))?;
        if !is_root(entry) {
            self.own_name(name, entry)?;
        }
        self.date_name(name, entry)
    }

    pub(super) fn fifo(&mut self, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.replacing(name, &entry.path, |here| rustix::fs::mknodat(here, name, FileType::Fifo, mode, 0))?;
        let owner = if is_root(entry) { Owner::Mapped } else { self.own_name(name, entry)? };
        if granted(entry, owner) & 0o7000 != 0 {
            // Nobody writes to it, and O_NONBLOCK does not wait for one who does.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(granted(entry, owner));
            rustix::fs::openat(self.walk.here(), name, flags, Mode::empty())
                .and_then(|fifo| rustix::fs::fchmod(&fifo, mode))
                .map_err(|error| failed("set the mode of", &entry.path, error))?;
        }
        self.date_name(name, entry)
    }

    pub(super) fn hardlink(&mut self, name: &[u8], target: &EntryPath, entry: &Entry) -> Result<(), Failure> {
        let refuse = |reason: &str| Err(Failure::refused(entry.path.as_bytes(), reason));
        let Some((parent, last)) = target.split() else { return refuse("is a hard link to the root") };
        if !self.targets.enter(parent, Missing::Report, &entry.path)? {
            return refuse("is a hard link to what is not in this layer");
        }
        let source = self.targets.here();
        let stat = match lstat_at(source, Path(last).as_os_str()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
            Ok(stat) if !is_whiteout(&stat) => return refuse("is a hard link to what is no regular file"),
            Ok(_) | Err(Errno::NOENT) => return refuse("is a hard link to what is not in this layer"),
            Err(error) => return Err(failed("link", &entry.path, error)),
        };
        match lstat_at(self.walk.here(), Path(name).as_os_str()) {
            // Linked already, perhaps to itself.
            Ok(present) if (present.st_dev, present.st_ino) == (stat.st_dev, stat.st_ino) => return Ok(()),
            // What stands at the name may be a directory that holds the target.
            Ok(present) if FileType::from_raw_mode(present.st_mode) == FileType::Directory => {
                return refuse("is a hard link in place of a directory");
            }
            _ => {}
        }
        let source = rustix::io::fcntl_dupfd_cloexec(source, 0).map_err(|error| failed("link", &entry.path, error))?;
        self.replacing(name, &entry.path, |here| rustix::fs::linkat(&source, last, here, name, AtFlags::empty()))
    }

    /// A new, empty file; set-id bits come later.
    fn create(&mut self, name: &[u8], entry: &Entry, mode: u32) -> Result<OwnedFd, Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o777);
        self.replacing(name, &entry.path, |here| rustix::fs::openat(here, name, flags, mode))
    }

    /// Copies `length` bytes of the entry's data to where `file` stands.
    fn data<S: Supply>(
        &mut self,
        file: &OwnedFd,
        entry: &Entry,
        length: u64,
        archive: &mut Archive<S>,
    ) -> Result<(), Failure> {
        let mut left = length;
        while left > 0 {
            let mut bytes = archive.data(left)?;
            let count = bytes.len() as u64;
            if count == 0 {
                return Err(super::super::tar::stream::ends_early());
            }
            while !bytes.is_empty() {
                match rustix::io::write(file, bytes) {
                    Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(failed("write", &entry.path, error)),
                }
            }
            left -= count;
            self.bytes += count;
            self.spend(count)?;
        }
        Ok(())
    }

    fn sparse_data<S: Supply>(
        &mut self,
        file: &OwnedFd,
        map: &SparseMap,
        entry: &Entry,
        archive: &mut Archive<S>,
    ) -> Result<(), Failure> {
        if map.real_size > self.limits.total {
            return Err(Failure::too_large(format!("file of {} bytes with its holes", map.real_size)));
        }
        for region in map.regions.iter().filter(|region| region.length > 0) {
            rustix::fs::seek(file, SeekFrom::Start(region.offset))
                .map_err(|error| failed("write", &entry.path, error))?;
            self.data(file, entry, region.length, archive)?;
        }
        rustix::fs::ftruncate(file, map.real_size).map_err(|error| failed("write", &entry.path, error))
    }

    /// Gives a new file its owner; new files are root's already.
    fn own_file(&mut self, file: &OwnedFd, entry: &Entry) -> Result<Owner, Failure> {
        if is_root(entry) || self.noted.is_some() {
            return Ok(Owner::Mapped);
        }
        let result = rustix::fs::fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        // What a container gets as a directory of its own is on no server's file system: whoever answers its calls
        // looks for an attribute there.
        let mounted = matches!(self.manner, Manner::Tree { root: true, .. });
        let given = || {
            let set = |name, record: Record| {
                rustix::fs::fsetxattr(file, name, record.text().as_bytes(), rustix::fs::XattrFlags::empty())
            };
            let asked = set(TRUTH, Record { mode: 0, ..record(entry) });
            asked.or_else(|error| if mounted { set(XATTR, record(entry)) } else { Err(error) })
        };
        self.owned(result, given, entry)
    }

    /// Gives what stands at `name` its owner, whatever it is.
    fn own_name(&mut self, name: &[u8], entry: &Entry) -> Result<Owner, Failure> {
        if self.noted.is_some() {
            return Ok(Owner::Mapped);
        }
        let (uid, gid) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        let result = rustix::fs::chownat(self.walk.here(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        let here = rustix::io::fcntl_dupfd_cloexec(self.walk.here(), 3);
        self.owned(result, || truth::give(here?.as_fd(), name, (entry.uid, entry.gid)), entry)
    }

    /// What came of giving a file away; `given` asks the server of its file system, which may record the owner.
    fn owned(
        &mut self,
        result: Result<(), Errno>,
        given: impl FnOnce() -> Result<(), Errno>,
        entry: &Entry,
    ) -> Result<Owner, Failure> {
        match result {
            Ok(()) => Ok(Owner::Mapped),
            // The kernel's word for an id that the namespace does not map.
            Err(Errno::INVAL) if self.manner != Manner::Layer && given().is_ok() => Ok(Owner::Mapped),
            Err(Errno::INVAL) => {
                let owner = format!("{}:{}", entry.uid, entry.gid);
                self.warnings.add(WarningKind::UnmappedOwner, &entry.path, &owner);
                Ok(Owner::Unmapped)
            }
            Err(error) => Err(failed("set the owner of", &entry.path, error)),
        }
    }

    fn date(&mut self, file: &OwnedFd, entry: &Entry) -> Result<(), Failure> {
        rustix::fs::futimens(file, &timestamps(entry.mtime))
            .map_err(|error| failed("set the time of", &entry.path, error))
    }

    /// The time of what has no descriptor to set it by.
    fn date_name(&mut self, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        let here: BorrowedFd<'_> = self.walk.here();
        rustix::fs::utimensat(here, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed("set the time of", &entry.path, error))
    }
}

/// The time of the last change; the time of the last access stays what it is,
/// now, so that reading the file does not change it soon (relatime).
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

fn is_root(entry: &Entry) -> bool {
    entry.uid == 0 && entry.gid == 0
}

/// The mode of an entry; without set-id bits where they would mean another id.
fn granted(entry: &Entry, owner: Owner) -> u32 {
    if owner == Owner::Unmapped { entry.mode & 0o1777 } else { entry.mode }
}
