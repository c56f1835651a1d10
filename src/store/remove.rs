//! Removing images: names first, the image with its last name, and at once the
//! files that nothing else needs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::db::{self, Abort};
use super::image::ImageNames;
use super::images::{By, Found, names_of, resolve};
use super::{Age, Durability, Store, StoreError};
use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// Whether a request insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// What others may need is left alone.
    No,
    /// It goes.
    Yes,
}

/// What a removal did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in the order they went.
    pub untagged: Vec<Reference>,
    /// The image, if it is gone too.
    pub deleted: Option<Digest>,
    /// Bytes of blobs and layers that were freed, or will be with the leftovers.
    pub freed: u64,
    /// Files of other ids, for the worker to remove.
    pub leftovers: Vec<PathBuf>,
}

impl Store {
    /// Removes what `text` means: a name, and with the last name the image; or, by its id, the image with its name.
    ///
    /// Forced, an image goes with all its names; if stopped containers were made from it, it loses its names only
    /// and its files stay until they are gone.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], [`StoreError::AmbiguousImage`]; [`StoreError::SeveralNames`] and
    /// [`StoreError::ImageInUse`] unless forced, the latter for running containers always; or what the database says.
    pub fn remove_image(&self, text: &str, force: Force) -> Result<Removed, StoreError> {
        let (mut removed, freed) = self.with_reserve(|| {
            self.db.write(Durability::Durable, |db| {
                let found = resolve(db, text)?.ok_or_else(|| StoreError::NoSuchImage(text.to_owned()))?;
                let names = names_of(db, &found.image)?;
                let going = going(&found, &names, text, force)?;
                let stays = going.tags.len() < names.tags.len() || going.digests.len() < names.digests.len();
                let in_use = if stays { None } else { user_of(db, &found.image, text, force)? };
                let mut removed = Removed { untagged: untag(db, &going)?, ..Removed::default() };
                let mut freed = BTreeSet::new();
                if !stays && in_use.is_none() {
                    freed = objects_of(db, &found.image, &going)?;
                    db::images::delete(db, &found.image)?;
                    removed.deleted = Some(found.image);
                }
                Ok((removed, freed))
            })
        })?;
        // Without room on the disk they stay for now.
        let _ = self.end_leases();
        // Users expect the room at once, so what this image alone needed is not left to age.
        let swept = self.sweep_objects(freed.into_iter(), Age::Any)?;
        removed.freed = swept.bytes;
        removed.leftovers = swept.leftovers;
        self.renew_reserve();
        Ok(removed)
    }

    /// Takes the reserve again, once a removal that needed it has made room.
    pub fn renew_reserve(&self) {
        if !self.layout.reserve().exists() {
            db::open::keep_reserve(&self.layout);
        }
    }

    /// Runs a removal; if it finds the disk full, gives up the reserve and runs it once more.
    pub(super) fn with_reserve<T>(&self, work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work() {
            Err(error) if error.is_no_space() && std::fs::remove_file(self.layout.reserve()).is_ok() => work(),
            other => other,
        }
    }
}

/// The names that go.
fn going(found: &Found, names: &ImageNames, text: &str, force: Force) -> Result<ImageNames, StoreError> {
    match &found.by {
        By::Id if force == Force::No && names.tags.len() > 1 => Err(StoreError::SeveralNames {
            image: text.to_owned(),
            names: names.tags.iter().map(|tag| tag.reference.to_string()).collect(),
        }),
        By::Id => Ok(names.clone()),
        By::Tag(reference) => {
            let tags: Vec<_> = names.tags.iter().filter(|tag| tag.reference == *reference).cloned().collect();
            // Names by digest came with the tags of their repository, and go with the last of them.
            let is_last = names.tags.iter().filter(|tag| tag.reference.name() == reference.name()).count() <= 1;
            let same = |name: &&Reference| is_last && name.name() == reference.name();
            Ok(ImageNames { tags, digests: names.digests.iter().filter(same).cloned().collect() })
        }
        By::Digest(reference) => {
            let digests: Vec<_> = names.digests.iter().filter(|name| *name == reference).cloned().collect();
            Ok(ImageNames { tags: Vec::new(), digests })
        }
    }
}

/// A container that keeps the image from going; an error if it forbids that.
fn user_of(
    db: &rusqlite::Connection,
    image: &Digest,
    text: &str,
    force: Force,
) -> Result<Option<crate::model::id::ContainerId>, Abort> {
    let containers = db::containers::of_image(db, image)?;
    let running = containers.iter().find(|container| container.lifecycle.is_alive());
    match (running.or(containers.first()), running.is_some(), force) {
        (Some(container), false, Force::Yes) => Ok(Some(container.id.clone())),
        (Some(container), running, _) => Err(StoreError::ImageInUse {
            image: text.to_owned(),
            container: container.id.clone(),
            name: container.name.clone(),
            running,
        }
        .into()),
        (None, ..) => Ok(None),
    }
}

fn untag(db: &rusqlite::Connection, going: &ImageNames) -> Result<Vec<Reference>, Abort> {
    let mut untagged = Vec::new();
    for tag in &going.tags {
        db::tags::delete(db, &tag.reference)?;
        untagged.push(tag.reference.clone());
    }
    for reference in &going.digests {
        if let Some(digest) = reference.digest() {
            db::digests::delete(db, &reference.name(), digest)?;
            untagged.push(reference.clone());
        }
    }
    Ok(untagged)
}

/// All blobs and layers that the image refers to, and those its names did.
fn objects_of(db: &rusqlite::Connection, image: &Digest, names: &ImageNames) -> Result<BTreeSet<Digest>, Abort> {
    let mut objects = BTreeSet::from([image.clone()]);
    for manifest in db::manifests::of_image(db, image)? {
        for at in db::image_layers::of_manifest(db, &manifest)? {
            objects.insert(at.layer.blob);
            objects.insert(at.layer.diff_id);
        }
        objects.insert(manifest);
    }
    objects.extend(names.tags.iter().filter_map(|tag| tag.target.clone()));
    objects.extend(names.digests.iter().filter_map(|name| name.digest().cloned()));
    Ok(objects)
}
