//! The read-only part of a root file system.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Layers, and what a server of ours needs beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Directories, the topmost first; see [`super::kernel_overlay::lower_stack`].
    pub lower: Vec<PathBuf>,
    /// The index of their merged tree, for our server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// How owners of what is written over them are kept.
    #[serde(default, skip_serializing_if = "Owners::are_real")]
    pub owners: Owners,
}

/// How owners of files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// On disk, as those of all files.
    #[default]
    Real,
    /// Beside the files, which one user owns on disk.
    Recorded,
    /// The same, where the kernel cannot show them: the container has one id.
    Hidden,
}

impl Owners {
    fn are_real(&self) -> bool {
        *self == Self::Real
    }

    /// Whether they are recorded beside the files.
    pub fn are_recorded(self) -> bool {
        self != Self::Real
    }
}
