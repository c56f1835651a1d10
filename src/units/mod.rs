//! Quadlet files in, systemd units out.
//!
//! `.container`, `.volume`, `.network`, `.build` and `.image` files are ordinary unit files with one
//! section that is ours ([`document`] reads them, drop-ins and all). [`generate`] makes a `.service` of
//! each, whose `ExecStart=` is a command line of pybox, and the links that `[Install]` asks for; what
//! is wrong with a file is told with its path and line, and costs nothing but that line where it can.
//!
//! All of it is data in, data out, but for [`read`] and [`mod@write`], which are given their directories.
//! Nothing here knows whether systemd runs.

pub mod document;
pub mod existing;
pub mod places;
pub mod quoting;
pub mod read;
pub mod service;
pub mod syntax;
pub mod words;
pub mod write;

mod complaint;
mod container;
mod install;
mod keys;
mod kind;
mod making;
mod mounts;
mod resources;
#[cfg(test)]
mod tests;

pub use complaint::{Complaint, Weight};
pub use kind::Kind;
pub use making::{Generated, Host, Unit, generate};
