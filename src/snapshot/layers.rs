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
    /// Whether one user owns all files on disk, and their owners are recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
}
