//! Images: listed, named, inspected, removed, loaded, saved, pulled, pushed.
//!
//! The store keeps them and says what they are; here is what a verb does with
//! that. Archives are read and written by `archive`, layers are unpacked by the
//! worker.

mod archive;
mod changes;
mod commit;
mod history;
mod import;
mod inspect;
pub(in crate::engine) mod interruption;
mod list;
mod lists;
mod load;
pub(in crate::engine) mod pressing;
mod pull;
mod push;
mod remove;
mod save;
pub mod settle;
mod tag;
mod unpack;

pub(in crate::engine) use commit::manifest;
pub(in crate::engine) use import::{foreign_compression, layer_of, receive_archive};
pub(in crate::engine) use inspect::familiar;
pub(in crate::engine) use lists::concrete;
pub(in crate::engine) use save::write_file;
