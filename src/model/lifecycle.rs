//! The life of a container: CREATED -> RUNNING <-> PAUSED -> STOPPED -> REMOVED.

use serde::{Deserialize, Serialize};

/// One process, named so that a recycled pid cannot be mistaken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id in the host's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between boot and the process's start.
    pub started_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot that the two numbers belong to.
    pub boot_id: String,
}

/// A container's state, with the facts that exist in that state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Lifecycle {
    /// Made, and never started.
    Created,
    /// Its first process runs.
    Running {
        /// The container's first process.
        init: ProcessIdentity,
        /// The container's monitor.
        monitor: ProcessIdentity,
        /// Milliseconds since the epoch.
        since: i64,
    },
    /// All its processes are frozen.
    Paused {
        /// The container's first process.
        init: ProcessIdentity,
        /// The container's monitor.
        monitor: ProcessIdentity,
        /// Milliseconds since the epoch of the start.
        since: i64,
    },
    /// It has ended, and its monitor will start it again.
    Restarting {
        /// The container's monitor.
        monitor: ProcessIdentity,
        /// As a shell would report it: the exit code, or 128 + the signal.
        exit_code: i32,
        /// Milliseconds since the epoch of its end.
        at: i64,
    },
    /// Its first process has ended.
    Stopped {
        /// As a shell would report it: the exit code, or 128 + the signal.
        exit_code: i32,
        /// Milliseconds since the epoch.
        at: i64,
        /// Why, where it is not simply that the process ended.
        reason: Option<String>,
        /// Whether the user asked for it.
        #[serde(default)]
        by_user: bool,
    },
}

impl Lifecycle {
    /// The word that `pybox ps` and `inspect` show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Stopped { .. } => "exited",
        }
    }

    /// Whether the container has processes, or its monitor is about to make some.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. } | Self::Restarting { .. })
    }

    /// The first process, if there is one.
    pub fn init(&self) -> Option<&ProcessIdentity> {
        match self {
            Self::Running { init, .. } | Self::Paused { init, .. } => Some(init),
            Self::Created | Self::Restarting { .. } | Self::Stopped { .. } => None,
        }
    }
}
