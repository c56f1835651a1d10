//! What the engine and a monitor say to each other: one JSON document a packet.
//!
//! A new monitor hears [`Start`] on the socket it was born with. From then on it
//! also listens on [`SOCKET`] in the bundle, where any process of the user may
//! connect, send [`Control`]s, and hear [`Event`]s: an answer for each control
//! that has one, and the end of the container for all.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::Placement;
use crate::cgroup::settings::Setting;
use crate::model::lifecycle::ProcessIdentity;
use crate::model::supervision::{Descriptors, HealthCheck, LogRequest, Notify, RestartPolicy};
use crate::network::interface::Interface;
use crate::network::segment::{Membership, Plug};
use crate::sys::message;

/// Name of the listening socket in the bundle.
pub const SOCKET: &str = "control";

/// The first packet to a monitor. On board: the bundle directory, then the
/// compiled system call filter if there is one, then what is private, if something is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Who it is, for events and for journald.
    pub subject: Subject,
    /// How the id maps are written.
    pub mapping: Mapping,
    /// Whether the program's standard input is kept open.
    pub interactive: bool,
    /// Whether the monitor's own standard streams are a caller that is attached.
    pub attached: bool,
    /// The bytes of that caller's terminal that leave the container alone; none for no such keys.
    pub detach_keys: Vec<u8>,
    /// Name of the container's session keyring.
    pub keyring: String,
    /// What becomes of its output.
    pub log: LogRequest,
    /// Labels and variables that are fields of its entries in the journal.
    #[serde(default)]
    pub log_fields: BTreeMap<String, String>,
    /// What becomes of it when it ends.
    pub restart: RestartPolicy,
    /// What its program inherits; the descriptors follow in packets of their own.
    #[serde(default)]
    pub descriptors: Descriptors,
    /// Whom it tells how it fares.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// Its health check: the process of `config.json` with another command.
    pub health: Option<HealthCheck>,
    /// Milliseconds after which it is stopped.
    pub timeout: Option<u64>,
    /// How it is stopped unless told otherwise.
    pub stop: Stop,
    /// What connects its network namespace, if something does.
    #[serde(default)]
    pub network: Option<NetworkProgram>,
    /// The networks of many that it is on.
    #[serde(default)]
    pub membership: Option<Membership>,
    /// The process whose network namespace it is to be in.
    #[serde(default)]
    pub network_of: Option<ProcessIdentity>,
    /// The cgroups that it and we are to be in; none to stay where we are.
    #[serde(default)]
    pub cgroup: Option<Placement>,
    /// The file that events are appended to.
    pub events: PathBuf,
    /// Whether it is killed when whoever started it goes away: nobody else will ever ask for it.
    #[serde(default)]
    pub bound: bool,
    /// Program and arguments that are run when all is over and nobody is attached: what removes it.
    pub finish: Vec<PathBuf>,
    /// What the program is given and no file has. The bytes are in memory, behind the last descriptor on board.
    #[serde(default)]
    pub private: Vec<Private>,
}

/// Something for the program that is written to no disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// Where the program finds it.
    pub place: PrivatePlace,
    /// How many bytes it has; all things of one start stand one after another.
    pub length: u64,
    /// The bytes, once they are here.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Private").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where a program finds something private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivatePlace {
    /// In a file of memory that can only be read.
    File {
        /// Its path.
        target: String,
        /// Its permission bits.
        mode: u32,
        /// Whose it is: user and group.
        #[serde(default)]
        owner: (u32, u32),
    },
    /// In a variable of this name.
    Variable(String),
}

/// A program that connects a network namespace, which it is given as standard input. It prints something when it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkProgram {
    /// Its path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The interface that is there already when it is started; without it, it makes one, and is waited for.
    #[serde(default)]
    pub interface: Option<Interface>,
    /// Whether the container's name servers are the host's, also when these change.
    #[serde(default)]
    pub follows_names: bool,
    /// Whether it is pasta, and told of a name server of the host's loopback.
    #[serde(default)]
    pub forwards_names: bool,
    /// Whether it has ports of the host, which others may want as soon as the container has ended.
    #[serde(default)]
    pub publishes: bool,
}

/// Who a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as it was typed.
    pub image: String,
    /// Its labels, to filter events by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal that asks.
    pub signal: i32,
    /// Milliseconds until SIGKILL; [`u64::MAX`] to wait for ever.
    pub grace: u64,
}

