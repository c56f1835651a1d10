//! Putting, finding, naming and listing images.

use std::collections::HashMap;

use super::db::digests::DigestRow;
use super::db::images::ImageRow;
use super::db::manifests::ManifestRow;
use super::db::tags::TagRow;
use super::db::{self, Abort};
use super::image::{Image, ImageLayer, ImageNames, ImageSummary, NewImage, TagName};
use super::lock::{Lock, Wait};
use super::{Durability, Force, Layout, Store, StoreError, clock, layers};
use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// Where a search for an image ended: the image, and how it was named.
pub(super) struct Found {
    pub(super) image: Digest,
    pub(super) manifest: Digest,
    pub(super) by: By,
}

/// How an image was named.
pub(super) enum By {
    Tag(Reference),
    Digest(Reference),
    Id,
}

impl Store {
    /// Keeps an image whose blobs and layers are here, and gives it its names. A
    /// tag moves here from the image that had it; the answer tells from which.
    /// A name by digest of an index keeps the index, if it is here as a blob.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], [`StoreError::MissingLayer`], or what the database says; then nothing has changed.
    pub fn put_image(&self, new: &NewImage, names: &ImageNames) -> Result<Vec<(Reference, Digest)>, StoreError> {
        self.sync_blob_names()?;
        self.db.write(Durability::Durable, |db| {
            // Inside the transaction: garbage collection moves files under the same lock.
            insert(db, &self.layout, new)?;
            let moved = put_names(db, new, names)?;
            db::manifests::delete_unnamed(db, &new.id, &new.manifest)?;
            Ok(moved)
        })
    }

    /// Finds an image by reference, by id, or by the beginning of an id.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], [`StoreError::AmbiguousImage`], or what the database says.
    pub fn find_image(&self, text: &str) -> Result<Image, StoreError> {
        self.db.read(|db| {
            let found = resolve(db, text)?.ok_or_else(|| StoreError::NoSuchImage(text.to_owned()))?;
            load(db, &found.image, &found.manifest, text)
        })
    }

    /// Finds an image by its complete name only.
    ///
    /// # Errors
    /// What the database says.
    pub fn find_reference(&self, reference: &Reference) -> Result<Option<Image>, StoreError> {
        self.db.read(|db| match resolve_reference(db, reference)? {
            Some(found) => load(db, &found.image, &found.manifest, &reference.to_string()).map(Some),
            None => Ok(None),
        })
    }

    /// The image with this id by the manifest that a container was made from.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`] if it has been removed by force, or what the database says.
    pub fn image_of_manifest(&self, image: &Digest, manifest: &Digest) -> Result<Image, StoreError> {
        self.db.read(|db| load(db, image, manifest, &image.to_string()))
    }

