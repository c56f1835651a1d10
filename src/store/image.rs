//! Images as the store speaks of them, and how a manifest and a configuration
//! become one.

use std::collections::BTreeMap;

use oci_spec::image::{ImageConfiguration, ImageManifest};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// Bytes that a manifest may have.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// Bytes that a configuration may have.
pub const CONFIG_LIMIT: u64 = 8 << 20;
/// Layers that an image may have: what one overlayfs mount can stack, less the init layer.
pub const LAYER_LIMIT: usize = 127;

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The digest of its uncompressed archive: which unpacked layer it is.
    pub diff_id: Digest,
    /// The digest of its blob.
    pub blob: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// How the blob is packed, as the manifest says.
    pub media_type: String,
}

/// An image that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// The manifest by which it was found, or the one that came last.
    pub manifest: Digest,
    /// What the manifest is.
    pub manifest_type: String,
    /// What it runs on.
    pub platform: Platform,
    /// Milliseconds since the epoch, if it says when it was built.
    pub created: Option<i64>,
    /// Bytes of its files, shared layers counted in full.
    pub size: u64,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// Its layers, the lowest first.
    pub layers: Vec<ImageLayer>,
    /// Layers that are whole only within the boot named, see [`super::layers`].
    pub(super) unsettled: Vec<(Digest, String)>,
}

impl Image {
    /// Whether it is a list of images, made here: an index that stands for itself, without layers.
    pub fn is_list(&self) -> bool {
        self.manifest_type == OCI_INDEX
    }

    /// What is in the making: layers, and no name by which it could be found.
    pub fn unfinished(id: Digest, platform: Platform, layers: Vec<ImageLayer>) -> Self {
        let (manifest, manifest_type) = (id.clone(), OCI_MANIFEST.to_owned());
        let (labels, unsettled) = (BTreeMap::new(), Vec::new());
        Self { id, manifest, manifest_type, platform, created: None, size: 0, labels, layers, unsettled }
    }
}

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// The digest of its configuration.
    pub id: Digest,
    /// Its names.
    pub names: ImageNames,
    /// Milliseconds since the epoch, if it says when it was built.
    pub created: Option<i64>,
    /// Bytes of its files, shared layers counted in full.
    pub size: u64,
    /// How many containers were made from it.
    pub containers: u32,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
}

/// What an image is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageNames {
    /// By tag, sorted.
    pub tags: Vec<TagName>,
    /// By digest, sorted; most stand beside a tag of the same repository.
    pub digests: Vec<Reference>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagName {
    /// The name.
    pub reference: Reference,
    /// The digest, of an index or a manifest, that the registry says the tag means; none for a tag made here.
    pub target: Option<Digest>,
}

/// An image to be put, all of whose blobs and layers are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImage {
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// What the manifest is.
    pub manifest_type: String,
    /// What it runs on.
    pub platform: Platform,
    /// Milliseconds since the epoch, if it says when it was built.
    pub created: Option<i64>,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// Its layers, the lowest first.
    pub layers: Vec<ImageLayer>,
}

/// The fields that tell an index from a manifest: a document that has both kinds
/// would be read differently by different tools (CVE-2021-41190).
#[derive(Deserialize)]
struct Ambiguity {
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl NewImage {
    /// A list of images: the index `digest`, which has neither configuration nor layers.
    pub fn list(digest: &Digest, created: i64) -> Self {
        Self {
            id: digest.clone(),
            manifest: digest.clone(),
            manifest_type: OCI_INDEX.to_owned(),
            platform: Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), variant: None },
            created: Some(created),
            labels: BTreeMap::new(),
            layers: Vec::new(),
        }
    }

    /// Reads a manifest and the configuration it names. Blobs are not looked at.
    ///
    /// # Errors
    /// [`StoreError::BadImage`] for documents that are no image, or that contradict each other.
    pub fn describe(manifest_digest: &Digest, manifest: &[u8], config: &[u8]) -> Result<Self, StoreError> {
        // Parsers quote what they refuse, and that may be megabytes.
        let refuse = |subject: &Digest, why: String| StoreError::BadImage {
            subject: subject.clone(),
            why: why.chars().take(200).collect(),
        };
        let in_manifest = |why: String| refuse(manifest_digest, why);
        let ambiguity: Ambiguity = serde_json::from_slice(manifest).map_err(|error| in_manifest(error.to_string()))?;
        if ambiguity.manifests.is_some() || ambiguity.fs_layers.is_some() {
            return Err(in_manifest("the document is a manifest and something else at once".into()));
        }
        let parsed: ImageManifest = serde_json::from_slice(manifest).map_err(|error| in_manifest(error.to_string()))?;
        let id = digest_of(parsed.config().digest()).map_err(in_manifest)?;
        let config: ImageConfiguration =
            serde_json::from_slice(config).map_err(|error| refuse(&id, error.to_string()))?;
        let diff_ids = config.rootfs().diff_ids();
        check_counts(parsed.layers().len(), diff_ids.len()).map_err(in_manifest)?;
        let layer = |(descriptor, diff_id): (&oci_spec::image::Descriptor, &String)| {
            Ok(ImageLayer {
                diff_id: diff_id.parse().map_err(|error| refuse(&id, format!("{error}")))?,
                blob: digest_of(descriptor.digest()).map_err(in_manifest)?,
                size: descriptor.size(),
                media_type: descriptor.media_type().to_string(),
            })
        };
        let layers = parsed.layers().iter().zip(diff_ids).map(layer).collect::<Result<_, StoreError>>()?;
        let platform = platform_of(&config).ok_or_else(|| refuse(&id, "its platform is no platform".into()))?;
        let manifest_type = parsed.media_type().as_ref().map_or(OCI_MANIFEST.to_owned(), ToString::to_string);
        Ok(Self {
            manifest: manifest_digest.clone(),
            manifest_type,
            platform,
            created: config.created().as_deref().and_then(milliseconds),
            labels: config.labels_of_config().cloned().unwrap_or_default().into_iter().collect(),
            layers,
            id,
        })
    }
}

