//! Things that can be made again at any time: what was found out about this machine,
//! and files beside layers.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode};

use super::{Durability, Store, StoreError, atomic};

/// A file that appears under its name when it is whole. Dropped before, it is gone.
#[derive(Debug)]
pub struct Staging {
    file: File,
    staged: PathBuf,
    path: PathBuf,
}

impl Store {
    /// What was noted as `name`.
    pub fn recall(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.layout.cache().join(name)).ok()
    }

    /// Notes `bytes` as `name`, until somebody empties the cache.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remember(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        atomic::replace(&self.layout.cache().join(name), bytes, 0o600, Durability::Throwaway)
    }

    /// A new empty directory on the file system that containers are on, for trying something.
    ///
    /// # Errors
    /// What the file system says.
    pub fn trial_directory(&self) -> Result<PathBuf, StoreError> {
        let path = atomic::sibling(&self.layout.trash().join("trial"));
        rustix::fs::mkdirat(CWD, &path, Mode::RWXU).map_err(StoreError::errno("create", &path))?;
        Ok(path)
    }

    /// Begins to write the file `path`, which lies beside a layer.
    ///
    /// # Errors
    /// What the file system says.
    pub fn stage(&self, path: &Path) -> Result<Staging, StoreError> {
        let staged = atomic::sibling(path);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&staged)
            .map_err(StoreError::io("create", &staged))?;
        // As long as we live nobody takes it for forgotten.
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(StoreError::errno("lock", &staged))?;
        Ok(Staging { file, staged, path: path.to_owned() })
    }
}

impl Staging {
    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, over one that another process may have made meanwhile.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(self) -> Result<PathBuf, StoreError> {
        std::fs::rename(&self.staged, &self.path).map_err(StoreError::io("rename", &self.staged))?;
        Ok(self.path.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Kept, it is not there under this name any more.
        let _ = std::fs::remove_file(&self.staged);
    }
}
