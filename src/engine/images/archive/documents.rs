//! Which images an archive has: `index.json` of an OCI layout, `manifest.json`
//! of docker, or both, as newer docker writes them.

use std::collections::HashMap;
use std::io::Read as _;

use oci_spec::image::{Descriptor, ImageIndex};
use serde::Deserialize;
use serde_json::json;

use super::{ArchiveError, IMAGE_NAME, INDEX_LIMIT, Origin, REF_NAME, media};
use crate::engine::api::Failure;
use crate::engine::images::unpack::by_magic;
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::snapshot::worker::Compression;
use crate::store::Store;
use crate::store::image::{CONFIG_LIMIT, MANIFEST_LIMIT, NewImage};

/// Entries that an index may have.
const ENTRIES: usize = 1000;
/// Indexes in indexes that are followed.
const DEPTH: usize = 3;

/// An image of an archive, all of whose blobs are in the store.
pub(crate) struct Candidate {
    pub(crate) image: NewImage,
    pub(crate) names: Vec<Reference>,
}

/// An entry of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The images of `origin`; their blobs are brought into the store.
///
/// # Errors
/// If a document is damaged, or something that it refers to is not there.
pub(crate) fn candidates(store: &Store, origin: &mut dyn Origin) -> Result<Vec<Candidate>, Failure> {
    let mut found = Vec::new();
    let is_layout = origin.document("oci-layout").is_some() && origin.document("index.json").is_some();
    if is_layout {
        let index = index("index.json", origin.document("index.json").unwrap_or_default())?;
        for descriptor in index.manifests() {
            if let Some(manifest) = choose(store, origin, descriptor, DEPTH)? {
                let image = from_manifest(store, origin, &manifest)?;
                merge(&mut found, Candidate { image, names: annotated(descriptor)? });
            }
        }
    }
    if let Some(text) = origin.document("manifest.json") {
        let entries: Vec<DockerEntry> =
            serde_json::from_slice(text).map_err(|error| ArchiveError::document("manifest.json", &error))?;
        if entries.len() > ENTRIES {
            return Err(ArchiveError::TooLarge(format!("manifest.json has more than {ENTRIES} images")).into());
        }
        for entry in &entries {
            let candidate = from_docker(store, origin, entry, &found)?;
            merge(&mut found, candidate);
        }
    } else if !is_layout {
        return Err(ArchiveError::NoImages.into());
    }
    Ok(found)
}

/// One image may stand in an archive once for each of its names.
fn merge(found: &mut Vec<Candidate>, new: Candidate) {
    match found.iter_mut().find(|known| known.image.id == new.image.id && known.image.manifest == new.image.manifest) {
        Some(known) => {
            for name in new.names {
                if !known.names.contains(&name) {
                    known.names.push(name);
                }
            }
        }
        None => found.push(new),
    }
}

fn index(name: &str, text: &[u8]) -> Result<ImageIndex, Failure> {
    let index: ImageIndex = serde_json::from_slice(text).map_err(|error| ArchiveError::document(name, &error))?;
    if index.manifests().len() > ENTRIES {
        return Err(ArchiveError::TooLarge(format!("{name} has more than {ENTRIES} entries")).into());
    }
    Ok(index)
}

/// The manifest that a descriptor means: itself, or the one of an index that runs here.
fn choose(
    store: &Store,
    origin: &mut dyn Origin,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<Option<Digest>, Failure> {
    let digest: Digest = descriptor
        .digest()
        .to_string()
        .parse()
        .map_err(|error: crate::model::digest::InvalidDigest| ArchiveError::document("index.json", &error))?;
    match descriptor.media_type().as_ref() {
        media::OCI_MANIFEST | media::DOCKER_MANIFEST => Ok((!is_attestation(descriptor)).then_some(digest)),
        media::OCI_INDEX | media::DOCKER_LIST if depth > 0 => {
            if !origin.bring(&digest)? {
                return Err(ArchiveError::Missing(format!("index {digest}")).into());
            }
            let text = store.read_blob(&digest, INDEX_LIMIT)?;
            let nested = index(&digest.to_string(), &text)?;
            let wanted = Platform::host();
            let mut manifests: Vec<_> = nested.manifests().iter().filter(|entry| !is_attestation(entry)).collect();
            // Ours first; but an archive of another platform's image is loaded too.
            manifests.sort_by_key(|entry| !platform(entry).is_some_and(|offered| wanted.accepts(&offered)));
            for entry in manifests {
                if let Some(manifest) = choose(store, origin, entry, depth - 1)?
                    && origin.bring(&manifest)?
                {
                    return Ok(Some(manifest));
                }
            }
            Err(ArchiveError::Missing(format!("every manifest of index {digest}")).into())
        }
        other => Err(ArchiveError::document(&digest.to_string(), &format!("it is no image but {other}")).into()),
    }
}

/// What BuildKit puts beside an image to say how it was built.
fn is_attestation(descriptor: &Descriptor) -> bool {
    let annotations = descriptor.annotations().as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key("vnd.docker.reference.type"))
}

