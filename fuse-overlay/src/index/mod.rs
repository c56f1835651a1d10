//! The merged tree of read-only layers, as one file that is mapped.
//!
//! Layers never change, so what their merged tree looks like is worked out
//! once: whiteouts and opaque directories resolved, the layer of each file
//! known, attributes and extended attributes at hand. Lookups are binary
//! searches, listings are slices, and the layer directories are touched for
//! file contents only.
//!
//! The format, all numbers little-endian:
//!
//! | part | what stands there |
//! |---|---|
//! | header, 128 bytes | magic, version, counts, length, checksum, where the five sections are |
//! | nodes, 44 bytes each | breadth first; the children of a directory are neighbours, sorted by name |
//! | attributes, 20 bytes each | mode, owner, group, device, extended attributes; equal ones once |
//! | names | names and targets of symbolic links; equal ones once |
//! | xattrs | sets of extended attributes; equal ones once |
//! | links | for each group of hard links how many and which nodes |
//!
//! A parent stands before its children, so a walk up or down always ends, even
//! in a file that somebody forged.

mod build;
mod format;
mod merge;
mod pool;
mod read;
mod xattrs;

pub use build::{Layer, build};
pub use format::Position;
pub use read::{Entry, Index};

pub(crate) use xattrs::is_private;

/// What tests need to forge an index.
#[doc(hidden)]
pub mod testing {
    /// Gives bytes the checksum that they should have.
    #[must_use]
    pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let at = super::format::CHECKSUM_AT;
        let sum = super::read::checksum(&bytes).to_le_bytes();
        if let Some(field) = bytes.get_mut(at..at + 8) {
            field.copy_from_slice(&sum);
        }
        bytes
    }
}
