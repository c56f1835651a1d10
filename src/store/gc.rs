//! Garbage collection: what no row refers to goes.
//!
//! A sweep asks, for each object and inside a write transaction, whether
//! anything refers to it, and renames it into the trash before the transaction
//! ends. Whoever is about to refer to an object does so in a write transaction
//! too and looks whether it is there: one of the two comes first. Deleting
//! happens afterwards, without lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bundle::{self, BundleFile};
use super::db::{self, Abort};
use super::layers::is_left;
use super::lock::{Attempt, Lock, is_abandoned};
use super::{Durability, Layout, Store, StoreError, trash};
use crate::model::digest::{Algorithm, Digest};
use crate::model::id::ContainerId;
use crate::sys::clock::time_of_day;

/// Objects a transaction: others wait for so many renames at most.
const BATCH: usize = 128;

/// What a process may still be going to refer to.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// How long what has arrived of a blob waits for somebody to go on.
const PARTIAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How old garbage has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// An hour: a process that makes an image refers to what it made within that time.
    Hour,
    /// Of any age: leases alone protect what is being made.
    Any,
}

impl Age {
    fn accepts(self, path: &Path, least: Duration) -> bool {
        let old = || {
            let modified = std::fs::symlink_metadata(path).and_then(|file| file.modified()).ok()?;
            Some(time_of_day().duration_since(modified).unwrap_or_default() >= least)
        };
        self == Self::Any || old().unwrap_or(false)
    }
}

/// What a collection found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that are gone.
    pub blobs: u64,
    /// Unpacked layers that are gone.
    pub layers: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files of other ids, for the worker to remove.
    pub leftovers: Vec<PathBuf>,
}

impl Store {
    /// Removes blobs and layers that no image and no lease refers to, what killed
    /// processes left half done, and directories of containers that do not exist.
    ///
    /// # Errors
    /// What the file system or the database says; all that went is gone.
    pub fn collect_garbage(&self, age: Age) -> Result<Collected, StoreError> {
        self.end_leases()?;
        let mut objects = self.named_objects()?;
        objects.sort();
        let mut collected = self.sweep_objects(objects.into_iter(), age)?;
        let (mut discarded, partial) = self.discard_partial(age)?;
        collected.bytes += partial;
        discarded.extend(self.discard_orphans()?);
        let waiting = names(&self.layout.trash())?.into_iter().map(|name| self.layout.trash().join(name));
        collected.leftovers = trash::delete(waiting.chain(discarded));
        collected.leftovers.sort();
        collected.leftovers.dedup();
        self.forget_pressings()?;
        self.renew_reserve();
        Ok(collected)
    }

    /// Removes what somebody brought and then found no use for, unless an image
    /// or another one's lease needs it.
    ///
    /// # Errors
    /// What the file system or the database says.
    pub fn discard_unused(&self, objects: impl IntoIterator<Item = Digest>) -> Result<Collected, StoreError> {
        self.sweep_objects(objects.into_iter(), Age::Any)
    }

    /// Removes those of `objects`, blobs and layers by their digest, that nothing refers to.
    pub(super) fn sweep_objects(
        &self,
        objects: impl Iterator<Item = Digest>,
        age: Age,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let mut objects = objects.peekable();
        let mut discarded = Vec::new();
        while objects.peek().is_some() {
            let batch: Vec<Digest> = objects.by_ref().take(BATCH).collect();
            let swept = self.with_reserve(|| {
                self.db.write(Durability::Throwaway, |db| {
                    let mut swept = Collected::default();
                    // Read here: a build notes a layer before it gives up its lease, which takes a transaction.
                    let cached = self.held_by_build_cache()?;
                    for digest in batch.iter().filter(|digest| !cached.contains(digest)) {
                        self.sweep_blob(db, digest, age, &mut swept)?;
                        self.sweep_layer(db, digest, age, &mut swept)?;
                    }
                    Ok(swept)
                })
            })?;
            collected.blobs += swept.blobs;
            collected.layers += swept.layers;
            collected.bytes += swept.bytes;
            discarded.extend(swept.leftovers);
        }
        collected.leftovers = trash::delete(discarded.into_iter());
        Ok(collected)
    }

    fn sweep_blob(
        &self,
        db: &rusqlite::Connection,
        digest: &Digest,
        age: Age,
        swept: &mut Collected,
    ) -> Result<(), Abort> {
        let path = self.layout.blob(digest);
        let Ok(file) = std::fs::symlink_metadata(&path) else { return Ok(()) };
        let needed = !age.accepts(&path, YOUNG)
            || db::image_layers::uses_blob(db, digest)?
            || db::manifests::is_document(db, digest)?
            || db::leases::holds(db, digest)?;
        if needed {
            return Ok(());
        }
        swept.leftovers.extend(trash::discard(&self.layout, &path)?);
        swept.blobs += 1;
        swept.bytes += file.len();
        Ok(())
    }

