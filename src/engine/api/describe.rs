//! What was asked for when a container was made: for whoever wants another one like it.

use serde::{Deserialize, Serialize};

use crate::model::container::ContainerRequest;
use crate::model::id::ContainerName;

/// Asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeContainer {
    /// A name, an id or a prefix of one.
    pub name: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// The container's name.
    pub name: ContainerName,
    /// What was asked for, with what was changed since.
    pub request: ContainerRequest,
}
