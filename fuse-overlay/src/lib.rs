//! A writable overlay file system behind FUSE, in user space.
//!
//! The crate is given descriptors: of the layer directories, of a directory
//! that takes the changes, and of `/dev/fuse` as mounted by somebody else. It
//! answers the kernel until the mount is gone. It never looks a name up by an
//! absolute path of the host, prints nothing, reads no environment, and has no
//! word for what it is used for.
//!
//! | module | is about |
//! |---|---|
//! | [`filesystem`] | the trait between a front end and the core, and its vocabulary |
//! | [`front`] | front ends: kernel protocol in, trait calls out |
//! | [`index`] | the merged tree of the read-only layers as one file that is mapped |
//! | [`Overlay`] | the core: layers, index and upper directory as one tree |
//! | [`mount`] | for the process that will live in the mount |
//! | [`confine()`] | what a server gives up before the first request |
//! | [`record`] | owners, modes and devices that the disk cannot hold |

pub mod filesystem;
pub mod front;
pub mod index;
pub mod mount;
pub mod record;

mod beneath;
mod config;
mod confine;
mod mapping;
mod tree;
mod whiteout;
mod writeback;

pub use config::{Config, Durability, Ids, Upper};
pub use confine::confine;
pub use front::serve;
pub use tree::Overlay;