    fn sweep_layer(
        &self,
        db: &rusqlite::Connection,
        diff_id: &Digest,
        age: Age,
        swept: &mut Collected,
    ) -> Result<(), Abort> {
        let path = self.layout.layer(diff_id);
        if !path.exists() {
            return Ok(());
        }
        let needed =
            !age.accepts(&path, YOUNG) || db::image_layers::uses_layer(db, diff_id)? || db::leases::holds(db, diff_id)?;
        if needed {
            return Ok(());
        }
        swept.bytes += db::layers::stats(db, diff_id)?.map_or(0, |stats| stats.bytes);
        db::layers::delete(db, diff_id)?;
        swept.leftovers.extend(trash::discard(&self.layout, &path)?);
        swept.layers += 1;
        Ok(())
    }

    /// The digests that a blob or a layer in the store has as its name.
    fn named_objects(&self) -> Result<Vec<Digest>, StoreError> {
        let mut objects = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for name in names(&self.layout.blobs(algorithm))? {
                objects.extend(format!("{}:{name}", algorithm.name()).parse::<Digest>().ok());
            }
        }
        for name in names(&self.layout.layers())? {
            let algorithm = if name.len() == Algorithm::Sha512.hex_len() { "sha512" } else { "sha256" };
            objects.extend(format!("{algorithm}:{name}").parse::<Digest>().ok());
        }
        Ok(objects)
    }

    /// Moves away what killed processes have left of layers and of arriving blobs, and counts the latter's bytes.
    fn discard_partial(&self, age: Age) -> Result<(Vec<PathBuf>, u64), StoreError> {
        let mut discarded = Vec::new();
        let mut bytes = 0;
        let layers = self.layout.layers();
        for name in names(&layers)? {
            let Some((hex, _)) = name.split_once(".partial-") else { continue };
            // Whoever unpacks it holds its lock.
            let path = layers.join(&name);
            match Lock::attempt(&self.layout.locks().join(format!("layer-{hex}")))? {
                Attempt::Held(_lock) if is_left(&path) => discarded.extend(trash::discard(&self.layout, &path)?),
                _ => {}
            }
        }
        let ingests = self.layout.ingests();
        for name in names(&ingests)?.into_iter().filter(|name| !name.ends_with(".lock")) {
            let path = ingests.join(&name);
            if name.contains(".partial-") {
                // Whoever writes it has it locked.
                if is_abandoned(&path) {
                    discarded.extend(trash::discard(&self.layout, &path)?);
                }
                continue;
            }
            if !age.accepts(&path, PARTIAL) {
                continue;
            }
            match Lock::attempt(&ingests.join(format!("{name}.lock")))? {
                Attempt::Held(_lock) => {
                    bytes += std::fs::symlink_metadata(&path).map_or(0, |file| file.len());
                    discarded.extend(trash::discard(&self.layout, &path)?);
                }
                Attempt::Busy { .. } => {}
            }
        }
        for lock in locks(&self.layout)?.into_iter().filter(|lock| is_abandoned(lock)) {
            discarded.extend(trash::discard(&self.layout, &lock)?);
        }
        Ok((discarded, bytes))
    }

    /// Moves away bundles of containers that have no row, and never had one. One that is getting its row just now is
    /// locked, whatever the clock says.
    fn discard_orphans(&self) -> Result<Vec<PathBuf>, StoreError> {
        let containers = self.layout.containers();
        let free = |name: &String| {
            let path = containers.join(name);
            Age::Hour.accepts(&path, YOUNG) && bundle::is_free(&path) && !path.join(BundleFile::Row.name()).exists()
        };
        let mut candidates: Vec<String> = names(&containers)?.into_iter().filter(free).collect();
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.db.read(|db| Ok(db::containers::ids(db)?))?;
        candidates.retain(|name| name.parse::<ContainerId>().map_or(true, |id| known.binary_search(&id).is_err()));
        let discard = |name: &String| trash::discard(&self.layout, &containers.join(name)).transpose();
        candidates.iter().filter_map(discard).collect()
    }
}

/// All lock files; whoever uses one has it locked, and removes it when it is not needed any more.
pub(super) fn locks(layout: &Layout) -> Result<Vec<PathBuf>, StoreError> {
    let (locks, ingests) = (layout.locks(), layout.ingests());
    let of_objects = names(&locks)?.into_iter().map(|name| locks.join(name));
    let of_blobs = names(&ingests)?.into_iter().filter(|name| name.ends_with(".lock")).map(|name| ingests.join(name));
    Ok(of_objects.chain(of_blobs).collect())
}

/// The names in a directory; a directory that is gone has none.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StoreError::io("read", directory))?,
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(StoreError::io("read", directory))
    };
    entries.map(name).collect()
}
