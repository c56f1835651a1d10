//! Bundles: the directory of a container, with the files that the monitor, the
//! launcher and the container itself read.
//!
//! Nothing here is synced for a throwaway container, and a new bundle costs a
//! handful of system calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::containers::Container;
use super::{Durability, Store, StoreError, atomic, trash};
use crate::model::id::ContainerId;

/// The directory of one container.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    directory: OwnedFd,
}

/// The files of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleFile {
    /// The OCI runtime document.
    Config,
    /// A copy of the row, from which a lost database is made again.
    Row,
    /// What the monitor is told at each start.
    Start,
    /// `/etc/hosts` of the container.
    Hosts,
    /// `/etc/hostname` of the container.
    Hostname,
    /// `/etc/resolv.conf` of the container.
    ResolvConf,
}

impl BundleFile {
    /// Its name in the bundle.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config.json",
            Self::Row => "container.json",
            Self::Start => "start.json",
            Self::Hosts => "hosts",
            Self::Hostname => "hostname",
            Self::ResolvConf => "resolv.conf",
        }
    }

    /// The container's own files are for all its users.
    fn mode(self) -> u32 {
        match self {
            Self::Config | Self::Row | Self::Start => 0o600,
            Self::Hosts | Self::Hostname | Self::ResolvConf => 0o644,
        }
    }
}

impl Bundle {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file is, whether it is written yet or not.
    pub fn file(&self, file: BundleFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// What the container changes of its image.
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// The working directory of overlayfs.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Where the root file system is mounted.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Writes a file, over what may be there, whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, file: BundleFile, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
        let path = self.file(file);
        if durability == Durability::Throwaway && !path.exists() {
            // Nobody looks into a bundle before its row is there.
            return atomic::create(&path, bytes, file.mode()).map(drop);
        }
        atomic::replace(&path, bytes, file.mode(), durability)
    }

    /// Writes the copy of the row, see [`BundleFile::Row`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, container: &Container) -> Result<(), StoreError> {
        let path = self.file(BundleFile::Row);
        let text = serde_json::to_vec(container).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        // A copy that a power cut takes is missed only if the database goes with it.
        self.write(BundleFile::Row, &text, Durability::Throwaway)
    }
}

impl AsFd for Bundle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Store {
    /// Makes the bundle of a new container: `upper` (mode 0755, as it shows as the container's `/`), `work`, `rootfs`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create_bundle(&self, id: &ContainerId) -> Result<Bundle, StoreError> {
        let path = self.layout.container(id);
        rustix::fs::mkdirat(CWD, &path, Mode::RWXU).map_err(StoreError::errno("create", &path))?;
        let bundle = self.open_bundle(id)?;
        for name in ["upper", "work", "rootfs"] {
            rustix::fs::mkdirat(&bundle.directory, name, Mode::from_raw_mode(0o755))
                .map_err(StoreError::errno("create", &path.join(name)))?;
        }
        // mkdir(2) applies the process's umask of 077.
        rustix::fs::chmodat(&bundle.directory, "upper", Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())
            .map_err(StoreError::errno("chmod", &bundle.upper()))?;
        Ok(bundle)
    }

    /// Opens the bundle of a container.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open_bundle(&self, id: &ContainerId) -> Result<Bundle, StoreError> {
        let path = self.layout.container(id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty()).map_err(StoreError::errno("open", &path))?;
        Ok(Bundle { path, directory })
    }

    /// Removes the bundle of a container whose row is gone; one that is gone already is fine. Returns what belongs to
    /// other ids and is left, for the worker.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_bundle(&self, id: &ContainerId) -> Result<Vec<PathBuf>, StoreError> {
        let path = self.layout.container(id);
        // In place first: most bundles hold a dozen files of ours. What is left
        // over goes to the trash, where the next collection finds it.
        match trash::delete_tree(&path) {
            Ok(()) => Ok(Vec::new()),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(_) => Ok(trash::discard(&self.layout, &path)?.into_iter().collect()),
        }
    }
}

/// Whether nobody holds the lock of the directory.
pub(super) fn is_free(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    rustix::fs::flock(directory, FlockOperation::NonBlockingLockShared).is_ok()
}
