//! What belongs to an image, for a registry that has nothing of it: documents and blobs, by what
//! the documents say. Nothing is made here; all bytes are as they were kept.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::api::{Failure, FailureKind};
use crate::engine::images::archive::media;
use crate::model::digest::Digest;
use crate::store::Store;
use crate::store::image::{Image, MANIFEST_LIMIT};

/// Indexes in indexes that are followed.
const DEPTH: usize = 3;

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// All that is to be sent for one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shipment {
    /// What the name is going to mean.
    pub(super) top: Document,
    /// Other documents, each after those that it names.
    pub(super) members: Vec<Document>,
    /// Blobs with their sizes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// Documents that an index names and that are not here, or not whole.
    pub(super) missing: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Shipment {
    /// The image by its manifest alone.
    ///
    /// # Errors
    /// If the manifest is not here, or damaged.
    pub(super) fn of_image(store: &Store, image: &Image) -> Result<Self, Failure> {
        Self::of(store, &image.manifest, &image.manifest_type)
    }

    /// An index, or whatever else is kept as `digest`.
    ///
    /// # Errors
    /// If the document is not here, or damaged.
    pub(super) fn of(store: &Store, digest: &Digest, media_type: &str) -> Result<Self, Failure> {
        let (document, contents) = read(store, digest, media_type)?;
        let (blobs, missing) = (BTreeMap::new(), Vec::new());
        let mut shipment = Self { top: document, members: Vec::new(), blobs, missing };
        shipment.take(store, contents, DEPTH)?;
        Ok(shipment)
    }

    fn take(&mut self, store: &Store, contents: Contents, depth: usize) -> Result<(), Failure> {
        let layers = contents.layers.into_iter().flatten();
        self.blobs.extend(contents.config.into_iter().chain(layers).map(|blob| (blob.digest, blob.size)));
        for member in contents.manifests.into_iter().flatten() {
            if depth == 0 || !is_whole(store, &member)? {
                self.missing.push(member.digest);
                continue;
            }
            let (document, contents) = read(store, &member.digest, &member.media_type)?;
            self.take(store, contents, depth - 1)?;
            self.members.push(document);
        }
        Ok(())
    }

    /// All objects that must not go while they are sent.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Digest> {
        let documents = self.members.iter().chain([&self.top]).map(|document| &document.digest);
        documents.chain(self.blobs.keys())
    }
}

/// Whether a document is here with all blobs that it names. What an index names need not be.
fn is_whole(store: &Store, member: &Descriptor) -> Result<bool, Failure> {
    if !store.has_blob(&member.digest) {
        return Ok(false);
    }
    let (_, contents) = read(store, &member.digest, &member.media_type)?;
    let layers = contents.layers.into_iter().flatten();
    Ok(contents.config.into_iter().chain(layers).all(|blob| store.has_blob(&blob.digest)))
}

fn read(store: &Store, digest: &Digest, media_type: &str) -> Result<(Document, Contents), Failure> {
    let bytes = store.read_blob(digest, MANIFEST_LIMIT)?;
    let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| {
        let why: String = error.to_string().chars().take(200).collect();
        Failure::say(FailureKind::Corrupt, format!("read the manifest {}: {why}", digest.short()))
    })?;
    // What a document says of itself is what registries go by.
    let said = contents.media_type.clone().filter(|said| !said.is_empty());
    let plain = if contents.manifests.is_some() { media::OCI_INDEX } else { media::OCI_MANIFEST };
    let media_type = said.unwrap_or_else(|| if media_type.is_empty() { plain } else { media_type }.to_owned());
    Ok((Document { digest: digest.clone(), media_type, bytes }, contents))
}
