//! `system df`.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::api::{
    ContainerScope, ContainerSummary, DiskUsage, Event, Failure, ImageRoom, ImageSummary, ListContainers, VolumeRoom,
};
use crate::model::digest::Digest;
use crate::store::layers::LayerUse;
use crate::store::{Access, Store};

impl Engine {
    /// What images, containers and volumes take.
    ///
    /// # Errors
    /// What the store says; what cannot be measured is left out, with a warning.
    pub(in crate::engine) fn disk_usage(&self, events: &mut dyn FnMut(Event)) -> Result<DiskUsage, Failure> {
        let list = ListContainers { scope: ContainerScope::All, sizes: true, ..ListContainers::default() };
        let containers = self.list_containers(&list, events)?;
        let images = self.list_images()?;
        let store = self.store(Access::Read)?;
        let uses = store.layer_uses()?;
        let in_use: BTreeSet<&Digest> = containers.iter().map(|container| &container.image_id).collect();
        let (layers, unused_layers) = totals(&uses, &in_use);
        let volumes = self.volumes(&store, &containers, events);
        let images = images.into_iter().map(|image| room(image, &uses)).collect();
        let builds = self.build_room(&store)?;
        Ok(DiskUsage { images, layers, unused_layers, containers, volumes, builds })
    }

    fn volumes(
        &self,
        store: &Store,
        containers: &[ContainerSummary],
        events: &mut dyn FnMut(Event),
    ) -> Vec<VolumeRoom> {
        let mut links: BTreeMap<&str, u32> = BTreeMap::new();
        for name in containers.iter().flat_map(|container| &container.mounts).filter(|name| !name.starts_with('/')) {
            *links.entry(name).or_default() += 1;
        }
        let mut volumes = Vec::new();
        for name in store.volume_names() {
            let size = self.measure(&store.layout().volume(&name));
            let size = size.map_err(|failure| events(Event::Warning(failure.to_string()))).ok();
            let links = links.get(name.as_str()).copied().unwrap_or_default();
            volumes.push(VolumeRoom { name: name.to_string(), links, size });
        }
        volumes
    }
}

/// Bytes of all layers, and of those that no container needs.
fn totals(uses: &[LayerUse], in_use: &BTreeSet<&Digest>) -> (u64, u64) {
    let bytes = |layers: &mut dyn Iterator<Item = &LayerUse>| layers.map(|layer| layer.bytes).sum();
    let unused = |layer: &&LayerUse| !layer.images.iter().any(|image| in_use.contains(image));
    (bytes(&mut uses.iter()), bytes(&mut uses.iter().filter(unused)))
}

fn room(image: ImageSummary, uses: &[LayerUse]) -> ImageRoom {
    let (mut shared, mut unique) = (0, 0);
    for layer in uses.iter().filter(|layer| layer.images.contains(&image.id)) {
        *(if layer.images.len() > 1 { &mut shared } else { &mut unique }) += layer.bytes;
    }
    ImageRoom { image, shared, unique }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once() {
        let image = |byte| Digest::sha256(&[byte; 32]);
        let layer = |byte, bytes, images: &[u8]| LayerUse {
            diff_id: image(byte),
            bytes,
            images: images.iter().map(|byte| image(*byte)).collect(),
        };
        let uses = [layer(10, 1000, &[1, 2]), layer(11, 200, &[1]), layer(12, 30, &[2]), layer(13, 4, &[3])];
        assert_eq!(totals(&uses, &BTreeSet::new()), (1234, 1234));
        assert_eq!(totals(&uses, &BTreeSet::from([&image(1)])), (1234, 34));
        let summary = ImageSummary {
            id: image(2),
            names: vec![],
            created: None,
            size: 1030,
            containers: 0,
            labels: BTreeMap::new(),
        };
        let room = room(summary, &uses);
        assert_eq!((room.shared, room.unique), (1000, 30));
    }
}
