//! Manifests and indexes: foreign bytes in, checked facts out (no I/O).
//!
//! Formats: OCI image-spec 1.1 and docker's schema 2. The bytes themselves are
//! kept as they came by whoever keeps them; what is read here decides only
//! what is fetched next.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{RegistryError, excerpt};
use super::strict_json;
use crate::model::digest::Digest;
use crate::model::platform::Platform;

/// Largest manifest or index, in bytes.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Largest image configuration, in bytes.
pub const MAX_CONFIG: u64 = 8 << 20;
/// Most entries of an index.
pub const MAX_INDEX_ENTRIES: usize = 1000;
/// Most layers of a manifest; how many can be mounted is not decided here.
pub const MAX_LAYERS: usize = 1000;
/// Most bytes that all annotations of one document have together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Media type of an OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A blob that a document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type, as written.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// A layer that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Size of the compressed bytes.
    pub size: u64,
    /// How it is packed, by its media type.
    pub compression: Compression,
    /// Media type, as written.
    pub media_type: String,
}

/// A manifest that passed all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type: an OCI or a docker one.
    pub media_type: &'static str,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<LayerDescriptor>,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The manifest.
    pub manifest: Descriptor,
    /// What it is made for; none where the index does not say.
    pub platform: Option<Platform>,
}

/// What a registry answers for a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Vec<Entry>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Document {
    /// Reads a manifest or an index of `image`; `content_type` is the header
    /// of the answer, or the media type of the descriptor that led here.
    ///
    /// # Errors
    /// [`RegistryError::InvalidManifest`], [`RegistryError::NotAnImage`] or
    /// [`RegistryError::NonDistributable`].
    pub fn parse(bytes: &[u8], content_type: Option<&str>, image: &str) -> Result<Self, RegistryError> {
        let invalid = |why: String| RegistryError::InvalidManifest { image: image.to_owned(), why };
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(RegistryError::TooLarge { what: format!("the manifest of {image}"), limit: MAX_MANIFEST });
        }
        strict_json::check(bytes).map_err(invalid)?;
        let raw: RawDocument = serde_json::from_slice(bytes).map_err(|error| invalid(excerpt(&error.to_string())))?;
        let media_type = raw.media_type(content_type).map_err(invalid)?;
        raw.check_annotations().map_err(invalid)?;
        if matches!(media_type, OCI_INDEX | DOCKER_LIST) {
            raw.into_index().map(Self::Index).map_err(invalid)
        } else {
            raw.into_manifest(media_type, image).map(Self::Manifest)
        }
    }
}

impl RawDocument {
    /// The one media type that header, field and shape agree on.
    fn media_type(&self, content_type: Option<&str>) -> Result<&'static str, String> {
        if self.schema_version == Some(1) || self.fs_layers.is_some() {
            return Err("it has docker's schema 1, which is no longer safe to read; push the image anew".into());
        }
        if self.schema_version.is_some_and(|version| version != 2) {
            return Err("its schemaVersion is not 2".into());
        }
        let header = content_type.map(essence).and_then(known);
        let foreign = content_type.map(essence).filter(|essence| known(essence).is_none() && !is_neutral(essence));
        if let Some(foreign) = foreign {
            return Err(format!("its media type {:?} is unknown", excerpt(&foreign)));
        }
        let field = match self.media_type.as_deref() {
            Some(field) => Some(known(field).ok_or_else(|| format!("its mediaType {:?} is unknown", excerpt(field)))?),
            None => None,
        };
        let media_type = match (header, field) {
            (Some(header), Some(field)) if header != field => {
                return Err(format!("it is sent as {header} and says of itself to be {field}"));
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => return Err("neither its header nor its mediaType says what it is".into()),
        };
        let is_manifest = self.config.is_some() || self.layers.is_some();
        match (matches!(media_type, OCI_INDEX | DOCKER_LIST), is_manifest, self.manifests.is_some()) {
            (_, true, true) => Err("it is a manifest and an index at once".into()),
            (true, _, false) => Err("it is sent as an index and has no manifests".into()),
            (false, false, _) => Err("it is sent as a manifest and has neither config nor layers".into()),
            _ => Ok(media_type),
        }
    }

    fn check_annotations(&self) -> Result<(), String> {
        let descriptors = [&self.layers, &self.manifests].into_iter().flatten().flatten().chain(&self.config);
        let maps = descriptors.filter_map(|descriptor| descriptor.annotations.as_ref()).chain(&self.annotations);
        let bytes: usize = maps.flatten().map(|(key, value)| key.len().saturating_add(value.len())).sum();
        if bytes > MAX_ANNOTATIONS {
            return Err(format!("its annotations have {bytes} bytes, more than {MAX_ANNOTATIONS}"));
        }
        Ok(())
    }

    fn into_index(self) -> Result<Vec<Entry>, String> {
        let manifests = self.manifests.unwrap_or_default();
        if manifests.len() > MAX_INDEX_ENTRIES {
            return Err(format!("it lists {} manifests, more than {MAX_INDEX_ENTRIES}", manifests.len()));
        }
        // Attestations stand in the index beside the images they speak of.
        let is_attestation = |raw: &RawDescriptor| {
            raw.annotations.as_ref().is_some_and(|all| all.contains_key("vnd.docker.reference.type"))
        };
        Ok(manifests.into_iter().filter(|raw| !is_attestation(raw)).map(RawDescriptor::into_entry).collect())
    }

