//! What `stat` shows, and changing it.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::Tree;
use super::nodes::Kept;
use crate::beneath;
use crate::filesystem::{Attributes, Change, SetTime, Time, kind};

/// The bits that `chmod` sets.
pub(super) const PERMISSIONS: u32 = 0o7777;
const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

impl Tree {
    /// Attributes of a node, as the mount shows them.
    pub(super) fn attributes(&mut self, ino: u64) -> Result<Attributes, Errno> {
        let truth = self.truth(ino)?;
        Ok(self.show(truth))
    }

    /// Attributes of a node, with the owner it really has.
    pub(super) fn truth(&mut self, ino: u64) -> Result<Attributes, Errno> {
        let place = self.place(ino)?;
        if place.upper {
            let stat = match self.nodes.get(ino).and_then(|node| node.pinned.clone()) {
                Some(fd) => beneath::stat_of(&fd)?,
                None => {
                    let (parent, name) = self.name_of(ino)?;
                    beneath::stat(self.handle(parent)?, &name)?
                }
            };
            return Ok(self.true_above(ino, beneath::attributes(&stat, ino)));
        }
        let entry = self.index.entry(place.lower.ok_or(Errno::STALE)?)?;
        let mut shown = self.index.attributes(&entry);
        if self.nodes.get(ino).is_some_and(|node| node.gone) {
            shown.links = 0;
        } else if entry.is_linked() && self.work.is_some() {
            let position = entry.position;
            shown.links = u32::try_from(self.visible_links(position)?.len()).unwrap_or(u32::MAX).max(1);
        }
        shown.ino = ino;
        Ok(shown)
    }

    /// What a node really is that the upper directory has with these attributes.
    pub(super) fn true_above(&self, ino: u64, mut on_disk: Attributes) -> Attributes {
        if on_disk.kind() == kind::DIRECTORY && on_disk.links > 0 {
            // Directories of layers are not counted; 1 says "not known".
            on_disk.links = 1;
        }
        if let Some(Kept::Is(record)) = self.nodes.get(ino).map(|node| node.record) {
            record.apply(&mut on_disk);
        }
        on_disk
    }

    /// Changes attributes, copying the node up first.
    pub(super) fn change(&mut self, ino: u64, change: &Change) -> Result<Attributes, Errno> {
        self.raise_for(ino, change.size)?;
        let fd = self.handle(ino)?;
        if let Some(size) = change.size {
            rustix::fs::ftruncate(&fd, size)?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            self.set_owner(ino, &fd, (change.uid, change.gid))?;
        }
        if let Some(mode) = change.mode {
            self.set_mode(ino, &fd, mode & PERMISSIONS)?;
        } else if change.drop_privileges {
            self.drop_privileges(ino, &fd)?;
        }
        if change.accessed.is_some() || change.modified.is_some() {
            set_times(&fd, change.accessed, change.modified)?;
        }
        self.attributes(ino)
    }

    /// Takes the bits away that lend the owner's or group's rights.
    pub(super) fn drop_privileges(&mut self, ino: u64, fd: &OwnedFd) -> Result<(), Errno> {
        let attributes = self.attributes(ino)?;
        if attributes.kind() == kind::DIRECTORY {
            return Ok(());
        }
        let mut less = attributes.mode & PERMISSIONS & !SET_USER_ID;
        if less & GROUP_EXECUTES != 0 {
            less &= !SET_GROUP_ID;
        }
        if less == attributes.mode & PERMISSIONS { Ok(()) } else { self.set_mode(ino, fd, less) }
    }

    /// Takes the set-group-id bit away.
    pub(super) fn drop_group_id(&mut self, ino: u64, fd: &OwnedFd) -> Result<(), Errno> {
        let mode = self.attributes(ino)?.mode & PERMISSIONS;
        if mode & SET_GROUP_ID == 0 { Ok(()) } else { self.set_mode(ino, fd, mode & !SET_GROUP_ID) }
    }
}

/// `chmod` of what a descriptor of any kind stands for.
pub(super) fn change_mode(fd: &OwnedFd, mode: u32) -> Result<(), Errno> {
    match rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)) {
        // A descriptor that only points has no such call of its own.
        Err(Errno::BADF) => rustix::fs::chmod(beneath::magic_path(fd), Mode::from_raw_mode(mode)),
        other => other,
    }
}

/// `chown` of what a descriptor of any kind stands for.
pub(super) fn change_owner(fd: &OwnedFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    // To the call this one means "stays"; it is no id.
    if [uid, gid].contains(&Some(u32::MAX)) {
        return Err(Errno::INVAL);
    }
    rustix::fs::chownat(fd, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)
}

/// Sets times of what a descriptor of any kind stands for; `None` stays.
pub(super) fn set_times(fd: &OwnedFd, accessed: Option<SetTime>, modified: Option<SetTime>) -> Result<(), Errno> {
    let times = Timestamps { last_access: timespec(accessed), last_modification: timespec(modified) };
    match rustix::fs::futimens(fd, &times) {
        Err(Errno::BADF) => rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH),
        other => other,
    }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(Time { seconds, nanoseconds })) => {
            Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) }
        }
    }
}