/// How this once; what is none is as the container has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopWish {
    /// The signal that asks.
    pub signal: Option<i32>,
    /// Milliseconds until SIGKILL; [`u64::MAX`] to wait for ever.
    pub grace: Option<u64>,
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
    /// Send this signal to the first process. No answer.
    Signal(i32),
    /// The container's terminal has this size now. No answer. (Who has an exec holds that one's terminal.)
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Connect these streams. On board: standard input, output and error of the
    /// caller. Answered by [`Event::Done`], in the end by [`Event::Exited`].
    Attach {
        /// Whether standard input is handed on.
        input: bool,
        /// The bytes of standard input that end the attachment, with one more
        /// [`Event::Done`]; none for no such keys.
        detach_keys: Vec<u8>,
    },
    /// Say when it has ended, be it to start again: [`Event::Exited`].
    Wait,
    /// Stop it for good. Answered by [`Event::Exited`].
    Stop(StopWish),
    /// Stop it and start it again. Answered by [`Event::Started`] or [`Event::Failed`].
    Restart(StopWish),
    /// Freeze all its processes. Answered by [`Event::Done`] or [`Event::Failed`].
    Pause,
    /// Freeze them for as long as this connection lasts, or until it says [`Control::Unpause`]: whoever asks may be
    /// killed. The container counts as running, and is paused by others or not. Answered in the same way.
    Hold,
    /// Let them go on. Answered by [`Event::Done`] or [`Event::Failed`].
    Unpause,
    /// Run one more process inside. On board: a file with `process` of the OCI
    /// runtime document as JSON, then standard input, output and error unless it
    /// has a terminal. Answered by [`Event::Executed`] or [`Event::Failed`], in
    /// the end by [`Event::Exited`].
    Exec {
        /// Without the container's system call filter.
        unfiltered: bool,
        /// It goes on when this connection is closed, and nobody looks at its terminal.
        detached: bool,
    },
    /// The process of this connection's exec goes on when the connection is closed. No answer.
    Release,
    /// Follow this policy from now on. Answered by [`Event::Done`].
    Update {
        /// The policy.
        restart: RestartPolicy,
    },
    /// Hold it to this from now on. Answered by [`Event::Done`] or [`Event::Failed`].
    Limit {
        /// Lines for the files of its cgroup.
        settings: Vec<Setting>,
    },
    /// It is on these networks from now on. Answered by [`Event::Done`] or [`Event::Failed`].
    Networks {
        /// Its places.
        plugs: Vec<Plug>,
    },
    /// It is called this from now on. Answered by [`Event::Done`].
    Rename {
        /// The name.
        name: String,
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
    /// The process of an exec is executed. On board: the controlling side of its terminal, if it has one.
    Executed {
        /// Its pid, as the host sees it.
        pid: u32,
    },
    /// It is done.
    Done,
    /// There is no container, or it was not done: why, and what to do.
    Failed {
        /// One sentence.
        message: String,
        /// The command or change that mends it.
        hint: Option<String>,
        /// 125, 126 or 127.
        exit_code: u8,
    },
    /// The first process, or that of the exec, has ended, and all its output has been handed on.
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
    /// There never was another side.
    #[error("{operation}")]
    Unborn {
        /// What could not be done.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The other side is there, and lets nobody in.
    #[error("the container's monitor does not answer")]
    Deaf,
    /// The content.
    #[error("understand the container's monitor")]
    Content(#[source] serde_json::Error),
}

impl WireError {
    fn of_sending(error: Errno) -> Self {
        match error {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            Errno::AGAIN => Self::Deaf,
            other => Self::Socket(other.into()),
        }
    }
}

/// Larger than any message: one packet holds it whole.
const MOST_BYTES: usize = 64 << 10;

/// The descriptors of a packet.
pub type Cargo = [Option<OwnedFd>; message::MAX_FDS];

/// Sends `message` with `fds` on board.
///
/// # Errors
/// [`WireError::Closed`] if nobody is there, else [`WireError::Socket`].
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
    let text = serde_json::to_vec(message).map_err(WireError::Content)?;
    message::send(socket, &text, fds).map_err(WireError::of_sending)
}

/// The same, without waiting for somebody who does not read.
///
/// # Errors
/// As of [`send`]; [`WireError::Deaf`] where it would have had to wait.
pub fn send_at_once<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), WireError> {
    let text = serde_json::to_vec(message).map_err(WireError::Content)?;
    message::send_at_once(socket, &text, fds).map_err(WireError::of_sending)
}

/// Sends descriptors, as many packets as they take.
///
/// # Errors
/// As [`send`].
pub fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[OwnedFd]) -> Result<(), WireError> {
    descriptors.chunks(message::MAX_FDS).try_for_each(|some| {
        let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        send(socket, &(), &some)
    })
}

/// Waits for so many descriptors. They get numbers above all that they are to have in the end.
///
/// # Errors
/// As [`receive`].
pub fn receive_descriptors(socket: &OwnedFd, count: u32) -> Result<Vec<OwnedFd>, WireError> {
    let mut all = Vec::new();
    let above = i32::try_from(count).unwrap_or(i32::MAX).saturating_add(3);
    while (all.len() as u64) < u64::from(count) {
        let ((), some) = receive(socket)?;
        let before = all.len();
        for descriptor in some.into_iter().flatten() {
            let copy = rustix::io::fcntl_dupfd_cloexec(&descriptor, above);
            all.push(copy.map_err(|error| WireError::Socket(error.into()))?);
        }
        if all.len() == before {
            return Err(WireError::Closed);
        }
    }
    Ok(all)
}

/// Waits for a message.
///
/// # Errors
/// [`WireError::Closed`] at the end of the connection, else what is wrong.
pub fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<(T, Cargo), WireError> {
    let mut buffer = vec![0; MOST_BYTES];
    let received = message::receive(socket.as_fd(), &mut buffer).map_err(|error| WireError::Socket(error.into()))?;
    let text = buffer.get(..received.len).filter(|text| !text.is_empty()).ok_or(WireError::Closed)?;
    Ok((serde_json::from_slice(text).map_err(WireError::Content)?, received.fds))
}
