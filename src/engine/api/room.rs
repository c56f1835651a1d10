//! Room on the disk: what takes it (`system df`), and how to get it back (`prune`).

use serde::{Deserialize, Serialize};

use super::{ContainerSummary, ImageSummary};
use crate::model::digest::Digest;
use crate::model::id::ContainerId;
use crate::model::reference::Reference;

/// Measures what everything takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDiskUsage {}

/// What everything takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUsage {
    /// The images.
    pub images: Vec<ImageRoom>,
    /// Bytes of all their layers, shared ones counted once.
    pub layers: u64,
    /// Those of them that no container needs.
    pub unused_layers: u64,
    /// The containers, measured.
    pub containers: Vec<ContainerSummary>,
    /// The named volumes.
    pub volumes: Vec<VolumeRoom>,
    /// What builds have kept.
    #[serde(default)]
    pub builds: super::BuildRoom,
}

/// What an image takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRoom {
    /// The image.
    pub image: ImageSummary,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// Bytes of layers that it alone has.
    pub unique: u64,
}

/// What a volume takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRoom {
    /// Its name.
    pub name: String,
    /// How many containers mount it.
    pub links: u32,
    /// Bytes of its files; none if they could not be measured.
    pub size: Option<u64>,
}

/// Removes what nothing needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// Containers that have ended or never started.
    pub containers: bool,
    /// Which images.
    pub images: PruneImages,
    /// Which volumes that no container mounts.
    pub volumes: PruneVolumes,
    /// Networks that no container is on.
    pub networks: bool,
    /// What killed commands and interrupted downloads have left, of any age.
    pub leftovers: bool,
    /// What containers and images have to be like; all of these have to hold.
    pub filters: Vec<PruneFilter>,
}

/// Which images are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruneImages {
    /// None.
    #[default]
    None,
    /// Those without a tag that no container was made from.
    Dangling,
    /// All that no container was made from.
    Unused,
}

/// Which volumes are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruneVolumes {
    /// None.
    #[default]
    None,
    /// Those that were made without a name.
    Anonymous,
    /// All.
    Unused,
}

/// One `--filter` of `prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruneFilter {
    /// Made before this time.
    Until(i64),
    /// It has the label, with the value if one is given; or it has not.
    Label {
        /// The label.
        key: String,
        /// Its value.
        value: Option<String>,
        /// Whether it has to have it.
        present: bool,
    },
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Containers.
    pub containers: Vec<ContainerId>,
    /// Names of images.
    pub untagged: Vec<Reference>,
    /// Images.
    pub images: Vec<Digest>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
    /// Bytes that were freed.
    pub reclaimed: u64,
}
