//! `ps`.

use super::reconcile::{Look, look};
use crate::engine::Engine;
use crate::engine::api::{ContainerSummary, Failure, ListContainers};
use crate::model::container::{MountSource, NetworkMode};
use crate::model::id::ContainerId;
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::{Access, Durability, Store, StoreError};

impl Engine {
    pub(in crate::engine) fn list_containers(&self, list: &ListContainers) -> Result<Vec<ContainerSummary>, Failure> {
        let store = self.store(Access::Read)?;
        let mut summaries = Vec::new();
        let mut over = Vec::new();
        for container in store.list_containers()? {
            match look(&store, container) {
                Look::Here(container) => summaries.push(summary(container)),
                Look::Over(container) => over.push(container.id),
            }
        }
        // Their locks are held until they are gone.
        let ownerless = ownerless(&store, &summaries);
        over.extend(ownerless.iter().map(|(id, _)| id.clone()));
        self.discard_all(&over);
        Ok(list.select(summaries))
    }

    /// Removes what is over; a store that cannot be written keeps it until one can.
    fn discard_all(&self, over: &[ContainerId]) {
        if over.is_empty() {
            return;
        }
        if let Ok(store) = self.store(Access::Write) {
            for id in over {
                let _ = self.discard_container(&store, id, Durability::Throwaway);
            }
        }
    }
}

/// Bundles of a maker who was killed before there was a row, locked.
fn ownerless(store: &Store, known: &[ContainerSummary]) -> Vec<(ContainerId, Bundle)> {
    let Ok(entries) = std::fs::read_dir(store.layout().containers()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let known: std::collections::HashSet<&str> = known.iter().map(|container| container.id.as_str()).collect();
    let unknown = names.filter(|name| !known.contains(name.as_str()));
    unknown.filter_map(|name| name.parse().ok()).filter_map(|id| claim(store, id)).collect()
}

/// Looked at under its lock: a row may have come since the list was read.
fn claim(store: &Store, id: ContainerId) -> Option<(ContainerId, Bundle)> {
    let bundle = store.open_bundle(&id).ok()?;
    rustix::fs::flock(&bundle, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
    matches!(store.find_container(id.as_str()), Err(StoreError::NoSuchContainer(_))).then_some((id, bundle))
}

fn summary(container: Container) -> ContainerSummary {
    let request = container.request;
    let sources = request.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => Some(path.clone()),
        MountSource::Volume(name) => Some(name.clone()),
        MountSource::AnonymousVolume | MountSource::Tmpfs => None,
    });
    let network = match request.network {
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
    };
    ContainerSummary {
        mounts: sources.collect(),
        networks: vec![network.to_owned()],
        id: container.id,
        name: container.name,
        image: request.image,
        image_id: container.image,
        command: request.command,
        created: container.created,
        lifecycle: container.lifecycle,
        labels: request.labels,
    }
}
