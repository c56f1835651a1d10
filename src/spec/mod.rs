//! From a request, an image's config and facts about the host to one OCI document.
//!
//! Pure: nothing here reads a file, the environment, a clock or a process, and
//! nothing is decided twice. [`compose()`] gives the `config.json` that the launcher
//! and any other OCI runtime can run; the rules it follows are the hardening
//! baseline of docs/SECURITY.md. An image's labels, annotations and history change
//! nothing here: they are data.
//!
//! What it does not do: resolve images, prepare volumes, mount, compile filters
//! (that is `sys::seccomp`), or know of cgroups beyond writing down the limits.

mod accounts;
pub mod capabilities;
mod compose;
mod error;
pub mod exec;
pub mod files;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod idmap;
mod limits;
mod masks;
pub mod mounts;
mod process;
pub mod seccomp;
pub mod user;
pub mod validate;

pub use accounts::MOST_BYTES as MOST_ACCOUNT_BYTES;
pub use compose::{BundleFiles, Composed, Composition, VolumePlace, compose};
pub use error::{Kind, SpecError};
pub use limits::resources;