    /// What an image is called.
    ///
    /// # Errors
    /// What the database says.
    pub fn image_names(&self, id: &Digest) -> Result<ImageNames, StoreError> {
        self.db.read(|db| names_of(db, id))
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn list_images(&self) -> Result<Vec<ImageSummary>, StoreError> {
        self.db.read(|db| {
            let mut names: HashMap<Digest, ImageNames> = HashMap::new();
            for (image, tag) in db::tags::all(db)? {
                names.entry(image).or_default().tags.push(tag_name(tag));
            }
            for (image, row) in db::digests::all(db)? {
                names.entry(image).or_default().digests.extend(digest_name(&row));
            }
            let mut containers: HashMap<Digest, u32> = HashMap::new();
            for image in db::containers::images(db)? {
                *containers.entry(image).or_default() += 1;
            }
            let summary = |image: ImageRow| ImageSummary {
                names: names.remove(&image.id).unwrap_or_default(),
                containers: containers.get(&image.id).copied().unwrap_or_default(),
                id: image.id,
                created: image.created,
                size: image.size,
                labels: image.labels,
            };
            Ok(db::images::all(db)?.into_iter().map(summary).collect())
        })
    }

    /// Gives an image one more name, and says which image had it before.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], [`StoreError::AmbiguousImage`]; [`StoreError::TagInUse`] unless forced; or what
    /// the database says.
    pub fn tag_image(
        &self,
        text: &str,
        reference: &Reference,
        force: Force,
    ) -> Result<(Digest, Option<Digest>), StoreError> {
        self.db.write(Durability::Durable, |db| {
            let found = resolve(db, text)?.ok_or_else(|| StoreError::NoSuchImage(text.to_owned()))?;
            let before = db::tags::resolve(db, reference)?.map(|(_, image)| image).filter(|id| *id != found.image);
            if let (Force::No, Some(image)) = (force, &before) {
                return Err(tag_in_use(reference, image).into());
            }
            let tag = TagRow { reference: reference.clone(), manifest: found.manifest, target: None };
            db::tags::put(db, &tag)?;
            Ok((found.image, before))
        })
    }

    /// Notes that a registry has an image under its tag `reference`, as `digest`. A tag that means
    /// another image by now is left alone.
    ///
    /// # Errors
    /// What the database says.
    pub fn note_pushed(&self, manifest: &Digest, reference: &Reference, digest: &Digest) -> Result<(), StoreError> {
        self.db.write(Durability::Durable, |db| {
            match db::tags::resolve(db, reference)? {
                Some((named, _)) if named == *manifest => {}
                _ => return Ok(()),
            }
            let (reference, target) = (reference.clone(), Some(digest.clone()));
            let row = DigestRow { name: reference.name(), digest: digest.clone(), manifest: manifest.clone() };
            db::digests::put(db, &row)?;
            Ok(db::tags::put(db, &TagRow { reference, manifest: manifest.clone(), target })?)
        })
    }

    /// Gives the image of a manifest one more name by its digest: it stays as long as that name does.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`], or what the database says.
    pub fn name_by_digest(&self, reference: &Reference, manifest: &Digest) -> Result<(), StoreError> {
        let name = reference.name();
        self.db.write(Durability::Durable, |db| {
            if db::manifests::by_digest(db, manifest)?.is_none() {
                return Err(StoreError::NoSuchImage(manifest.to_string()).into());
            }
            let digest = manifest.clone();
            Ok(db::digests::put(db, &DigestRow { name: name.clone(), digest, manifest: manifest.clone() })?)
        })
    }

    /// The lock of whoever changes a list of images: it is read, changed and put down anew.
    ///
    /// # Errors
    /// [`StoreError::Busy`], or what the file system says.
    pub fn lock_lists(&self) -> Result<Lock, StoreError> {
        let wait = Wait::Until(std::time::Duration::from_secs(30));
        Lock::acquire(&self.layout.locks().join("lists"), "the lists of images", wait)
    }

    /// Which image has the tag.
    ///
    /// # Errors
    /// What the database says.
    pub fn tag_owner(&self, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        self.db.read(|db| Ok(db::tags::resolve(db, reference)?.map(|(_, image)| image)))
    }
}

/// Adds the rows of an image whose blobs and layers are here.
pub(super) fn insert(db: &rusqlite::Connection, layout: &Layout, new: &NewImage) -> Result<(), Abort> {
    check_blobs(layout, new)?;
    let missing = |layer: &ImageLayer| StoreError::MissingLayer(layer.diff_id.clone());
    let marker = |layer: &ImageLayer| layers::marker_in(layout, &layer.diff_id).ok_or_else(|| missing(layer));
    let markers = new.layers.iter().map(marker).collect::<Result<Vec<_>, _>>()?;
    for (layer, (stats, boot)) in new.layers.iter().zip(&markers) {
        db::layers::put(db, &layer.diff_id, stats, boot.as_deref())?;
    }
    let size = markers.iter().map(|(stats, _)| stats.bytes).sum();
    let (platform, created, labels) = (new.platform.clone(), new.created, new.labels.clone());
    let added = clock::now();
    db::images::insert(db, &ImageRow { id: new.id.clone(), platform, created, size, labels, added })?;
    let (digest, image, media_type) = (new.manifest.clone(), new.id.clone(), new.manifest_type.clone());
    if db::manifests::insert(db, &ManifestRow { digest, image, media_type, added })? {
        db::image_layers::insert(db, &new.manifest, &new.layers)?;
    }
    Ok(())
}

fn check_blobs(layout: &Layout, new: &NewImage) -> Result<(), StoreError> {
    for blob in [&new.manifest, &new.id] {
        if !layout.blob(blob).exists() {
            return Err(StoreError::MissingBlob(blob.clone()));
        }
    }
    for layer in &new.layers {
        let size = std::fs::metadata(layout.blob(&layer.blob)).map(|file| file.len());
        match size {
            Ok(size) if size == layer.size => {}
            Ok(_) => return Err(StoreError::DamagedBlob(layer.blob.clone())),
            Err(_) => return Err(StoreError::MissingBlob(layer.blob.clone())),
        }
    }
    Ok(())
}

/// The error for a name that another image has.
pub(super) fn tag_in_use(reference: &Reference, image: &Digest) -> StoreError {
    StoreError::TagInUse { reference: reference.to_string(), image: image.clone() }
}

fn put_names(db: &rusqlite::Connection, new: &NewImage, names: &ImageNames) -> Result<Vec<(Reference, Digest)>, Abort> {
    let mut moved = Vec::new();
    for tag in &names.tags {
        if let Some((_, image)) = db::tags::resolve(db, &tag.reference)?
            && image != new.id
        {
            moved.push((tag.reference.clone(), image));
        }
        let row =
            TagRow { reference: tag.reference.clone(), manifest: new.manifest.clone(), target: tag.target.clone() };
        db::tags::put(db, &row)?;
    }
    for reference in &names.digests {
        if let Some(digest) = reference.digest().cloned() {
            let manifest = new.manifest.clone();
            db::digests::put(db, &DigestRow { name: reference.name(), digest, manifest })?;
        }
    }
    Ok(moved)
}

/// What `text` means: a reference first, then an id or the beginning of one, as docker reads it.
pub(super) fn resolve(db: &rusqlite::Connection, text: &str) -> Result<Option<Found>, Abort> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // 64 digits are never taken for the name of a repository.
    let is_id = is_hex && (hex.len() == 64 || hex.len() != text.len());
    if !is_id
        && let Ok(reference) = text.parse::<Reference>()
        && let Some(found) = resolve_reference(db, &reference)?
    {
        return Ok(Some(found));
    }
    if !is_hex {
        return Ok(None);
    }
    let mut candidates = db::images::ids_by_prefix(db, hex)?;
    if candidates.len() > 1 {
        return Err(StoreError::AmbiguousImage { prefix: hex.to_owned(), candidates }.into());
    }
    if let Some(image) = candidates.pop() {
        let manifest = db::manifests::latest_of(db, &image)?;
        return Ok(manifest.map(|manifest| Found { image, manifest, by: By::Id }));
    }
    let manifest = format!("sha256:{hex}").parse().ok();
    let row = manifest.map(|digest| db::manifests::by_digest(db, &digest)).transpose()?.flatten();
    Ok(row.map(|row| Found { image: row.image, manifest: row.digest, by: By::Id }))
}

