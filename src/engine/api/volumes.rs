//! Volumes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::id::ContainerName;

/// Makes a volume; one that is there already stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVolume {
    /// Its name; one is made up if none.
    pub name: Option<ContainerName>,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
}

/// The volume is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCreated {
    /// Its name.
    pub name: String,
}

/// Lists volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVolumes {}

/// A volume in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// Where its files are.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for one container, without a name.
    pub anonymous: bool,
    /// The containers that mount it.
    pub containers: Vec<String>,
}

/// Removes a volume that no container mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveVolume {
    /// Its name.
    pub name: String,
}

/// The volume is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRemoved {}
