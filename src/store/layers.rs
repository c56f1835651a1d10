//! Unpacked layers: directories named by their diffID, shared by all images.
//!
//! A layer is unpacked beside its place, under its lock. The marker `complete`
//! is written when all files are there, then the directory gets its name: a
//! directory without marker is garbage.
//!
//! # Power cuts
//! Syncing each of sixty thousand small files would cost more than a second
//! download, so files are synced all together ([`Settle::Now`]: syncfs(2)
//! before the marker) or by the kernel in its own time ([`Settle::Later`]). In
//! the latter case the marker names the boot of the machine: within that boot
//! the page cache has the files, whatever the disk has; after another boot the
//! layer counts as missing and is unpacked again from its blob, which *was*
//! synced. [`Store::settle_layers`] ends that state when there is time.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::image::Image;
use super::lock::{Lock, Wait};
use super::{Durability, Layout, Store, atomic, cas, clock, db, trash};
use crate::model::digest::Digest;
use crate::sys::failpoint;

/// How long whoever unpacks may take to notice that nobody waits for it any more.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the worker found out about a layer while unpacking it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStats {
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
}

/// An unpacked layer, and the images that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// Which layer.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// The images.
    pub images: Vec<Digest>,
}

/// When the files of a layer are written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Before the layer gets its name.
    Now,
    /// In the kernel's own time.
    Later,
}

/// A layer that is being unpacked, and the lock that makes it ours.
#[derive(Debug)]
pub struct LayerIngest {
    diff_id: Digest,
    staging: PathBuf,
    leftovers: Vec<PathBuf>,
    _lock: Lock,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    #[serde(flatten)]
    stats: LayerStats,
    /// The boot in which the files were written, unless they are known to be on disk.
    boot: Option<String>,
}

impl LayerIngest {
    /// Which layer this is.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// The directory to unpack into; empty, mode 0755, ours.
    pub fn diff(&self) -> PathBuf {
        self.staging.join("diff")
    }

    /// The same, open and locked for as long as any copy of the descriptor is: whoever writes there may outlive us by
    /// a moment, and must have ended before somebody else removes what is left.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open_diff(&self) -> Result<OwnedFd, StoreError> {
        let path = self.diff();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let diff = rustix::fs::open(&path, flags, Mode::empty()).map_err(StoreError::errno("open", &path))?;
        // Where directories cannot be locked there is only the hope that the writer is quick.
        let _ = rustix::fs::flock(&diff, FlockOperation::NonBlockingLockShared);
        Ok(diff)
    }

    /// What killed processes left of this layer and we may not delete: for the worker.
    pub fn leftovers(&self) -> &[PathBuf] {
        &self.leftovers
    }
}

