//! What is heard between a question and its answer.

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// What is heard while a request is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Something to know; the request goes on.
    Warning(String),
    /// The registry is asked what a name means.
    Resolving(Reference),
    /// It has answered: these layers make the image, the lowest first.
    Layers(Vec<LayerSize>),
    /// A layer went on.
    Layer {
        /// Which one, by the digest of its compressed bytes.
        digest: Digest,
        /// How far it is.
        progress: LayerProgress,
    },
    /// All layers are here and the image is being written down.
    Committing,
    /// An image is on its way to a registry, under this name.
    Sending(Reference),
    /// A step of a build begins, or need not be done.
    Step {
        /// Which one, from 1.
        number: usize,
        /// Of how many.
        total: usize,
        /// What it does.
        text: String,
        /// Whether it was done before.
        cached: bool,
        /// The stage, where several are made at once.
        stage: Option<String>,
    },
    /// A command of a build has written a line; told where several run at once, else it writes it itself.
    Said {
        /// The stage that it belongs to.
        stage: String,
        /// What it has written.
        line: String,
    },
}

/// A layer that a pull or a push is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    /// The digest of its compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerProgress {
    /// The store has it already.
    Present,
    /// So many compressed bytes have come (they are unpacked as they come).
    Downloaded(u64),
    /// The registry failed us; we ask again.
    Retrying {
        /// Which attempt this is, from 2.
        attempt: u32,
        /// What went wrong.
        why: String,
    },
    /// All bytes are here, checked; the last of them are being unpacked.
    Unpacking,
    /// So many compressed bytes have been sent.
    Uploaded(u64),
    /// The registry has it already.
    There,
    /// The registry took it from this repository of its own.
    Mounted(String),
    /// It is unpacked; or sent.
    Done,
}
