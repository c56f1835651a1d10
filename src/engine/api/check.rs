//! Whether all is as it should be.

use serde::{Deserialize, Serialize};

/// Looks at everything that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether the bytes of every blob are looked at.
    pub full: bool,
    /// Whether what can be put right is.
    pub repair: bool,
}

/// Something that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about: a path, an image, a container.
    pub subject: String,
    /// What is wrong.
    pub what: String,
    /// Whether it has been put right.
    pub repaired: bool,
    /// The command that puts it right.
    pub remedy: String,
}
