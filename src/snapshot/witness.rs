//! What was read of a tree, whatever an archive makes of it.
//!
//! A cache that is asked before a tree is read, and filled after it was read again, is right only if the
//! second reading says what it has seen. So whoever packs a tree can have it witnessed: names, kinds,
//! permission bits, attributes and contents, just as they went into the archive; not owners and times.

use std::cell::RefCell;
use std::io::Read;

use super::tar::entry::Attribute;
use super::tar::writer::Written;
use crate::model::digest::{Algorithm, Digest, Hasher};

/// Sees what goes into an archive.
pub struct Witness(RefCell<Hasher>);

impl Default for Witness {
    fn default() -> Self {
        Self(RefCell::new(Hasher::new(Algorithm::Sha256)))
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl Witness {
    /// The digest of all that was seen so far.
    pub fn digest(&self) -> Digest {
        self.0.borrow().clone().finish()
    }

    /// Sees an entry; the contents of a file follow through [`Witness::watch`].
    pub(super) fn entry(&self, path: &[u8], kind: Written<'_>, mode: u32, attributes: &[Attribute]) {
        let (letter, numbers, target): (u8, [u64; 2], &[u8]) = match kind {
            Written::File(size) => (b'f', [size, 0], b""),
            Written::Directory => (b'd', [0, 0], b""),
            Written::Symlink(target) => (b'l', [0, 0], target),
            Written::Hardlink(first) => (b'h', [0, 0], first),
            Written::Fifo => (b'p', [0, 0], b""),
            Written::CharDevice(major, minor) => (b'c', [major.into(), minor.into()], b""),
            Written::BlockDevice(major, minor) => (b'b', [major.into(), minor.into()], b""),
        };
        let mut hasher = self.0.borrow_mut();
        // Each part tells its length, so no two trees have the same bytes.
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(path);
        part(&[letter]);
        part(&mode.to_le_bytes());
        numbers.iter().for_each(|number| part(&number.to_le_bytes()));
        part(target);
        part(&(attributes.len() as u64).to_le_bytes());
        for (name, value) in attributes {
            part(name);
            part(value);
        }
    }

    /// Sees the contents of a file, as they are read through this.
    pub(super) fn watch<'w>(&'w self, data: &'w mut dyn Read) -> Watched<'w> {
        Watched { witness: self, data }
    }

    fn see(&self, bytes: &[u8]) {
        self.0.borrow_mut().update(bytes);
    }
}

/// The contents of a file on their way past a [`Witness`].
pub(super) struct Watched<'w> {
    witness: &'w Witness,
    data: &'w mut dyn Read,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.data.read(buffer)?;
        self.witness.see(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
