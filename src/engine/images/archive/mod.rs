//! Archives of images: what `docker save`, `podman save` and `skopeo copy`
//! write, and OCI image layouts (image-spec 1.1, "Image Layout Specification").
//!
//! Content is taken by digest only. Names in an archive select content of the
//! same archive; no name becomes a path, and no link is followed on disk.

mod directory;
mod documents;
mod read;
mod write;

pub(super) use directory::Directory;
pub(super) use documents::{Candidate, candidates};
pub(super) use read::Members;
pub(super) use write::TarWriter;

use crate::engine::api::{Failure, FailureKind};
use crate::model::digest::Digest;

/// The media types that are written or looked for.
pub(in crate::engine) mod media {
    pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
}

/// The annotation that names an image in an index (OCI image-spec, "Annotations").
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same, as containerd and docker have it: always a complete name.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Bytes that an index may have.
pub(super) const INDEX_LIMIT: u64 = 4 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The bytes are no archive, or a damaged one.
    #[error("read the archive: {0}")]
    Damaged(String),
    /// There is no image in it.
    #[error("the archive has neither manifest.json nor index.json, so no image")]
    NoImages,
    /// A document says something impossible.
    #[error("{name} of the archive: {why}")]
    Document {
        /// Which document.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Something that is referred to is not there.
    #[error("the archive lacks {0}")]
    Missing(String),
    /// It has too much of something.
    #[error("the archive is too large: {0}")]
    TooLarge(String),
}

impl ArchiveError {
    /// A document that is not as it should be; what parsers quote of it is cut short.
    pub(super) fn document(name: &str, why: &dyn std::fmt::Display) -> Self {
        let short = |text: String| text.chars().take(200).collect();
        Self::Document { name: short(name.to_owned()), why: short(why.to_string()) }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let hint = match &error {
            ArchiveError::NoImages => {
                Some("an archive of files without an image around them is for `pybox import`".to_owned())
            }
            _ => None,
        };
        Self::new(FailureKind::Corrupt, &error).hint(hint)
    }
}

/// Where a load takes content from.
pub(super) trait Origin {
    /// A document by its name in the archive.
    fn document(&self, name: &str) -> Option<&[u8]>;

    /// The digest of the file that has this name in the archive.
    fn named(&self, name: &str) -> Option<Digest>;

    /// Brings a blob into the store, if it is not there yet, and says whether it is there then.
    fn bring(&mut self, digest: &Digest) -> Result<bool, Failure>;
}

/// The name of a blob in an OCI layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a name in an OCI layout means.
fn blob_of_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
