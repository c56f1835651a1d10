//! Which containers there are, by name: for a shell that completes words.

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, ContainerName};

/// Asks for the names of containers. Nothing is started, changed or removed for
/// it, as a key that was pressed in a shell must have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListNames {
    /// Only of those that somebody runs.
    pub running: bool,
}

/// A container, as it can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
}
