//! What monitors, the process outside and the process inside say to each other: one JSON document a packet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::segment::{Plug, Segment};
use crate::sys::message;

/// Larger than any message: the names of some thousand containers.
const LARGEST: usize = 160 << 10;

/// What a monitor asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// To have these networks, and the names on them, for as long as it is connected.
    Join(Vec<Plug>),
}

/// What it hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The networks are there. On board: the network namespace, and the user namespace if there is one.
    Joined,
    /// They cannot be had.
    Failed(String),
}

/// What the process inside is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// To make the namespaces, and to say [`Said::Born`].
    Make,
    /// To stay where it is, in the host's own.
    Stay,
    /// Its ids are there.
    Mapped,
    /// To enter those on board instead, in their order.
    Enter,
    /// The name of its table of rules, and bridges that are left of one before it.
    Know {
        /// The table.
        table: String,
        /// The bridges.
        left: Vec<String>,
    },
    /// What there is from now on; all else goes.
    Have(Vec<Present>),
    /// Who leads out: a pidfd is on board.
    Uplink,
    /// That nobody needs it any more.
    End,
}

/// A network that somebody is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The network.
    pub segment: Segment,
    /// Who is called what there.
    pub people: Vec<Person>,
}

/// Names, and the addresses that they stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The names.
    pub names: Vec<String>,
    /// The addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// The bridges of other networks that it is on.
    #[serde(default)]
    pub also: Vec<String>,
}

/// What the process inside says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It waits for its ids.
    Born,
    /// It has what it was ordered to have.
    Done,
    /// It has not, and why.
    Failed(String),
}

/// Sends one message.
///
/// # Errors
/// Those of sendmsg(2); EMSGSIZE if it is larger than any may be.
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    if bytes.len() > LARGEST {
        return Err(Errno::MSGSIZE);
    }
    message::send(socket, &bytes, fds)
}

/// Receives one message; none when the other side has gone.
///
/// # Errors
/// Those of recvmsg(2); EBADMSG if it cannot be read.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut buffer = vec![0; LARGEST];
    let received = message::receive(socket.as_fd(), &mut buffer)?;
    if received.len == 0 {
        return Ok(None);
    }
    let text = buffer.get(..received.len).unwrap_or_default();
    let message = serde_json::from_slice(text).map_err(|_| Errno::BADMSG)?;
    Ok(Some((message, received.fds.into_iter().flatten().collect())))
}
