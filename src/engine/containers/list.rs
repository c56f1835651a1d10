//! `ps`.

use super::reconcile::{Look, look};
use crate::engine::Engine;
use crate::engine::api::{ContainerSummary, Failure, ListContainers};
use crate::model::container::{MountSource, NetworkMode};
use crate::model::id::ContainerId;
use crate::store::containers::Container;
use crate::store::{Access, Durability};

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
