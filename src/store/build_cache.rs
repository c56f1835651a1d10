//! Layers that builds have made, found again by what made them: one small file a step.
//!
//! Whoever writes such a file holds a lease on what it names; from then on the file keeps it. A file
//! whose layer is not there any more says nothing.

use std::collections::HashSet;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode};
use serde::{Deserialize, Serialize};

use super::image::ImageLayer;
use super::{Durability, Store, StoreError, atomic, clock, gc};
use crate::model::digest::Digest;

/// What a step has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedStep {
    /// The layer; none if the step changed no file.
    pub layer: Option<ImageLayer>,
    /// When it was made, in milliseconds since the epoch.
    pub created: i64,
    /// When it was used last.
    pub used: i64,
    /// The step, for people.
    pub step: String,
}

/// A file that a build has downloaded: what it was, not its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downloaded {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Which version it was, in the words of who serves it.
    pub version: serde_json::Value,
}

impl Store {
    /// What was downloaded from an address the last time.
    pub fn downloaded(&self, address: &str) -> Option<Downloaded> {
        serde_json::from_slice(&std::fs::read(self.download_path(address)).ok()?).ok()
    }

    /// Notes what was downloaded.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note_download(&self, address: &str, downloaded: &Downloaded) -> Result<(), StoreError> {
        let (directory, path) = (self.layout.downloads(), self.download_path(address));
        std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        let text = serde_json::to_vec(downloaded).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        atomic::replace(&path, &text, 0o600, Durability::Throwaway)
    }

    /// Forgets all downloads.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forget_downloads(&self) -> Result<(), StoreError> {
        let directory = self.layout.downloads();
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &directory)(error))
            }
            _ => Ok(()),
        }
    }

    /// An address may bear a signature: its hash is the name.
    fn download_path(&self, address: &str) -> PathBuf {
        self.layout.downloads().join(Digest::of(address.as_bytes()).hex())
    }

    /// What the step with this key has made, if it is here, whole.
    pub fn cached_step(&self, key: &Digest) -> Option<CachedStep> {
        let text = std::fs::read(self.cached_path(key)).ok()?;
        let mut cached: CachedStep = serde_json::from_slice(&text).ok()?;
        let is_here = |layer: &ImageLayer| self.has_layer(&layer.diff_id) && self.has_blob(&layer.blob);
        if !cached.layer.as_ref().is_none_or(is_here) {
            return None;
        }
        // A day is fine enough for `prune --filter until=`.
        const DAY: i64 = 24 * 60 * 60 * 1000;
        if clock::now() - cached.used > DAY {
            cached.used = clock::now();
            // Not noted, it seems older than it is.
            let _ = self.cache_step(key, &cached);
        }
        Some(cached)
    }

    /// Notes what the step with this key has made.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cache_step(&self, key: &Digest, cached: &CachedStep) -> Result<(), StoreError> {
        let path = self.cached_path(key);
        let text = serde_json::to_vec(cached).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        atomic::replace(&path, &text, 0o600, Durability::Throwaway)
    }

    /// All that is noted, with its keys.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cached_steps(&self) -> Result<Vec<(Digest, CachedStep)>, StoreError> {
        let directory = self.layout.build_cache();
        let read = |name: String| {
            let key = format!("sha256:{name}").parse::<Digest>().ok()?;
            let text = std::fs::read(directory.join(name)).ok()?;
            Some((key, serde_json::from_slice(&text).ok()?))
        };
        Ok(gc::names(&directory)?.into_iter().filter_map(read).collect())
    }

    /// Forgets a step; its layer goes with the next collection, unless an image has it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forget_step(&self, key: &Digest) -> Result<(), StoreError> {
        let path = self.cached_path(key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// The directory of a cache mount, which is made if it is not there: ours, whoever owns what is in it. The name is
    /// a hash: no id is a path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn build_mount(&self, id: &str) -> Result<PathBuf, StoreError> {
        let path = self.layout.build_mounts().join(Digest::of(format!("cache {id}").as_bytes()).hex());
        std::fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        // As root's home is to root: the umask of ours has no say inside.
        rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())
            .map_err(StoreError::errno("chmod", &path))?;
        Ok(path)
    }

    /// The directories of all cache mounts.
    ///
    /// # Errors
    /// What the file system says.
    pub fn build_mount_paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        let directory = self.layout.build_mounts();
        Ok(gc::names(&directory)?.into_iter().map(|name| directory.join(name)).collect())
    }

    /// Blobs and layers that are noted.
    pub(super) fn held_by_build_cache(&self) -> Result<HashSet<Digest>, StoreError> {
        let layers = self.cached_steps()?.into_iter().filter_map(|(_, cached)| cached.layer);
        Ok(layers.flat_map(|layer| [layer.diff_id, layer.blob]).collect())
    }

    fn cached_path(&self, key: &Digest) -> PathBuf {
        self.layout.build_cache().join(key.hex())
    }
}
