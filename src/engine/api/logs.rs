//! What a container has written.

use serde::{Deserialize, Serialize};

/// Copies a container's log to our standard output and standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowLog {
    /// The container: a name, an id or a prefix of one.
    pub name: String,
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// How many lines from the end; all if none.
    pub tail: Option<u64>,
    /// Nothing before this time.
    pub since: Option<i64>,
    /// Nothing after this time.
    pub until: Option<i64>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
}

/// The log has been copied, or nobody reads it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShown {}