/// A digest says more than a tag: where both are given, the tag is a comment.
fn resolve_reference(db: &rusqlite::Connection, reference: &Reference) -> Result<Option<Found>, Abort> {
    let found = match reference.digest() {
        Some(digest) => db::digests::resolve(db, &reference.name(), digest)?
            .map(|found| (found, By::Digest(reference.with_digest(digest.clone())))),
        None => db::tags::resolve(db, reference)?.map(|found| (found, By::Tag(reference.clone()))),
    };
    Ok(found.map(|((manifest, image), by)| Found { image, manifest, by }))
}

fn load(db: &rusqlite::Connection, id: &Digest, manifest: &Digest, text: &str) -> Result<Image, Abort> {
    let gone = || StoreError::NoSuchImage(text.to_owned());
    let row = db::images::by_id(db, id)?.ok_or_else(gone)?;
    let manifest = db::manifests::by_digest(db, manifest)?.ok_or_else(gone)?;
    let mut unsettled = Vec::new();
    let mut layers = Vec::new();
    for at in db::image_layers::of_manifest(db, &manifest.digest)? {
        unsettled.extend(at.boot.map(|boot| (at.layer.diff_id.clone(), boot)));
        layers.push(at.layer);
    }
    Ok(Image {
        id: row.id,
        manifest: manifest.digest,
        manifest_type: manifest.media_type,
        platform: row.platform,
        created: row.created,
        size: row.size,
        labels: row.labels,
        layers,
        unsettled,
    })
}

pub(super) fn names_of(db: &rusqlite::Connection, id: &Digest) -> Result<ImageNames, Abort> {
    let tags = db::tags::of_image(db, id)?.into_iter().map(tag_name).collect();
    let digests = db::digests::of_image(db, id)?.iter().filter_map(digest_name).collect();
    Ok(ImageNames { tags, digests })
}

fn tag_name(row: TagRow) -> TagName {
    TagName { reference: row.reference, target: row.target }
}

fn digest_name(row: &DigestRow) -> Option<Reference> {
    format!("{}@{}", row.name, row.digest).parse().ok()
}