    fn into_manifest(self, media_type: &'static str, image: &str) -> Result<Manifest, RegistryError> {
        let invalid = |why: String| RegistryError::InvalidManifest { image: image.to_owned(), why };
        let config = self.config.ok_or_else(|| invalid("it has no config".into()))?;
        if !matches!(
            config.media_type.as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        ) {
            let media_type = excerpt(self.artifact_type.as_deref().unwrap_or(&config.media_type));
            return Err(RegistryError::NotAnImage { image: image.to_owned(), media_type });
        }
        if config.size > MAX_CONFIG {
            return Err(RegistryError::TooLarge { what: format!("the configuration of {image}"), limit: MAX_CONFIG });
        }
        let layers = self.layers.ok_or_else(|| invalid("it has no layers".into()))?;
        if layers.len() > MAX_LAYERS {
            return Err(invalid(format!("it has {} layers, more than {MAX_LAYERS}", layers.len())));
        }
        let layers = layers.into_iter().map(|layer| layer.into_layer(image)).collect::<Result<_, _>>()?;
        Ok(Manifest { media_type, config: config.into_descriptor(), layers })
    }
}

impl RawDescriptor {
    fn into_descriptor(self) -> Descriptor {
        Descriptor { media_type: self.media_type, digest: self.digest, size: self.size }
    }

    fn into_entry(mut self) -> Entry {
        let known = |platform: &RawPlatform| !platform.architecture.is_empty() && platform.architecture != "unknown";
        let platform = self.platform.take().filter(known).map(|raw| Platform {
            os: excerpt(&raw.os),
            architecture: excerpt(&raw.architecture),
            variant: raw.variant.filter(|variant| !variant.is_empty()).map(|variant| excerpt(&variant)),
        });
        Entry { manifest: self.into_descriptor(), platform }
    }

    fn into_layer(self, image: &str) -> Result<LayerDescriptor, RegistryError> {
        let elsewhere = self.urls.as_ref().is_some_and(|urls| !urls.is_empty());
        if elsewhere || self.media_type.contains("nondistributable") || self.media_type.contains(".foreign.") {
            return Err(RegistryError::NonDistributable { image: image.to_owned(), layer: self.digest });
        }
        let compression = compression(&self.media_type).ok_or_else(|| {
            let why = format!("a layer has the media type {:?}, which is not known", excerpt(&self.media_type));
            RegistryError::InvalidManifest { image: image.to_owned(), why }
        })?;
        Ok(LayerDescriptor { digest: self.digest, size: self.size, compression, media_type: self.media_type })
    }
}

/// How a layer of this media type is packed; none for what is no layer of ours.
pub fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Some(Compression::None)
        }
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Some(Compression::Gzip)
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Some(Compression::Zstd)
        }
        _ => None,
    }
}

/// Chooses the entry for `wanted`: the first that it accepts, an entry of
/// exactly the same variant before others.
///
/// # Errors
/// [`RegistryError::PlatformMissing`] with all platforms that there are.
pub fn choose<'a>(entries: &'a [Entry], wanted: &Platform, image: &str) -> Result<&'a Entry, RegistryError> {
    let mut accepted: Vec<(&Entry, &Platform)> = entries
        .iter()
        .filter_map(|entry| Some((entry, entry.platform.as_ref()?)))
        .filter(|(_, platform)| wanted.accepts(platform))
        .collect();
    // Stable: among equals the order of the index decides.
    accepted.sort_by_key(|(_, platform)| (platform.variant != wanted.variant, platform.variant.is_some()));
    if let Some((entry, _)) = accepted.first() {
        return Ok(entry);
    }
    match entries {
        // An index around a single image that does not say what it is for: its configuration will.
        [only] if only.platform.is_none() => Ok(only),
        _ => {
            let mut available: Vec<String> =
                entries.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
            available.sort();
            available.dedup();
            Err(RegistryError::PlatformMissing { image: image.to_owned(), wanted: wanted.clone(), available })
        }
    }
}

/// Checks that the configuration `bytes` is one strict document for `wanted`.
/// One that names no architecture is taken for any.
///
/// # Errors
/// [`RegistryError::InvalidManifest`] or [`RegistryError::PlatformMissing`].
pub fn check_config(bytes: &[u8], wanted: &Platform, image: &str) -> Result<(), RegistryError> {
    let invalid =
        |why: String| RegistryError::InvalidManifest { image: image.to_owned(), why: format!("configuration: {why}") };
    strict_json::check(bytes).map_err(invalid)?;
    let raw: RawPlatform = serde_json::from_slice(bytes).map_err(|error| invalid(excerpt(&error.to_string())))?;
    if raw.architecture.is_empty() {
        return Ok(());
    }
    let os = if raw.os.is_empty() { "linux" } else { &raw.os };
    let platform = Platform {
        os: excerpt(os),
        architecture: excerpt(&raw.architecture),
        variant: raw.variant.filter(|variant| !variant.is_empty()).map(|variant| excerpt(&variant)),
    };
    // Many arm images leave the variant out of the configuration: take them.
    let loose = Platform { variant: platform.variant.as_ref().and(wanted.variant.clone()), ..wanted.clone() };
    if loose.accepts(&platform) {
        return Ok(());
    }
    let available = vec![platform.to_string()];
    Err(RegistryError::PlatformMissing { image: image.to_owned(), wanted: wanted.clone(), available })
}

/// The media type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn known(media_type: impl AsRef<str>) -> Option<&'static str> {
    [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].into_iter().find(|known| *known == media_type.as_ref())
}

/// What servers say that know nothing of images: the document's own field decides then.
fn is_neutral(essence: &str) -> bool {
    matches!(essence, "" | "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream")
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
