//! The way of an image to a registry.

use serde::{Deserialize, Serialize};

use crate::model::compression::Compression;
use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// Sends an image to registries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The image: a reference, an id or a prefix of one. With `all_tags`, the name of a repository.
    pub image: String,
    /// The names that it gets; its own if there are none. With `all_tags`, the name of a repository at most.
    pub destinations: Vec<Reference>,
    /// Whether all tags of a repository are meant.
    pub all_tags: bool,
    /// How layers are compressed that are not; as they are if none.
    #[serde(default)]
    pub compression: Option<Compression>,
}

/// An image that a registry has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The complete name.
    pub reference: Reference,
    /// What the name means there: the digest of an index or a manifest.
    pub digest: Digest,
    /// How many blobs were sent, as the registry did not have them.
    pub sent: u32,
}