fn platform(descriptor: &Descriptor) -> Option<Platform> {
    let platform = descriptor.platform().as_ref()?;
    let variant = platform.variant().as_deref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture()).parse().ok()
}

/// The names in the annotations of an index. A bare tag, as skopeo may write it, names no repository.
fn annotated(descriptor: &Descriptor) -> Result<Vec<Reference>, Failure> {
    let empty = HashMap::new();
    let annotations = descriptor.annotations().as_ref().unwrap_or(&empty);
    let complete = annotations.get(REF_NAME).filter(|name| name.contains([':', '/', '@']));
    annotations.get(IMAGE_NAME).or(complete).map(|name| reference(name)).into_iter().collect()
}

/// A name to give; it says a tag, and a digest beside it would not stay true.
fn reference(name: &str) -> Result<Reference, Failure> {
    let parsed: Reference = name.parse().map_err(|error| ArchiveError::document("a name", &error))?;
    match (parsed.tag(), parsed.digest()) {
        (Some(tag), Some(_)) => reference(&format!("{}:{tag}", parsed.name())),
        _ => Ok(parsed),
    }
}

/// Reads a manifest and brings all that it refers to.
fn from_manifest(store: &Store, origin: &mut dyn Origin, digest: &Digest) -> Result<NewImage, Failure> {
    bring(origin, "manifest", digest)?;
    let manifest = store.read_blob(digest, MANIFEST_LIMIT)?;
    let config: Digest = config_of(&manifest).map_err(|error| ArchiveError::document(&digest.to_string(), &error))?;
    bring(origin, "configuration", &config)?;
    let image = NewImage::describe(digest, &manifest, &store.read_blob(&config, CONFIG_LIMIT)?)?;
    image.layers.iter().try_for_each(|layer| bring(origin, "layer", &layer.blob))?;
    Ok(image)
}

fn bring(origin: &mut dyn Origin, what: &str, digest: &Digest) -> Result<(), Failure> {
    if origin.bring(digest)? { Ok(()) } else { Err(ArchiveError::Missing(format!("{what} {digest}")).into()) }
}

/// The digest of the configuration that a manifest names.
pub(super) fn config_of(manifest: &[u8]) -> Result<Digest, serde_json::Error> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        digest: Digest,
    }
    serde_json::from_slice(manifest).map(|manifest: Manifest| manifest.config.digest)
}

/// An entry of `manifest.json`: the image that `index.json` had with the same
/// configuration, or one for which a manifest is written.
fn from_docker(
    store: &Store,
    origin: &mut dyn Origin,
    entry: &DockerEntry,
    known: &[Candidate],
) -> Result<Candidate, Failure> {
    let named = |origin: &dyn Origin, name: &str| {
        origin.named(name).ok_or_else(|| ArchiveError::Missing(name.chars().take(200).collect()))
    };
    let names = entry.repo_tags.iter().flatten().map(|name| reference(name)).collect::<Result<_, _>>()?;
    let id = named(origin, &entry.config)?;
    if let Some(known) = known.iter().find(|known| known.image.id == id) {
        return Ok(Candidate { image: known.image.clone(), names });
    }
    let config = store.read_blob(&id, CONFIG_LIMIT)?;
    let mut layers = Vec::new();
    for name in &entry.layers {
        let blob = named(origin, name)?;
        let (media_type, size) = layer_kind(store, &blob)?;
        layers.push(json!({ "mediaType": media_type, "digest": blob, "size": size }));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": { "mediaType": media::OCI_CONFIG, "digest": id, "size": config.len() },
        "layers": layers,
    })
    .to_string();
    let digest = Digest::of(manifest.as_bytes());
    origin.bring(&digest)?;
    store.put_blob(&digest, manifest.as_bytes())?;
    let image = NewImage::describe(&digest, manifest.as_bytes(), &config)?;
    Ok(Candidate { image, names })
}

/// The media type of a layer, by its first bytes, and its size.
fn layer_kind(store: &Store, blob: &Digest) -> Result<(String, u64), Failure> {
    let mut head = Vec::new();
    let file = store.open_blob(blob)?;
    let damaged = |error: std::io::Error| ArchiveError::document(&blob.to_string(), &error);
    let size = file.metadata().map_err(damaged)?.len();
    file.take(4).read_to_end(&mut head).map_err(damaged)?;
    let suffix = match by_magic(&head) {
        Compression::None => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    Ok((format!("{}{suffix}", media::OCI_LAYER), size))
}
