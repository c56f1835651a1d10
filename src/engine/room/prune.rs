//! `prune`: what nothing needs goes.
//!
//! Each object is removed by the verb that removes it alone, so that what came
//! into use meanwhile stays; that it did is no failure.

use std::collections::{BTreeMap, HashSet};

use crate::engine::Engine;
use crate::engine::api::{
    ContainerScope, ContainerSummary, Event, Failure, FailureKind, ListContainers, ListVolumes, Prune, PruneFilter,
    PruneImages, PruneVolumes, Pruned, RemoveContainer, RemoveVolume, VolumeSummary,
};
use crate::model::event::Kind;
use crate::model::lifecycle::Lifecycle;
use crate::store::image::ImageSummary;
use crate::store::{Access, Age, Force, StoreError};

impl Engine {
    /// Removes what nothing needs, and says what that was.
    ///
    /// # Errors
    /// What the store says; what is gone is gone.
    pub(in crate::engine) fn prune(&self, prune: &Prune, events: &mut dyn FnMut(Event)) -> Result<Pruned, Failure> {
        let mut pruned = Pruned::default();
        // Containers first: they keep images and volumes.
        if prune.containers {
            let reclaimed = self.prune_containers(prune, &mut pruned, events)?;
            self.told(Kind::Container, reclaimed, &mut pruned);
        }
        if prune.images != PruneImages::None {
            let reclaimed = self.prune_images(prune, &mut pruned, events)?;
            self.told(Kind::Image, reclaimed, &mut pruned);
        }
        if prune.volumes != PruneVolumes::None {
            let reclaimed = self.prune_volumes(prune, &mut pruned)?;
            self.told(Kind::Volume, reclaimed, &mut pruned);
        }
        if prune.networks {
            pruned.networks = self.prune_networks(|network| prune.accepts(Some(network.created), &network.labels))?;
            self.told(Kind::Network, 0, &mut pruned);
        }
        if prune.images != PruneImages::None || prune.leftovers {
            let store = self.store(Access::Write)?;
            let age = if prune.leftovers { Age::Any } else { Age::Hour };
            let collected = store.collect_garbage(age)?;
            pruned.reclaimed = pruned.reclaimed.saturating_add(collected.bytes);
            self.remove_foreign(&collected.leftovers)?;
        }
        if prune.leftovers {
            self.sweep_cgroups();
        }
        Ok(pruned)
    }

    fn told(&self, kind: Kind, reclaimed: u64, pruned: &mut Pruned) {
        pruned.reclaimed = pruned.reclaimed.saturating_add(reclaimed);
        self.tell(kind, "prune", "", [("reclaimed", reclaimed.to_string())]);
    }

