//! One directory of the merged tree, out of those that the layers have for it.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, RawDir, Stat};
use rustix::io::Errno;

use crate::beneath;
use crate::whiteout;

/// What the layers looked at so far say about a name.
#[derive(Debug)]
pub(super) enum Seen {
    /// A layer has deleted it.
    Hidden,
    /// The topmost layer that has it says it is no directory.
    Other { layer: u8, stat: Stat },
    /// These layers have a directory of this name; if `open`, ones below may join.
    Directory { layers: Vec<u8>, stat: Stat, open: bool },
}

/// The entries of a directory, sorted by name, while layers are added top first.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub entries: BTreeMap<Vec<u8>, Seen>,
}

impl Merged {
    /// Adds what the layer numbered `layer` has in its directory; `true` if that
    /// hides all layers below.
    pub(super) fn add(&mut self, layer: u8, directory: &OwnedFd) -> Result<bool, Errno> {
        let mut hidden = Vec::new();
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); 32 << 10];
        let mut entries = RawDir::new(directory, buffer.as_mut_slice());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if let Some(rest) = whiteout::hidden_by(name) {
                hidden.push(rest.to_vec());
            } else if !whiteout::is_reserved(name) {
                self.see(layer, directory.as_fd(), name, entry.file_type())?;
            }
        }
        // A layer hides what lies below it, not what it has itself.
        for name in hidden {
            match self.entries.entry(name).or_insert(Seen::Hidden) {
                Seen::Directory { open, .. } => *open = false,
                Seen::Hidden | Seen::Other { .. } => {}
            }
        }
        whiteout::is_opaque(directory)
    }

    fn see(&mut self, layer: u8, directory: BorrowedFd<'_>, name: &[u8], hint: FileType) -> Result<(), Errno> {
        match self.entries.get_mut(name) {
            None => {
                let stat = beneath::stat(directory, name)?;
                let seen = if beneath::is_directory(&stat) {
                    Seen::Directory { layers: vec![layer], stat, open: true }
                } else if whiteout::is_entry(directory, name, &stat) {
                    Seen::Hidden
                } else {
                    Seen::Other { layer, stat }
                };
                self.entries.insert(name.to_vec(), seen);
            }
            Some(Seen::Directory { layers, open, .. }) if *open => {
                let is_directory = match hint {
                    FileType::Unknown => beneath::is_directory(&beneath::stat(directory, name)?),
                    known => known == FileType::Directory,
                };
                if is_directory {
                    layers.push(layer);
                } else {
                    *open = false;
                }
            }
            Some(_) => {}
        }
        Ok(())
    }
}
