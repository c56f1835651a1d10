//! The overlay as the front ends see it: takes the lock, calls the tree.

use rustix::io::Errno;

use super::Overlay;
use crate::filesystem::{Attributes, Caller, Change, CopyRange, FileSystem, Listing, Move, New, Room, Seek, SetXattr};

impl FileSystem for Overlay {
    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attributes, Errno> {
        self.tree().lookup(parent, name)
    }

    fn forget(&self, ino: u64, count: u64) {
        let open = {
            let mut tree = self.tree();
            if tree.nodes.forget(ino, count) { tree.release(ino) } else { [None, None, None] }
        };
        drop(open);
    }

    fn attributes(&self, ino: u64) -> Result<Attributes, Errno> {
        let mut tree = self.tree();
        tree.eagerness.used();
        tree.attributes(ino)
    }

    fn change(&self, ino: u64, change: &Change) -> Result<Attributes, Errno> {
        if change.size != Some(0) {
            self.raise_unlocked(ino)?;
        }
        self.tree().change(ino, change)
    }

    fn read_link(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        self.tree().read_link(ino)
    }

    fn make(&self, parent: u64, name: &[u8], new: &New<'_>, caller: Caller) -> Result<Attributes, Errno> {
        self.tree().make(parent, name, new, caller)
    }

    fn make_nameless(&self, parent: u64, new: &New<'_>, caller: Caller) -> Result<Attributes, Errno> {
        self.tree().make_nameless(parent, new, caller)
    }

    fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<Attributes, Errno> {
        self.raise_unlocked(ino)?;
        self.tree().link(ino, parent, name)
    }

    fn unlink(&self, parent: u64, name: &[u8]) -> Result<(), Errno> {
        self.tree().unlink(parent, name)
    }

    fn rmdir(&self, parent: u64, name: &[u8]) -> Result<(), Errno> {
        self.tree().rmdir(parent, name)
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Move) -> Result<(), Errno> {
        self.tree().rename(from, to, how)
    }

    fn read(&self, ino: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.read_contents(ino, offset, into)
    }

    fn read_ahead(&self) {
        self.read_next();
    }

    fn write(&self, ino: u64, offset: u64, bytes: &[u8], drop_privileges: bool) -> Result<usize, Errno> {
        self.write_contents(ino, offset, bytes, drop_privileges)
    }

    fn sync(&self, ino: u64, data_only: bool) -> Result<(), Errno> {
        self.sync_node(ino, data_only)
    }

    fn sync_all(&self) -> Result<(), Errno> {
        self.sync_everything()
    }

    fn allocate(&self, ino: u64, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        self.allocate_contents(ino, mode, offset, length)
    }

    fn seek(&self, ino: u64, offset: u64, what: Seek) -> Result<u64, Errno> {
        self.seek_contents(ino, offset, what)
    }

    fn copy_range(&self, range: &CopyRange) -> Result<u64, Errno> {
        self.copy_contents(range)
    }

    fn list(&self, ino: u64, offset: u64, listing: &mut dyn Listing) -> Result<(), Errno> {
        self.tree().list(ino, offset, listing)
    }

    fn room(&self) -> Result<Room, Errno> {
        self.tree().room()
    }

    fn has_xattrs(&self) -> bool {
        self.xattrs
    }

    fn xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut tree = self.tree();
        tree.eagerness.used();
        tree.xattr(ino, name)
    }

    fn xattr_names(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        self.tree().xattr_names(ino)
    }

    fn set_xattr(&self, ino: u64, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Errno> {
        self.raise_unlocked(ino)?;
        self.tree().set_xattr(ino, name, value, how)
    }

    fn remove_xattr(&self, ino: u64, name: &[u8]) -> Result<(), Errno> {
        self.tree().remove_xattr(ino, name)
    }
}
