//! `ps`.

use std::collections::HashMap;

use super::reconcile::{Look, look};
use crate::engine::Engine;
use crate::engine::api::{ContainerFilter, ContainerSummary, Event, Failure, ListContainers};
use crate::model::container::MountSource;
use crate::model::digest::Digest;
use crate::model::id::ContainerId;
use crate::model::supervision::Health;
use crate::monitor::record::{self, HealthState};
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::{Access, Durability, Store, StoreError};

impl Engine {
    /// The containers that `list` asks for, the newest first.
    ///
    /// # Errors
    /// What the store says; what cannot be measured has no size, and a warning.
    pub(in crate::engine) fn list_containers(
        &self,
        list: &ListContainers,
        events: &mut dyn FnMut(Event),
    ) -> Result<Vec<ContainerSummary>, Failure> {
        let store = self.store(Access::Read)?;
        for filter in &list.filters {
            if let ContainerFilter::Before(name) | ContainerFilter::Since(name) = filter {
                store.find_container(name)?;
            }
        }
        let mut summaries = Vec::new();
        let mut over = Vec::new();
        for container in store.list_containers()? {
            match look(&store, container) {
                Look::Here(container) => summaries.push(summary(&store, container)),
                Look::Over(container) => over.push(container.id),
            }
        }
        // Their locks are held until they are gone.
        let ownerless = ownerless(&store, &summaries);
        for (id, _) in &ownerless {
            match self.adopted(id) {
                Some(container) => summaries.push(summary(&store, container)),
                None => over.push(id.clone()),
            }
        }
        self.discard_all(&over);
        let mut selected = list.select(summaries);
        if list.sizes {
            self.add_sizes(&store, &mut selected, events)?;
        }
        Ok(selected)
    }

    fn add_sizes(
        &self,
        store: &Store,
        containers: &mut [ContainerSummary],
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let images: HashMap<Digest, u64> =
            store.list_images()?.into_iter().map(|image| (image.id, image.size)).collect();
        for container in containers {
            container.image_size = images.get(&container.image_id).copied().unwrap_or_default();
            match self.measure(&store.layout().container(&container.id).join("upper")) {
                Ok(size) => container.size = Some(size),
                Err(failure) => events(Event::Warning(format!("container {}: {failure}", container.name))),
            }
        }
        Ok(())
    }

    /// A container that has lost its row, and has it again.
    fn adopted(&self, id: &ContainerId) -> Option<Container> {
        let store = self.store(Access::Write).ok()?;
        let adopted = store.adopt(id).is_ok_and(|adopted| adopted);
        let container = adopted.then(|| store.find_container(id.as_str()).ok()).flatten()?;
        match look(&store, container) {
            Look::Here(container) => Some(container),
            Look::Over(_) => None,
        }
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

/// What its monitor has written down of its health, while it has one.
fn health_of(store: &Store, container: &Container) -> Option<Health> {
    container.lifecycle.init()?;
    let bundle = store.open_bundle(&container.id).ok()?;
    let health = record::read::<HealthState>(std::os::fd::AsFd::as_fd(&bundle), record::HEALTH).ok()??;
    Some(health.status)
}

fn summary(store: &Store, container: Container) -> ContainerSummary {
    let health = health_of(store, &container);
    let request = container.request;
    let sources = request.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => Some(path.clone()),
        MountSource::Volume(name) => Some(name.clone()),
        MountSource::AnonymousVolume | MountSource::Tmpfs => None,
    });
    ContainerSummary {
        targets: request.mounts.iter().map(|mount| mount.target.clone()).collect(),
        mounts: sources.collect(),
        networks: match request.attachments.as_slice() {
            [] => vec![request.network.name().to_owned()],
            on => on.iter().map(|attachment| attachment.network.to_string()).collect(),
        },
        id: container.id,
        name: container.name,
        image: request.image,
        image_id: container.image,
        command: request.entrypoint.into_iter().flatten().chain(request.command).collect(),
        created: container.created,
        lifecycle: container.lifecycle,
        labels: request.labels,
        health,
        size: None,
        image_size: 0,
    }
}