/// A layer has a diffID each, and one mount takes them all.
fn check_counts(layers: usize, diff_ids: usize) -> Result<(), String> {
    if layers != diff_ids {
        return Err(format!("it has {layers} layers, and its configuration {diff_ids}"));
    }
    if layers > LAYER_LIMIT {
        return Err(format!("it has more than {LAYER_LIMIT} layers"));
    }
    Ok(())
}

/// The media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an OCI manifest, for one that does not say.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest_of(digest: &oci_spec::image::Digest) -> Result<Digest, String> {
    digest.to_string().parse().map_err(|error: crate::model::digest::InvalidDigest| error.to_string())
}

fn platform_of(config: &ImageConfiguration) -> Option<Platform> {
    let mut text = format!("{}/{}", config.os(), config.architecture());
    if let Some(variant) = config.variant().as_deref().filter(|variant| !variant.is_empty()) {
        text = format!("{text}/{variant}");
    }
    text.parse().ok()
}

/// Milliseconds since the epoch of an RFC 3339 time.
fn milliseconds(text: &str) -> Option<i64> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &[u8], layers: usize) -> String {
        let layer = r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7,"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"}"#;
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[{}]}}"#,
            config.len(),
            Digest::of(config),
            vec![layer; layers].join(",")
        )
    }

    fn describe(manifest: &str, config: &str) -> Result<NewImage, String> {
        NewImage::describe(&Digest::of(manifest.as_bytes()), manifest.as_bytes(), config.as_bytes())
            .map_err(|error| error.to_string())
    }

    const CONFIG: &str = r#"{"created":"2020-01-02T03:04:05.5Z","architecture":"arm64","variant":"v8","os":"linux",
        "config":{"Labels":{"a":"b"}},
        "rootfs":{"type":"layers","diff_ids":["sha256:2222222222222222222222222222222222222222222222222222222222222222"]}}"#;

    #[test]
    fn documents_become_an_image() {
        let image = describe(&manifest(CONFIG.as_bytes(), 1), CONFIG).expect("an image");
        assert_eq!(image.id, Digest::of(CONFIG.as_bytes()));
        assert_eq!(image.platform.to_string(), "linux/arm64/v8");
        assert_eq!(image.created, Some(1_577_934_245_500));
        assert_eq!(image.labels, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        assert_eq!(image.manifest_type, OCI_MANIFEST);
        let layers: Vec<_> = image.layers.iter().map(|layer| (layer.diff_id.short(), layer.blob.short())).collect();
        assert_eq!(layers, [("222222222222", "111111111111")]);
    }

    #[test]
    fn contradictions_are_refused() {
        let good = manifest(CONFIG.as_bytes(), 1);
        let cases = [
            (manifest(CONFIG.as_bytes(), 2), CONFIG.to_owned(), "has 2 layers, and its configuration 1"),
            (good.replace("\"layers\"", "\"manifests\":[],\"layers\""), CONFIG.to_owned(), "something else at once"),
            (good.replace("\"layers\"", "\"layers\":[],\"layers\""), CONFIG.to_owned(), "duplicate field"),
            (good.replace("sha256:1111", "sha256:../1"), CONFIG.to_owned(), "Invalid encoded value"),
            (good.clone(), CONFIG.replace("sha256:2222", "md5:2222"), "invalid digest"),
            (good.clone(), CONFIG.replace("linux", "a/b/c"), "no platform"),
            (good, "{".to_owned(), "EOF"),
        ];
        for (manifest, config, why) in cases {
            let error = describe(&manifest, &config).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
