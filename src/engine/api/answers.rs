//! What the engine answers, one type a question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::id::{ContainerId, ContainerName};
use crate::model::lifecycle::Lifecycle;
use crate::model::reference::Reference;
use crate::model::supervision::Health;

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// The digest of its configuration: what docker calls the image's id.
    pub id: Digest,
    /// Its names, sorted; none for an image that lost them.
    pub names: Vec<ImageName>,
    /// When it was built, if it says.
    pub created: Option<i64>,
    /// What it takes unpacked, shared layers counted in full.
    pub size: u64,
    /// How many containers were made from it.
    pub containers: u32,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
}

/// One name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// The name; with a digest and no tag if it was pulled so.
    pub reference: Reference,
    /// What the registry says the name means: the digest of an index or a manifest.
    pub digest: Option<Digest>,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as it was typed.
    pub image: String,
    /// The id of that image.
    pub image_id: Digest,
    /// Program and arguments of the first process.
    pub command: Vec<String>,
    /// When it was made.
    pub created: i64,
    /// Its state.
    pub lifecycle: Lifecycle,
    /// Its labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Sources of its mounts: volume names and host paths.
    pub mounts: Vec<String>,
    /// Their places in the container.
    pub targets: Vec<String>,
    /// Its networks.
    pub networks: Vec<String>,
    /// How it fares by its health check, if it has one and runs.
    pub health: Option<Health>,
    /// Bytes of the files that it has made or changed, if they were measured.
    pub size: Option<u64>,
    /// Bytes of its image.
    pub image_size: u64,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The complete name.
    pub reference: Reference,
    /// What the registry says the name means: the digest of an index or a manifest.
    pub digest: Digest,
    /// The image's id.
    pub id: Digest,
    /// Whether the store had another image by that name, or none.
    pub changed: bool,
}

/// What removing an image did, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageRemoval {
    /// The name is gone.
    Untagged(Reference),
    /// The image is gone.
    Deleted(Digest),
}

/// An image that came from an archive or a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The image's id.
    pub id: Digest,
    /// Its names; none if the archive gave it none.
    pub references: Vec<Reference>,
}

/// What a save wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The archive's size.
    pub bytes: u64,
}

/// The image that got a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    /// Its id.
    pub id: Digest,
}

/// The container that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRemoved {
    /// Its id.
    pub id: ContainerId,
}
