//! What can go wrong between us and a manager.

use std::time::Duration;

/// Why systemd did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus cannot be reached.
    #[error("connect to the bus at {address}")]
    Connect {
        /// Where it was sought.
        address: String,
        /// What was in the way.
        #[source]
        source: Box<zbus::Error>,
    },
    /// Nobody answered in time.
    #[error("{what}: systemd did not answer within {} s", limit.as_secs())]
    Late {
        /// What was asked for.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The manager, or the bus, said no.
    #[error("{what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The name of the D-Bus error.
        name: String,
        /// What it says.
        message: String,
    },
    /// The job ended, and not well.
    #[error("start {unit}: systemd's job ended with {result:?}")]
    Job {
        /// Of which unit.
        unit: String,
        /// `failed`, `canceled`, `timeout`, `dependency`, …
        result: String,
    },
    /// The connection broke off, or said what nobody understands.
    #[error("{what}: {source}")]
    Broken {
        /// What was asked for.
        what: String,
        /// What happened.
        #[source]
        source: Box<zbus::Error>,
    },
    /// There is no runtime to wait on.
    #[error("prepare to talk to systemd")]
    Runtime(#[source] std::io::Error),
}

/// Whose name belongs to a unit that is there already.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

impl Error {
    /// Whether a unit of that name is still there.
    pub fn is_unit_exists(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name == EXISTS)
    }
}
