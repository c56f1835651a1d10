//! What happens to objects, as `pybox events` tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Milliseconds since the epoch.
    pub time: i64,
    /// To what kind of object.
    pub kind: Kind,
    /// What, in docker's words: `create`, `start`, `die`, `stop`, `kill`, `pause`, `destroy`, `pull`, …
    pub action: String,
    /// The object's id, or its name where it has none.
    pub id: String,
    /// More of it, in docker's words: `name`, `image`, `exitCode`, `signal`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of objects that things happen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// The word of `--filter type=`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}
