//! What builds have kept: measured, and removed.

use std::os::fd::AsFd as _;

use crate::engine::Engine;
use crate::engine::api::{BuildRoom, BuildsPruned, Failure, PruneBuilds};
use crate::store::{Access, Age, Store};

impl Engine {
    /// Forgets steps of builds, and removes their layers where no image has them.
    ///
    /// # Errors
    /// What the store says; what is gone is gone.
    pub(in crate::engine) fn prune_builds(&self, prune: PruneBuilds) -> Result<BuildsPruned, Failure> {
        let store = self.store(Access::Write)?;
        let mut pruned = BuildsPruned::default();
        let mut objects = Vec::new();
        for (key, cached) in store.cached_steps()? {
            if prune.until.is_some_and(|until| cached.used >= until) {
                continue;
            }
            store.forget_step(&key)?;
            objects.extend(cached.layer.into_iter().flat_map(|layer| [layer.blob, layer.diff_id]));
            pruned.steps.push(cached.step);
        }
        objects.sort();
        objects.dedup();
        if prune.until.is_none() {
            store.forget_downloads()?;
        }
        let collected = store.discard_unused(objects)?;
        self.remove_foreign(&collected.leftovers)?;
        pruned.reclaimed = collected.bytes;
        if prune.mounts {
            pruned.reclaimed += self.remove_mounts(&store)?;
        }
        store.collect_garbage(Age::Hour)?;
        Ok(pruned)
    }

    /// Removes the directories that steps share, but for those that a build has mounted.
    fn remove_mounts(&self, store: &Store) -> Result<u64, Failure> {
        let mut bytes = 0;
        for path in store.build_mount_paths()? {
            let Ok(directory) = std::fs::File::open(&path) else { continue };
            if rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            bytes += self.measure(&path).unwrap_or_default();
            self.worker()?.empty(directory.as_fd())?;
            let _ = std::fs::remove_dir(&path);
        }
        Ok(bytes)
    }

    /// What builds have kept.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn build_room(&self, store: &Store) -> Result<BuildRoom, Failure> {
        let uses = store.layer_uses()?;
        let mut room = BuildRoom::default();
        let mut seen = std::collections::BTreeSet::new();
        for (_, cached) in store.cached_steps()? {
            room.entries += 1;
            let Some(layer) = cached.layer.filter(|layer| seen.insert(layer.diff_id.clone())) else { continue };
            if uses.iter().any(|used| used.diff_id == layer.diff_id && !used.images.is_empty()) {
                room.active += 1;
            } else {
                room.size += store.layer_stats(&layer.diff_id).map_or(0, |stats| stats.bytes) + layer.size;
            }
        }
        for path in store.build_mount_paths()? {
            room.entries += 1;
            room.size += self.measure(&path).unwrap_or_default();
        }
        Ok(room)
    }
}
