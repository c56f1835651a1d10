//! What is kept: blobs, unpacked layers, bundles, and the rows that find them.
//!
//! The order of truth is blob, manifest, row: a row never refers to what is not
//! on disk, so a process killed at any moment leaves at most files that nothing
//! refers to, and [`Store::collect_garbage`] takes those. The database answers
//! questions and keeps names unique; the bytes are files named by their digest.
//!
//! This room decides nothing about images or containers, speaks no protocol and
//! enters no namespace. Files that belong to mapped ids and that we may not
//! delete are handed back as paths, for the worker.

mod atomic;
pub mod build_cache;
pub mod bundle;
pub mod cache;
mod cas;
pub mod check;
mod clock;
pub mod containers;
mod db;
mod error;
mod gc;
pub mod image;
mod images;
mod init_layer;
pub mod layers;
mod layout;
mod leases;
mod lock;
pub mod networks;
mod pressings;
mod rebuild;
mod remove;
mod trash;
pub mod volumes;

#[cfg(test)]
mod tests;

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

pub use cas::{Ingest, Spool};
pub use error::StoreError;
pub use gc::{Age, Collected};
pub use layout::Layout;
pub use leases::Lease;
pub use lock::{Lock, Wait};
pub use remove::{Force, Removed};

use crate::model::id::{ContainerId, ContainerName};
use db::Db;

/// What a request is going to do with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is changed: works on a read-only file system, and a store that does not exist is an empty one.
    Read,
    /// The store is made if it does not exist.
    Write,
}

/// What has to survive a power cut once the call has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The change.
    Durable,
    /// Only what was there before: for containers that nobody will ask for again.
    Throwaway,
}

/// A store that is open.
///
/// It is cheap to open, so each verb opens its own; it may move between threads
/// but is used by one at a time.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    db: Db,
}

impl Store {
    /// Opens the store at `root`.
    ///
    /// # Errors
    /// If the root is not ours alone ([`StoreError::ForeignRoot`], [`StoreError::WideRoot`]), cannot be made or
    /// read, or if its database is damaged or of a later version.
    pub fn open(root: &Path, access: Access) -> Result<Self, StoreError> {
        let layout = Layout::new(root);
        let exists = check_root(root, access)?;
        let db = match access {
            Access::Write => Db::open_or_create(&layout)?,
            Access::Read if exists => Db::open_existing(&layout)?,
            Access::Read => Db::empty(&layout.database())?,
        };
        Ok(Self { layout, db })
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The names of all volumes, sorted.
    pub fn volume_names(&self) -> Vec<ContainerName> {
        let entries = std::fs::read_dir(self.layout.volumes()).into_iter().flatten().flatten();
        let mut names: Vec<ContainerName> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        names
    }

    /// Takes the lock of a container.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with the process that has it.
    pub fn lock_container(&self, id: &ContainerId, wait: Wait) -> Result<Lock, StoreError> {
        Lock::acquire(&self.layout.container_lock(id), &format!("container {}", id.short()), wait)
    }

    /// Fails early if `needed` bytes have no room; a file system that does not tell has room.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] with both numbers.
    pub fn check_space(&self, needed: u64) -> Result<(), StoreError> {
        match error::available(self.layout.root()) {
            Some(available) if available < needed => Err(StoreError::NoSpace {
                operation: "write to",
                path: self.layout.root().into(),
                needed: Some(needed),
                left: error::Left::Bytes(available),
            }),
            _ => Ok(()),
        }
    }
}

/// Looks at the root by one open descriptor; makes it if that is wanted. Says whether it is there.
fn check_root(root: &Path, access: Access) -> Result<bool, StoreError> {
    let open = || std::fs::File::options().read(true).custom_directory().open(root);
    let directory = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if access == Access::Read {
                return Ok(false);
            }
            check_name(root)?;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(root).map_err(StoreError::io("create the store", root))?;
            open()
        }
        other => other,
    }
    .map_err(StoreError::io("open the store", root))?;
    if access == Access::Write {
        check_name(root)?;
    }
    let metadata = directory.metadata().map_err(StoreError::io("look at", root))?;
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(StoreError::ForeignRoot { path: root.into(), owner: metadata.uid(), ours });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(true);
    }
    // A directory just made for us with the usual umask is put right; one with
    // something in it may be open to others for a reason.
    let is_empty = || std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    if access == Access::Write && is_empty() {
        rustix::fs::fchmod(&directory, rustix::fs::Mode::RWXU).map_err(StoreError::errno("chmod", root))?;
        return Ok(true);
    }
    Err(StoreError::WideRoot { path: root.into(), mode })
}

/// Overlays take their directories in a list with these between them, and config.json no line breaks.
fn check_name(root: &Path) -> Result<(), StoreError> {
    let unfit = |c: char| matches!(c, ',' | ':' | '\\') || c.is_control();
    match root.to_str().map(|text| text.chars().find(|c| unfit(*c))) {
        Some(None) => Ok(()),
        Some(found) => Err(StoreError::UnfitRoot { path: root.into(), found }),
        None => Err(StoreError::UnfitRoot { path: root.into(), found: None }),
    }
}

trait OpenDirectory {
    fn custom_directory(&mut self) -> &mut Self;
}

impl OpenDirectory for std::fs::OpenOptions {
    fn custom_directory(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt as _;
        self.custom_flags(rustix::fs::OFlags::DIRECTORY.bits().cast_signed())
    }
}
