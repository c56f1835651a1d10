//! The process that keeps a user's networks: one for each store, made by whoever needs it first, gone after the last.
//!
//! # Theory of operation
//!
//! Bridges live in a network namespace of their own, which belongs to a user namespace of its own. The containers on
//! them are born in child namespaces of that user namespace, so that a process with all rights in it can put one end of
//! a pair of interfaces into each of theirs, and nobody needs rights on the host.
//!
//! Two processes keep it. [`outside`] stays in the host's namespaces: it listens for monitors, starts and watches pasta,
//! which leads out of the namespace, and [`inside`], which has entered it and builds there what it is told: bridges,
//! rules, name servers. A monitor's connection is its container's membership: when it closes, the container's names
//! are gone, and a network that nobody is on any more, too.
//!
//! Root needs none of this: its bridges are in the host's network namespace, made and removed by the same two processes.
//!
//! Nothing of this is written down. If the process outside is killed, monitors start another one, which finds the
//! namespaces by the process inside; that one waits a while for this. If the process inside ends, it is started again.

pub mod client;
mod crew;
mod inside;
mod outside;
mod wire;

use std::ffi::OsStr;

/// The word that makes pybox this process.
pub const PERSONA: &str = "__networks";
/// The word after it, for the process in the namespaces.
const INSIDE: &str = "inside";

/// Runs the persona. It is not for people: without a socket as standard input it ends with status 2.
pub fn main(mode: Option<&OsStr>) -> u8 {
    match mode.and_then(OsStr::to_str) {
        None => outside::main(),
        Some(INSIDE) => inside::main(),
        Some(_) => 2,
    }
}
