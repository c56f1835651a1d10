//! What can be changed of a container that is there: `rename`, `update`.

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, ContainerName};
use crate::model::limits::Limits;
use crate::model::supervision::RestartPolicy;

/// Gives a container another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameContainer {
    /// A name, an id or a prefix of one.
    pub container: String,
    /// The new name.
    pub name: ContainerName,
}

/// The container that was renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// Its id.
    pub id: ContainerId,
    /// What it was called.
    pub old: ContainerName,
}

/// Changes settings of a container, running or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateContainer {
    /// A name, an id or a prefix of one.
    pub container: String,
    /// What becomes of it when it ends; none to leave that as it is.
    pub restart: Option<RestartPolicy>,
    /// Limits to set; those that are none stay as they are.
    pub limits: Limits,
}

/// The container that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// Its id.
    pub id: ContainerId,
}
