//! Extended attributes and access lists.
//!
//! Those of the layers are answered from the index: most questions are about
//! attributes that no file has. Bookkeeping of overlays is not shown.

use std::os::fd::OwnedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::Tree;
use crate::beneath;
use crate::filesystem::{Caller, New, SetXattr, kind};
use crate::index::is_private;
use crate::record::{ENTRY, Record, TRUTH};

/// The access list that a directory hands on.
pub(super) const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
/// As many bytes as the kernel has for a value or a list of names.
const LIMIT: usize = 65_536;

impl Tree {
    /// The value of an attribute.
    pub(super) fn xattr(&mut self, ino: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if self.tells_truth(name) {
            return Ok(Record::of(&self.truth(ino)?).text().into_bytes());
        }
        if is_private(name) {
            return Err(Errno::NODATA);
        }
        let place = self.place(ino)?;
        if place.upper {
            return match get(&*self.handle_for_xattr(ino, place.kind)?, name) {
                // NFS 4 has no such lists. To the kernel, which looks for one before it lets anybody but root in, that
                // they cannot be had is a failure.
                Err(Errno::OPNOTSUPP) if name == ACCESS_LIST || name == DEFAULT_LIST => Err(Errno::NODATA),
                other => other,
            };
        }
        let entry = self.index.entry(place.lower.ok_or(Errno::STALE)?)?;
        let found = self.index.xattrs(&entry).find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_vec()).ok_or(Errno::NODATA)
    }

    /// The names of all attributes, each ended by a zero byte.
    pub(super) fn xattr_names(&mut self, ino: u64) -> Result<Vec<u8>, Errno> {
        let place = self.place(ino)?;
        let mut names = Vec::new();
        let mut add = |name: &[u8]| {
            if !name.is_empty() && !is_private(name) {
                names.extend_from_slice(name);
                names.push(0);
            }
        };
        if place.upper {
            let all = match list(&*self.handle_for_xattr(ino, place.kind)?) {
                Err(Errno::OPNOTSUPP) => Vec::new(),
                other => other?,
            };
            all.split(|&byte| byte == 0).for_each(&mut add);
        } else {
            let entry = self.index.entry(place.lower.ok_or(Errno::STALE)?)?;
            self.index.xattrs(&entry).for_each(|(name, _)| add(name));
        }
        Ok(names)
    }

    /// Sets an attribute.
    pub(super) fn set_xattr(&mut self, ino: u64, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Errno> {
        if self.tells_truth(name) {
            return self.hear_truth(ino, name, value);
        }
        if is_private(name) {
            return Err(Errno::OPNOTSUPP);
        }
        self.raise(ino)?;
        let kind = self.place(ino)?.kind;
        let fd = self.handle_for_xattr(ino, kind)?;
        set(&fd, name, value, XattrFlags::from_bits_retain(how.flags))?;
        if name == ACCESS_LIST {
            self.heed_list(ino, &fd)?;
        }
        if how.drop_group_id { self.drop_group_id(ino, &fd) } else { Ok(()) }
    }

    /// Removes an attribute.
    pub(super) fn remove_xattr(&mut self, ino: u64, name: &[u8]) -> Result<(), Errno> {
        if is_private(name) {
            return Err(Errno::NODATA);
        }
        let place = self.place(ino)?;
        if !place.upper {
            self.work()?;
            self.xattr(ino, name)?;
        }
        self.raise(ino)?;
        let fd = self.handle_for_xattr(ino, place.kind)?;
        match rustix::fs::fremovexattr(&*fd, name) {
            Err(Errno::BADF) => rustix::fs::removexattr(beneath::magic_path(&*fd), name),
            other => other,
        }
    }

    /// Whether `name` is about what a node really is, where that is recorded.
    fn tells_truth(&self, name: &[u8]) -> bool {
        self.ids.are_recorded() && (name == TRUTH.as_bytes() || name == ENTRY.as_bytes())
    }

    /// Records what the kernel could not be asked to do.
    fn hear_truth(&mut self, ino: u64, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        if name == TRUTH.as_bytes() {
            let record = Record::parse(value).ok_or(Errno::INVAL)?;
            self.raise(ino)?;
            let fd = self.handle(ino)?;
            return self.set_owner(ino, &fd, (Some(record.uid), Some(record.gid)));
        }
        let blank = value.iter().position(|byte| *byte == b' ').ok_or(Errno::INVAL)?;
        let (record, entry) = value.split_at(blank);
        let record = Record::parse(record).ok_or(Errno::INVAL)?;
        let entry = entry.get(1..).unwrap_or_default();
        let new = New { mode: record.mode, rdev: record.rdev, mask: 0, target: b"" };
        let made = self.make(ino, entry, &new, Caller { uid: record.uid, gid: record.gid })?;
        // Nobody has looked it up, though making counts as that. The kernel cannot be told of it here, since it
        // holds the directory until we answer.
        if self.nodes.forget(made.ino, 1) {
            self.let_go(made.ino);
        }
        Ok(())
    }

    fn handle_for_xattr(&mut self, ino: u64, kind: u32) -> Result<std::sync::Arc<OwnedFd>, Errno> {
        debug_assert!(kind & !kind::MASK == 0);
        self.handle(ino)
    }
}

fn get(fd: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; 256];
    match get_into(fd, name, &mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut value = vec![0_u8; LIMIT];
            let length = get_into(fd, name, &mut value)?;
            value.truncate(length);
            Ok(value)
        }
        Err(error) => Err(error),
    }
}

fn get_into(fd: &OwnedFd, name: &[u8], into: &mut [u8]) -> Result<usize, Errno> {
    match rustix::fs::fgetxattr(fd, name, &mut *into) {
        // A descriptor that only points has no such call of its own.
        Err(Errno::BADF) => rustix::fs::getxattr(beneath::magic_path(fd), name, into),
        other => other,
    }
}

fn list(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0_u8; LIMIT];
    let length = match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
        Err(Errno::BADF) => rustix::fs::listxattr(beneath::magic_path(fd), names.as_mut_slice())?,
        other => other?,
    };
    names.truncate(length);
    Ok(names)
}

/// Sets an attribute of what a descriptor of any kind stands for.
pub(super) fn set(fd: &OwnedFd, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
    match rustix::fs::fsetxattr(fd, name, value, flags) {
        Err(Errno::BADF) => rustix::fs::setxattr(beneath::magic_path(fd), name, value, flags),
        other => other,
    }
}

/// Whether there is such an attribute.
pub(super) fn has(fd: &OwnedFd, name: &[u8]) -> bool {
    // Asked without room for the value: its length is answer enough.
    rustix::fs::fgetxattr(fd, name, &mut [0_u8; 0]).is_ok()
}

/// What a new node inherits of its directory's default access list, for one
/// that was not made in its place.
pub(super) fn inherit_lists(directory: &OwnedFd, fd: &OwnedFd, is_dir: bool) -> Result<(), Errno> {
    let inherited = match get(directory, DEFAULT_LIST) {
        Ok(list) => list,
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mode = beneath::stat_of(fd)?.st_mode & 0o7777;
    match set(fd, ACCESS_LIST, &inherited, XattrFlags::empty()) {
        // A symbolic link has none.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    }
    if is_dir {
        set(fd, DEFAULT_LIST, &inherited, XattrFlags::empty())?;
    }
    // The permissions asked for bound what the list gives.
    let given = beneath::stat_of(fd)?.st_mode & 0o777;
    super::attributes::change_mode(fd, (mode & 0o7000) | (mode & given))
}