    fn prune_containers(
        &self,
        prune: &Prune,
        pruned: &mut Pruned,
        events: &mut dyn FnMut(Event),
    ) -> Result<u64, Failure> {
        let list = ListContainers { scope: ContainerScope::All, sizes: true, ..ListContainers::default() };
        let mut reclaimed = 0_u64;
        for container in self.list_containers(&list, events)?.into_iter().filter(|one| prune.takes_container(one)) {
            let name = container.id.to_string();
            match self.remove_container(&RemoveContainer { name, force: false, volumes: false }) {
                Ok(_) => {
                    reclaimed = reclaimed.saturating_add(container.size.unwrap_or_default());
                    pruned.containers.push(container.id);
                }
                // Somebody has started it, or was quicker.
                Err(failure) if matches!(failure.kind, FailureKind::Conflict | FailureKind::NotFound) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(reclaimed)
    }

    fn prune_volumes(&self, prune: &Prune, pruned: &mut Pruned) -> Result<u64, Failure> {
        let mut reclaimed = 0_u64;
        for volume in self.list_volumes(&ListVolumes {})?.into_iter().filter(|volume| prune.takes_volume(volume)) {
            let bytes = self.measure(&volume.mountpoint).unwrap_or_default();
            match self.remove_volume(&RemoveVolume { name: volume.name.clone() }) {
                Ok(_) => {
                    reclaimed = reclaimed.saturating_add(bytes);
                    pruned.volumes.push(volume.name);
                }
                // Somebody has begun to use it, or was quicker.
                Err(failure) if matches!(failure.kind, FailureKind::Conflict | FailureKind::NotFound) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(reclaimed)
    }

    fn prune_images(&self, prune: &Prune, pruned: &mut Pruned, events: &mut dyn FnMut(Event)) -> Result<u64, Failure> {
        let store = self.store(Access::Write)?;
        let mut reclaimed = 0_u64;
        let mut leftovers = Vec::new();
        let dangling = prune.images == PruneImages::Dangling;
        let kept = if dangling { self.kept_by_lists(&store)? } else { HashSet::new() };
        let goes = |image: &ImageSummary| prune.takes_image(image) && !kept.contains(&image.id);
        for image in store.list_images()?.into_iter().filter(goes) {
            for name in names(&image) {
                match store.remove_image(&name, Force::No) {
                    Ok(removed) => {
                        removed
                            .untagged
                            .iter()
                            .for_each(|name| self.tell_image("untag", &image.id.to_string(), Some(name)));
                        pruned.untagged.extend(removed.untagged);
                        if let Some(id) = removed.deleted {
                            self.tell_image("delete", &id.to_string(), None);
                            pruned.images.push(id);
                        }
                        reclaimed = reclaimed.saturating_add(removed.freed);
                        leftovers.extend(removed.leftovers);
                    }
                    Err(StoreError::ImageInUse { .. } | StoreError::NoSuchImage(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if let Err(failure) = self.remove_foreign(&leftovers) {
            events(Event::Warning(failure.to_string()));
        }
        Ok(reclaimed)
    }
}

/// By what an image is removed, name by name; by its id, if names by digest do not come with a tag.
fn names(image: &ImageSummary) -> Vec<String> {
    let tags = image.names.tags.iter().map(|tag| tag.reference.to_string());
    let spoken_for = |name: &str| image.names.tags.iter().any(|tag| tag.reference.name() == name);
    let digests = image.names.digests.iter().filter(|name| !spoken_for(&name.name())).map(ToString::to_string);
    let named: Vec<String> = tags.chain(digests).collect();
    if named.is_empty() { vec![image.id.to_string()] } else { named }
}

impl Prune {
    fn takes_container(&self, container: &ContainerSummary) -> bool {
        matches!(container.lifecycle, Lifecycle::Created | Lifecycle::Stopped { .. })
            && self.accepts(Some(container.created), &container.labels)
    }

    fn takes_image(&self, image: &ImageSummary) -> bool {
        let wanted = self.images == PruneImages::Unused || image.names.tags.is_empty();
        wanted && image.containers == 0 && self.accepts(image.created, &image.labels)
    }

    fn takes_volume(&self, volume: &VolumeSummary) -> bool {
        let wanted = self.volumes == PruneVolumes::Unused || volume.anonymous;
        wanted && volume.containers.is_empty() && self.accepts(Some(volume.created), &volume.labels)
    }

    /// What has no date is not older than anything.
    fn accepts(&self, created: Option<i64>, labels: &BTreeMap<String, String>) -> bool {
        self.filters.iter().all(|filter| match filter {
            PruneFilter::Until(time) => created.is_some_and(|created| created < *time),
            PruneFilter::Label { key, value, present } => {
                let has = labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has));
                has == *present
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::store::image::{ImageNames, TagName};

    fn image(tags: &[&str], digests: &[&str], containers: u32) -> ImageSummary {
        let tag = |text: &&str| TagName { reference: text.parse().expect("a name"), target: None };
        ImageSummary {
            id: Digest::sha256(&[7; 32]),
            names: ImageNames {
                tags: tags.iter().map(tag).collect(),
                digests: digests.iter().map(|text| text.parse().expect("a name")).collect(),
            },
            created: Some(1000),
            size: 1,
            containers,
            labels: [("tier".to_owned(), "front".to_owned())].into(),
        }
    }

    #[test]
    fn images_without_tags_dangle() {
        let dangling = Prune { images: PruneImages::Dangling, ..Prune::default() };
        let unused = Prune { images: PruneImages::Unused, ..Prune::default() };
        let digest = format!("debian@sha256:{}", "0".repeat(64));
        for (tags, digests, containers, dangles, is_unused) in [
            (&["debian:12"][..], &[][..], 0, false, true),
            (&["debian:12"], &[], 1, false, false),
            (&[], &[], 0, true, true),
            (&[], &[digest.as_str()], 0, true, true),
            (&[], &[], 1, false, false),
        ] {
            let image = image(tags, digests, containers);
            assert_eq!(dangling.takes_image(&image), dangles, "{tags:?} {containers}");
            assert_eq!(unused.takes_image(&image), is_unused, "{tags:?} {containers}");
        }
        let both = image(&["debian:12", "a/b:1"], &[&digest], 0);
        assert_eq!(names(&both), ["docker.io/library/debian:12", "docker.io/a/b:1"]);
        assert_eq!(names(&image(&[], &[], 0)), [Digest::sha256(&[7; 32]).to_string()]);
    }

    #[test]
    fn filters_all_have_to_hold() {
        let label = |key: &str, value: Option<&str>, present| PruneFilter::Label {
            key: key.to_owned(),
            value: value.map(ToOwned::to_owned),
            present,
        };
        let image = image(&[], &[], 0);
        for (filters, taken) in [
            (vec![], true),
            (vec![PruneFilter::Until(1001)], true),
            (vec![PruneFilter::Until(1000)], false),
            (vec![label("tier", None, true)], true),
            (vec![label("tier", Some("back"), true)], false),
            (vec![label("tier", Some("back"), false)], true),
            (vec![label("tier", None, false)], false),
            (vec![PruneFilter::Until(1001), label("none", None, true)], false),
        ] {
            let prune = Prune { images: PruneImages::Dangling, filters: filters.clone(), ..Prune::default() };
            assert_eq!(prune.takes_image(&image), taken, "{filters:?}");
        }
    }
}
