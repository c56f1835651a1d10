//! Questions and changes that come from beside the mount.
//!
//! In a user namespace with one id the kernel refuses to give files away and to
//! make devices before a file system is asked. Whoever answers such calls in
//! its place records here what they would have done. May be called from any
//! thread but one that answers the kernel.

use std::sync::Arc;

use rustix::io::Errno;

use super::{Overlay, Tree};
use crate::filesystem::{Caller, Change, Kernel, New, kind};
use crate::record::Record;

impl Overlay {
    /// What a node really is, by its inode number in the mount.
    ///
    /// # Errors
    /// ESTALE for a number that no file in use has.
    pub fn owner_of(&self, ino: u64) -> Result<Record, Errno> {
        self.tree().truth(ino).map(|truth| Record::of(&truth))
    }

    /// Records a new owner and group; `None` stays. As `chown(2)` it takes
    /// the set-user-id and set-group-id bits of files away.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_owner(&self, ino: u64, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        self.alter(ino, &Change { uid, gid, ..Change::default() })
    }

    /// Sets permission bits.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_mode(&self, ino: u64, mode: u32) -> Result<(), Errno> {
        self.alter(ino, &Change { mode: Some(mode), ..Change::default() })
    }

    fn alter(&self, ino: u64, change: &Change) -> Result<(), Errno> {
        self.raise_unlocked(ino)?;
        let kernel = {
            let mut tree = self.tree();
            tree.change(ino, change)?;
            tree.kernel()
        };
        // With the tree unlocked: the kernel may have to wait for an answer of ours.
        if let Some(kernel) = kernel {
            kernel.attributes_changed(ino);
        }
        Ok(())
    }

    /// Makes a device, pipe, socket or empty file; `mode` has the file type,
    /// `rdev` is packed as by [`crate::filesystem::device_number`].
    ///
    /// # Errors
    /// EEXIST, EINVAL for directories and links, and what the disk says.
    pub fn make_node(&self, parent: u64, name: &[u8], mode: u32, rdev: u32) -> Result<(), Errno> {
        if matches!(mode & kind::MASK, 0 | kind::DIRECTORY | kind::SYMLINK) {
            return Err(Errno::INVAL);
        }
        let kernel = {
            let mut tree = self.tree();
            let new = New { mode, mask: 0, rdev, target: b"" };
            let made = tree.make(parent, name, &new, Caller::default())?;
            // Nobody but us has looked it up.
            if tree.nodes.forget(made.ino, 1) {
                tree.let_go(made.ino);
            }
            tree.kernel()
        };
        if let Some(kernel) = kernel {
            kernel.entry_changed(parent, name);
            kernel.attributes_changed(parent);
        }
        Ok(())
    }
}

impl Tree {
    fn kernel(&self) -> Option<Arc<dyn Kernel>> {
        self.kernel.clone()
    }
}
