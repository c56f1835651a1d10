//! What the engine and a monitor say to each other: one JSON document a packet
//! on a socket pair.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::lifecycle::ProcessIdentity;
use crate::sys::message;

/// The first packet to a monitor. On board: the bundle directory, then the
/// compiled system call filter if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// How the id maps are written.
    pub mapping: Mapping,
    /// Whether the program's standard input is ours, or empty.
    pub interactive: bool,
    /// Name of the container's session keyring.
    pub keyring: String,
}

/// As `launch::Mapping`, in the words of this wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// By the setuid helpers.
    Helpers {
        /// Path of newuidmap.
        newuidmap: PathBuf,
        /// Path of newgidmap.
        newgidmap: PathBuf,
    },
    /// By the monitor itself.
    Direct {
        /// Whether setgroups is denied first.
        deny_setgroups: bool,
    },
}

/// Any later packet to a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Send this signal to the first process.
    Signal(i32),
    /// The terminal has this size now.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// From a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The program is executed.
    Started {
        /// The first process.
        init: ProcessIdentity,
        /// The monitor.
        monitor: ProcessIdentity,
    },
    /// There is no container: why, and what to do.
    Failed {
        /// One sentence.
        message: String,
        /// The command or change that mends it.
        hint: Option<String>,
        /// 125, 126 or 127.
        exit_code: u8,
    },
    /// The first process has ended, and all its output has been handed on.
    Exited {
        /// The exit code, or 128 + the signal.
        exit_code: i32,
    },
}

/// A packet that could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket.
    #[error("talk to the container's monitor")]
    Socket(#[source] std::io::Error),
    /// The other side has gone.
    #[error("the container's monitor has gone")]
    Closed,
    /// The content.
    #[error("understand the container's monitor")]
    Content(#[source] serde_json::Error),
}

/// Larger than any message: one packet holds it whole.
const MOST_BYTES: usize = 64 << 10;

/// Sends `message` with `fds` on board.
///
/// # Errors
/// [`WireError::Closed`] if nobody is there, else [`WireError::Socket`].
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
    let text = serde_json::to_vec(message).map_err(WireError::Content)?;
    message::send(socket, &text, fds).map_err(|error| match error {
        Errno::PIPE | Errno::CONNRESET => WireError::Closed,
        other => WireError::Socket(other.into()),
    })
}

/// Waits for a message.
///
/// # Errors
/// [`WireError::Closed`] at the end of the connection, else what is wrong.
pub fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<(T, [Option<OwnedFd>; message::MAX_FDS]), WireError> {
    let mut buffer = vec![0; MOST_BYTES];
    let received = match message::receive(socket.as_fd(), &mut buffer) {
        Err(Errno::CONNRESET) => return Err(WireError::Closed),
        other => other.map_err(|error| WireError::Socket(error.into()))?,
    };
    let text = buffer.get(..received.len).filter(|text| !text.is_empty()).ok_or(WireError::Closed)?;
    Ok((serde_json::from_slice(text).map_err(WireError::Content)?, received.fds))
}