impl Store {
    /// Whether the layer is unpacked, whole, and certain to be so.
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.marker(diff_id).is_some()
    }

    /// What is known of an unpacked layer.
    pub fn layer_stats(&self, diff_id: &Digest) -> Option<LayerStats> {
        self.marker(diff_id).map(|marker| marker.stats)
    }

    /// The directories of an image's layers, the uppermost first, as overlayfs wants them.
    ///
    /// # Errors
    /// [`StoreError::MissingLayer`] for one that has to be unpacked again.
    pub fn layer_dirs(&self, image: &Image) -> Result<Vec<PathBuf>, StoreError> {
        let missing = |diff_id: &Digest| StoreError::MissingLayer(diff_id.clone());
        let mut current_boot = None;
        let dir = |layer: &super::image::ImageLayer| {
            let doubtful = image.unsettled.iter().find(|(diff_id, _)| *diff_id == layer.diff_id);
            // The marker has the last word: who unpacks again writes it before the row.
            if let Some((_, boot)) = doubtful
                && boot != current_boot.get_or_insert_with(clock::boot_id)
                && !self.has_layer(&layer.diff_id)
            {
                return Err(missing(&layer.diff_id));
            }
            // Somebody may have deleted it under our feet: one stat, and a precise sentence.
            if !complete(&self.layout.layer(&layer.diff_id)).exists() {
                return Err(missing(&layer.diff_id));
            }
            Ok(self.layout.layer_diff(&layer.diff_id))
        };
        image.layers.iter().rev().map(dir).collect()
    }

    /// Begins to unpack a layer. `None` means that it is here, perhaps since a moment ago.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process or task unpacks it, or what the file system says.
    pub fn begin_layer(&self, diff_id: &Digest, wait: Wait) -> Result<Option<LayerIngest>, StoreError> {
        if self.has_layer(diff_id) {
            return Ok(None);
        }
        let lock = Lock::acquire(&self.layout.layer_lock(diff_id), &format!("layer {diff_id}"), wait)?;
        if self.has_layer(diff_id) || self.restore_marker(diff_id)? {
            return Ok(None);
        }
        let leftovers = self.clear_partial(diff_id)?;
        let staging = atomic::sibling(&self.layout.layer(diff_id));
        let diff = staging.join("diff");
        for (path, mode) in [(&staging, 0o700), (&diff, 0o755)] {
            std::fs::create_dir(path).map_err(StoreError::io("create", path))?;
            // The uppermost directory's mode is what a container sees of its root: no umask in it.
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::chmod(path, mode).map_err(StoreError::errno("chmod", path))?;
        }
        Ok(Some(LayerIngest { diff_id: diff_id.clone(), staging, leftovers, _lock: lock }))
    }

    /// Writes the marker of a layer again, if the layer is in its place and the database knows that it was whole:
    /// containers may run on it. Its lock is held.
    fn restore_marker(&self, diff_id: &Digest) -> Result<bool, StoreError> {
        if !self.layout.layer_diff(diff_id).is_dir() {
            return Ok(false);
        }
        let known = self.db.read(|db| Ok(db::layers::stats(db, diff_id)?.zip(Some(db::layers::unsettled(db)?))))?;
        let Some((stats, unsettled)) = known else { return Ok(false) };
        let boot = unsettled.into_iter().find(|(unsettled, _)| unsettled == diff_id).map(|(_, boot)| boot);
        if boot.as_ref().is_some_and(|boot| *boot != clock::boot_id()) {
            return Ok(false);
        }
        let text = serde_json::to_vec(&Marker { stats, boot }).unwrap_or_default();
        atomic::replace(&complete(&self.layout.layer(diff_id)), &text, 0o600, Durability::Durable)?;
        Ok(true)
    }

    /// Gives an unpacked layer its place.
    ///
    /// # Errors
    /// What the file system says; the layer is then not there.
    pub fn commit_layer(&self, ingest: LayerIngest, stats: &LayerStats, settle: Settle) -> Result<(), StoreError> {
        // The lock is held until the end of this function.
        let LayerIngest { diff_id, staging, leftovers: _, _lock } = ingest;
        let boot = match settle {
            Settle::Now => {
                self.sync_files()?;
                None
            }
            Settle::Later => Some(clock::boot_id()),
        };
        let marker = serde_json::to_vec(&Marker { stats: *stats, boot: boot.clone() }).unwrap_or_default();
        let durability = if settle == Settle::Now { Durability::Durable } else { Durability::Throwaway };
        failpoint::reach!("layer.unpacked");
        cas::write_marker(&complete(&staging), &marker, durability)?;
        failpoint::reach!("layer.marked");
        let place = self.layout.layer(&diff_id);
        if !atomic::rename_new(&staging, &place)? {
            // What stands there is not whole, or begin_layer would have said so.
            let old = trash::discard(&self.layout, &place)?;
            atomic::rename_new(&staging, &place)?;
            trash::delete(old.into_iter());
        }
        failpoint::reach!("layer.named");
        if settle == Settle::Now {
            atomic::sync_directory(&self.layout.layers())?;
        }
        self.db.write(Durability::Throwaway, |db| Ok(db::layers::put(db, &diff_id, stats, boot.as_deref())?))
    }

    /// Gives up a layer; the paths are what we may not delete ourselves.
    pub fn abort_layer(&self, ingest: LayerIngest) -> Vec<PathBuf> {
        let LayerIngest { staging, leftovers: _, diff_id: _, _lock } = ingest;
        let place = trash::discard(&self.layout, &staging);
        trash::delete(place.into_iter().flatten())
    }

    /// Waits until all unpacked layers are on disk, and notes it. Says how many were in doubt.
    ///
    /// # Errors
    /// What syncfs(2) or the database says.
    pub fn settle_layers(&self) -> Result<usize, StoreError> {
        let boot = clock::boot_id();
        let unsettled = self.db.read(|db| Ok(db::layers::unsettled(db)?))?;
        let ours: Vec<_> = unsettled.into_iter().filter(|(_, of)| *of == boot).map(|(diff_id, _)| diff_id).collect();
        if ours.is_empty() {
            return Ok(0);
        }
        self.sync_files()?;
        for diff_id in &ours {
            if let Some(stats) = self.layer_stats(diff_id) {
                let marker = serde_json::to_vec(&Marker { stats, boot: None }).unwrap_or_default();
                let path = complete(&self.layout.layer(diff_id));
                let replaced = atomic::replace(&path, &marker, 0o600, Durability::Durable);
                // One that was removed meanwhile needs no marker.
                if replaced.is_err() && path.exists() {
                    replaced?;
                }
            }
        }
        self.db.write(Durability::Durable, |db| {
            ours.iter().try_for_each(|diff_id| db::layers::settle(db, diff_id, &boot))?;
            Ok(())
        })?;
        Ok(ours.len())
    }

    /// All layers that images need.
    ///
    /// # Errors
    /// What the database says.
    pub fn layer_uses(&self) -> Result<Vec<LayerUse>, StoreError> {
        let rows = self.db.read(|db| Ok(db::layers::uses(db)?))?;
        let mut uses: Vec<LayerUse> = Vec::new();
        for (diff_id, bytes, image) in rows {
            match uses.last_mut().filter(|last| last.diff_id == diff_id) {
                Some(last) => last.images.push(image),
                None => uses.push(LayerUse { diff_id, bytes, images: vec![image] }),
            }
        }
        Ok(uses)
    }

    fn marker(&self, diff_id: &Digest) -> Option<Marker> {
        marker(&self.layout, diff_id)
    }

    /// Removes what killed processes left of a layer whose lock we hold.
    fn clear_partial(&self, diff_id: &Digest) -> Result<Vec<PathBuf>, StoreError> {
        let layers = self.layout.layers();
        let prefix = format!("{}.partial-", diff_id.hex());
        let mut discarded = Vec::new();
        for entry in std::fs::read_dir(&layers).map_err(StoreError::io("read", &layers))? {
            let entry = entry.map_err(StoreError::io("read", &layers))?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) && is_left(&entry.path()) {
                discarded.extend(trash::discard(&self.layout, &entry.path())?);
            }
        }
        Ok(trash::delete(discarded.into_iter()))
    }

    /// All that was written to the store's file system is on disk once this has returned.
    fn sync_files(&self) -> Result<(), StoreError> {
        let layers = self.layout.layers();
        let directory = std::fs::File::open(&layers).map_err(StoreError::io("open", &layers))?;
        rustix::fs::syncfs(directory).map_err(StoreError::errno("sync", &layers))
    }
}

/// Whether nobody writes to what an interrupted unpacking has left: its writer ends when it misses whoever started it,
/// which is waited for.
pub(super) fn is_left(staging: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(diff) = rustix::fs::open(staging.join("diff"), flags, Mode::empty()) else { return true };
    let started = Instant::now();
    loop {
        match rustix::fs::flock(&diff, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) if started.elapsed() < LAST_WORDS => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => return false,
            // Free, or on a file system without locks.
            _ => return true,
        }
    }
}

/// What the marker on disk says, if the layer is whole.
pub(super) fn marker_in(layout: &Layout, diff_id: &Digest) -> Option<(LayerStats, Option<String>)> {
    marker(layout, diff_id).map(|marker| (marker.stats, marker.boot))
}

fn marker(layout: &Layout, diff_id: &Digest) -> Option<Marker> {
    let text = std::fs::read(complete(&layout.layer(diff_id))).ok()?;
    let marker: Marker = serde_json::from_slice(&text).ok()?;
    let certain = marker.boot.as_ref().is_none_or(|boot| *boot == clock::boot_id());
    certain.then_some(marker)
}

/// The marker of the layer in `directory`, written last.
pub(super) fn complete(directory: &Path) -> PathBuf {
    directory.join("complete")
}
