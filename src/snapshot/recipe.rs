//! What a container's root file system is made of: a document, not a mount.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layers::Layers;
use crate::model::storage::StorageDriver;

/// How to make a root file system; the launcher carries it out inside the
/// container's own mount namespace. Rides in `config.json` as the annotation
/// `dev.pybox.rootfs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Recipe {
    /// A kernel overlay mount with the option `userxattr` (our whiteouts are
    /// character devices 0:0, our opaque marks `user.overlay.opaque`).
    Overlay(Layered),
    /// The same over one layer: the merged tree of all of ours, read-only, which
    /// our server shows with the owners that the image has.
    Hybrid(Layered),
    /// All of it shown by our server.
    Fuse(Layered),
    /// The directory as it is.
    Bind {
        /// The directory.
        path: PathBuf,
    },
}

/// Layers, and what is written over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layered {
    /// What is only read.
    #[serde(flatten)]
    pub layers: Layers,
    /// Takes the changes.
    pub upper: PathBuf,
    /// Empty directory on the file system of `upper`, for whoever makes the overlay.
    pub work: PathBuf,
    /// No write is ever synced, so after a crash `upper` is worthless. For
    /// containers that are removed when they end.
    pub volatile: bool,
}

impl Recipe {
    /// What `driver` makes of them.
    pub fn of(driver: StorageDriver, layered: Layered) -> Self {
        match driver {
            StorageDriver::Overlay => Self::Overlay(layered),
            StorageDriver::Hybrid => Self::Hybrid(layered),
            StorageDriver::Fuse => Self::Fuse(layered),
        }
    }

    /// Who makes it, out of layers; none for a directory.
    pub fn driver(&self) -> Option<StorageDriver> {
        match self {
            Self::Overlay(_) => Some(StorageDriver::Overlay),
            Self::Hybrid(_) => Some(StorageDriver::Hybrid),
            Self::Fuse(_) => Some(StorageDriver::Fuse),
            Self::Bind { .. } => None,
        }
    }

    /// Layers and changes, where there are any.
    pub fn layered(&self) -> Option<&Layered> {
        match self {
            Self::Overlay(layered) | Self::Hybrid(layered) | Self::Fuse(layered) => Some(layered),
            Self::Bind { .. } => None,
        }
    }

    /// The directories that it is made of, the topmost first.
    pub fn directories(&self) -> Vec<&Path> {
        match self {
            Self::Bind { path } => vec![path],
            Self::Overlay(layered) | Self::Hybrid(layered) | Self::Fuse(layered) => {
                [&layered.upper].into_iter().chain(&layered.layers.lower).map(PathBuf::as_path).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::layers::Owners;

    #[test]
    fn recipe_survives_json() {
        let lower = vec!["/l/2/diff".into(), "/l/1/diff".into()];
        let layers = Layers { lower, index: None, owners: Owners::Real };
        let layered = Layered { layers, upper: "/c/upper".into(), work: "/c/work".into(), volatile: true };
        let overlay = Recipe::Overlay(layered.clone());
        let text = serde_json::to_string(&overlay).expect("json");
        assert!(text.starts_with(r#"{"kind":"overlay","lower":["/l/2/diff","#) && !text.contains("index"), "{text}");
        assert_eq!(serde_json::from_str::<Recipe>(&text).expect("parse"), overlay);
        let layers = Layers { index: Some("/l/2/index".into()), owners: Owners::Hidden, ..layered.layers.clone() };
        let served = Recipe::of(StorageDriver::Fuse, Layered { layers, ..layered });
        let text = serde_json::to_string(&served).expect("json");
        assert_eq!(serde_json::from_str::<Recipe>(&text).expect("parse"), served);
        assert_eq!((served.driver(), overlay.driver()), (Some(StorageDriver::Fuse), Some(StorageDriver::Overlay)));
        assert_eq!(served.directories().len(), 3);
        let bind = Recipe::Bind { path: "/rootfs".into() };
        assert_eq!(serde_json::to_string(&bind).expect("json"), r#"{"kind":"bind","path":"/rootfs"}"#);
        assert!(serde_json::from_str::<Recipe>(r#"{"kind":"bind","way":"/a"}"#).is_err());
    }
}
