//! What can go wrong, each with the operation and its object.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gave no netlink socket.
    #[error("open a netlink socket for {purpose}")]
    Open {
        /// What the socket was for.
        purpose: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The kernel refused a request, or did not answer it.
    #[error("{operation} {object}")]
    Refused {
        /// What was to be done.
        operation: &'static str,
        /// With what.
        object: String,
        /// The cause.
        source: io::Error,
    },
    /// The kernel answered with something that cannot be read.
    #[error("read the kernel's answer to: {operation} {object}")]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// About what.
        object: String,
        /// The cause.
        source: io::Error,
    },
    /// A link that is needed is not there.
    #[error("{operation} {object}: there is no such link")]
    NoLink {
        /// What was to be done.
        operation: &'static str,
        /// The name of the link.
        object: String,
    },
    /// A name is taken by something else.
    #[error("add bridge {name}: the name belongs to a link of another kind")]
    NotABridge {
        /// The name of the link.
        name: String,
    },
    /// No kernel takes such a name for a link or a table.
    #[error("use {name:?} as a name: it has to have 1 to {longest} bytes, none of them a slash, a blank or a zero")]
    Name {
        /// The name.
        name: String,
        /// How long it may be.
        longest: usize,
    },
    /// The name server cannot be reached at an address.
    #[error("listen for names at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The name server's thread cannot be, or is no more.
    #[error("start the thread of the name server")]
    Thread {
        /// The cause.
        source: io::Error,
    },
    /// A port cannot be published so.
    #[error("publish {host} to {to}: the addresses are of two families")]
    Families {
        /// Where the port was to be open.
        host: IpAddr,
        /// Where it was to lead.
        to: SocketAddr,
    },
}
