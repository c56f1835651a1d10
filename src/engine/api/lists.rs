//! Lists of images for several platforms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// Makes a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeList {
    /// Its name.
    pub list: Reference,
    /// What is in it from the start: references, ids or prefixes of ids.
    pub images: Vec<String>,
    /// Whether a list that is there already is added to.
    pub amend: bool,
    /// Whether all images that a name means are taken, and not one alone.
    pub all: bool,
}

/// Changes a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeList {
    /// Its name.
    pub list: Reference,
    /// How.
    pub change: ListChange,
}

/// A change of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListChange {
    /// One image more.
    Add {
        /// A reference, an id or a prefix of one; pulled if it is not here.
        image: String,
        /// Whether all images that the name means are taken.
        all: bool,
        /// What is said of it; the platform is also the one that is pulled.
        facts: MemberFacts,
    },
    /// More is said of one that is in it.
    Annotate {
        /// The digest of its manifest, or an image that is here.
        image: String,
        /// What is said.
        facts: MemberFacts,
    },
    /// One image less.
    Remove {
        /// The digest of its manifest, or an image that is here.
        image: String,
    },
}

/// What a list says of an image, where that differs from what the image says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The operating system.
    pub os: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// The variant of the architecture.
    pub variant: Option<String>,
    /// The version of the operating system.
    pub os_version: Option<String>,
    /// What the operating system has to have.
    pub os_features: Vec<String>,
    /// What the processor has to have.
    pub features: Vec<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl MemberFacts {
    /// The platform, if an architecture is named.
    pub fn platform(&self) -> Option<Platform> {
        let os = self.os.clone().unwrap_or_else(|| "linux".to_owned());
        let architecture = self.architecture.clone()?;
        Some(Platform { os, architecture, variant: self.variant.clone() })
    }
}

/// Shows what a name means: a list, or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectList {
    /// A reference, an id or a prefix of one; asked of the registry if it is not here.
    pub name: String,
}

/// A list that was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMade {
    /// The digest of its index.
    pub digest: Digest,
}

/// A list that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChanged {
    /// The digest of its index now.
    pub digest: Digest,
}

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListInspected {
    /// The document.
    pub document: serde_json::Value,
}
