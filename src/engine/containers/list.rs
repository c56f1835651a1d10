//! `ps`.

use super::reconcile::{Look, look};
use crate::engine::Engine;
use crate::engine::api::{ContainerSummary, Failure, ListContainers};
use crate::model::container::{MountSource, NetworkMode};
use crate::store::containers::Container;
use crate::store::{Access, Durability};

impl Engine {
    pub(in crate::engine) fn list_containers(&self, list: &ListContainers) -> Result<Vec<ContainerSummary>, Failure> {
        let store = self.store(Access::Read)?;
        let mut summaries = Vec::new();
        for container in store.list_containers()? {
            match look(&store, container) {
                Look::Here(container) => summaries.push(summary(container)),
                Look::Over(container) => {
                    // A store that cannot be written keeps it until one can.
                    let _ = self.discard_container(&store, &container.id, Durability::Throwaway);
                }
            }
        }
        Ok(list.select(summaries))
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
