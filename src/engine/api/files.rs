//! Files of containers: copied, compared, kept.

use serde::{Deserialize, Serialize};

use super::Source;
use crate::model::compression::Compression;
use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// Copies files between a container and the host, or another container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFiles {
    /// What is copied.
    pub from: Place,
    /// Where it goes.
    pub to: Place,
    /// Whether owners are kept.
    pub archive: bool,
    /// Whether a link that is copied is followed.
    pub follow: bool,
}

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A path in a container; a slash at its end means something.
    Container {
        /// A name, an id or a prefix of one.
        name: String,
        /// The path, from the root.
        path: String,
    },
    /// A path of the host, absolute; a slash at its end means something.
    Host(String),
    /// An archive on standard input or output.
    Standard,
}

/// The files have been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {}

/// Writes a container's root file system to an archive, without what is mounted in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The container.
    pub name: String,
    /// Where the archive goes.
    pub target: Source,
}

/// The archive has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {}

/// Lists what a container has changed of its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChanges {
    /// The container.
    pub name: String,
}

/// A path that a container has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What happened to it.
    pub kind: ChangeKind,
    /// The path, from the root; bytes that are no text are replaced.
    pub path: String,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// The image does not have it.
    Added,
    /// It is not as the image has it, or something in it is not.
    Changed,
    /// It is gone.
    Deleted,
}

/// Makes an image of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The container.
    pub name: String,
    /// The image's name, if it gets one.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// What the history says of it.
    pub message: Option<String>,
    /// `Dockerfile` lines that change the configuration.
    pub changes: Vec<String>,
    /// Whether the container is paused meanwhile.
    pub pause: bool,
    /// How the new layer is compressed.
    #[serde(default)]
    pub compression: Compression,
}

/// An image was made of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The image.
    pub id: Digest,
}

/// Lists the steps that made an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHistory {
    /// The image.
    pub name: String,
}

/// One step that made an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// The image, for the step that completed it.
    pub id: Option<Digest>,
    /// When, if it says.
    pub created: Option<i64>,
    /// What was done.
    pub created_by: String,
    /// Bytes of the files of its layer.
    pub size: u64,
    /// What somebody said of it.
    pub comment: String,
    /// The image's names, for the step that completed it.
    pub names: Vec<String>,
}
