//! Questions about the life of containers, and their answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::model::container::ContainerRequest;
use crate::model::id::ContainerId;
use crate::model::supervision::{Descriptors, Notify};

/// Makes a container and starts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The container, as asked for.
    pub request: ContainerRequest,
    /// Whether to return as soon as its program is executed.
    pub detach: bool,
    /// The bytes of a terminal that leave it running; none for no such keys.
    pub detach_keys: Vec<u8>,
    /// A new file that gets the id as soon as there is a container; absolute.
    pub id_file: Option<PathBuf>,
    /// Whom its monitor tells how it fares.
    pub notify: Option<Notify>,
    /// What its program inherits of ours.
    pub descriptors: Descriptors,
}

/// Makes a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// The container, as asked for.
    pub request: ContainerRequest,
    /// A new file that gets the id; absolute.
    pub id_file: Option<PathBuf>,
}

/// Starts a container that does not run; one that does is no failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// A name, an id or a prefix of one.
    pub name: String,
    /// Whether to stay with it.
    pub attach: Option<StartAttached>,
    /// Whom its monitor tells how it fares.
    pub notify: Option<Notify>,
    /// What its program inherits of ours.
    pub descriptors: Descriptors,
}

/// Staying with a container that is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAttached {
    /// How.
    pub options: AttachOptions,
    /// Whether the caller's standard input is a terminal.
    pub terminal: bool,
}

/// Connects the caller's standard streams to a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// A name, an id or a prefix of one.
    pub name: String,
    /// How.
    pub options: AttachOptions,
}

/// How to be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOptions {
    /// Whether standard input is handed on.
    pub input: bool,
    /// The bytes of a terminal that leave it running; none for no such keys.
    pub detach_keys: Vec<u8>,
    /// Whether our signals become the container's.
    pub pass_signals: bool,
}

/// The containers that a restart policy wants running and that do not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDue {}

/// Does one thing to several containers, all at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Names, ids or prefixes of ids.
    pub names: Vec<String>,
    /// What.
    pub action: Action,
}

/// What can be done to a container. Seconds of [`u64::MAX`] are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A signal, and SIGKILL later. One that does not run is no failure.
    Stop {
        /// The signal; the container's own if none.
        signal: Option<i32>,
        /// Seconds until SIGKILL; the container's own if none.
        timeout: Option<u64>,
    },
    /// The same, and a start.
    Restart {
        /// The signal; the container's own if none.
        signal: Option<i32>,
        /// Seconds until SIGKILL; the container's own if none.
        timeout: Option<u64>,
    },
    /// A signal.
    Kill {
        /// Which.
        signal: i32,
    },
    /// Freezes all processes.
    Pause,
    /// Lets them go on.
    Unpause,
}

/// Waits until a container has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// A name, an id or a prefix of one.
    pub name: String,
}

/// The container that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
}

/// What became of a container that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Which container.
    pub container: ContainerId,
    /// The exit code, or 128 + the signal; none if it runs on.
    pub code: Option<i32>,
}

/// What became of a container that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which container.
    pub container: ContainerId,
    /// The exit code, or 128 + the signal; none if it runs on.
    pub code: Option<i32>,
}

/// How being attached ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The exit code, or 128 + the signal; none if it runs on.
    pub code: Option<i32>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// As a shell would report it: the exit code, or 128 + the signal.
    pub exit_code: i32,
}

/// What came of an [`Act`], for each name.
pub type Acted = Vec<Result<ContainerId, Failure>>;
