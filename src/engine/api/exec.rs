//! One more process in a container.

use serde::{Deserialize, Serialize};

/// Runs a command in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The container: a name, an id or a prefix of one.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether our standard input is the command's.
    pub interactive: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether nobody waits for it.
    pub detach: bool,
    /// Variables beside the container's, in order; later ones win.
    pub env: Vec<(String, String)>,
    /// Where it starts; the container's own directory if none.
    pub workdir: Option<String>,
    /// `user[:group]`; the container's own if none.
    pub user: Option<String>,
    /// Whether it has all capabilities and no system call filter.
    pub privileged: bool,
    /// The bytes of a terminal that leave it running; none for no such keys.
    pub detach_keys: Vec<u8>,
}

/// What became of a command in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// The exit code, or 128 + the signal; none if it runs on.
    pub code: Option<i32>,
}
