//! Mounts inside the root, /dev, masks. Every target is a descriptor found
//! in-root, every source a descriptor that was checked (rules R3 and R4).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::place::{self, Kind};
use super::{Walk, character_device, host_tree};
use crate::launch::step::{Content, Mount, Node, Source, Target};
use crate::sys::mount::{self, Propagation, Reach};
use crate::sys::path::open_in_root;

/// linux/magic.h
const PROC_SUPER_MAGIC: u64 = 0x9fa0;
/// The same.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// To be read, and nothing else.
const QUIET: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl Walk<'_> {
    pub(super) fn mount(&mut self, what: &Mount) -> Result<(), Errno> {
        let tree = match &what.source {
            Source::New { kind, settings } => mount::detached(kind, settings, what.attributes)?,
            Source::Host { path, reach, device } => {
                let tree = host_tree(path, *reach)?;
                if device.is_some() && character_device(tree.as_fd())? != *device {
                    return Err(Errno::NODEV);
                }
                let propagation = what.propagation.or(Some(Propagation::Private));
                mount::set_attributes(tree.as_fd(), what.reach, what.attributes, propagation)?;
                tree
            }
        };
        let target = match place::kind(tree.as_fd())? {
            Kind::Directory => place::directory(self.root()?, &what.target)?,
            Kind::File => place::file(self.root()?, &what.target)?,
        };
        mount::attach(tree.as_fd(), target.as_fd())?;
        if what.target.path.as_c_str() == c"proc" && is_procfs(tree.as_fd())? {
            self.proc = Some(tree);
        }
        Ok(())
    }

    /// Fills the container's own /dev.
    pub(super) fn populate_dev(&mut self, nodes: &[Node]) -> Result<(), Errno> {
        let root = self.root()?;
        let dev = open_in_root(root, c"dev", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        for node in nodes {
            match node {
                Node::Link(name, content) => match rustix::fs::symlinkat(content.as_c_str(), &dev, name.as_c_str()) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                },
                Node::Device(target, path, number) => device(root, dev.as_fd(), (target, path, *number))?,
            }
        }
        let null = open_in_root(root, c"dev/null", OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        if character_device(null.as_fd())? != Some(null_device()) {
            return Err(Errno::NODEV);
        }
        self.null = Some(null);
        Ok(())
    }

    /// Binds a file that is in the container's own /dev, which is memory, and has no name there afterwards. Before
    /// Linux 6.15 no file of a mount that is attached nowhere could be bound.
    pub(super) fn mount_memory(&mut self, content: &Content) -> Result<(), Errno> {
        const NAME: &CStr = c".content";
        let root = self.root()?;
        let dev = open_in_root(root, c"dev", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        if rustix::fs::fstatfs(&dev)?.f_type as u64 != TMPFS_MAGIC {
            return Err(Errno::NODEV);
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dev, NAME, flags, content.mode)?;
        let mut rest = content.bytes.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(written..).ok_or(Errno::IO)?;
        }
        let (user, group) = content.owner;
        if !(user.is_root() && group.is_root()) {
            rustix::fs::fchown(&file, Some(user), Some(group))?;
        }
        let tree = mount::copy_tree(file.as_fd(), c"", Reach::One)?;
        mount::set_attributes(tree.as_fd(), Reach::One, QUIET, Some(Propagation::Private))?;
        let place = place::file(root, &content.target)?;
        mount::attach(tree.as_fd(), place.as_fd())?;
        rustix::fs::unlinkat(&dev, NAME, AtFlags::empty())
    }

    /// What is not there needs no mask.
    pub(super) fn mask(&mut self, target: &Target) -> Result<(), Errno> {
        let root = self.root()?;
        let place = match place::open(root, target) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        match place::kind(place.as_fd())? {
            Kind::File => {
                let null = self.null.as_ref().ok_or(Errno::NODEV)?;
                let tree = mount::copy_tree(null.as_fd(), c"", Reach::One)?;
                if character_device(tree.as_fd())? != Some(null_device()) {
                    return Err(Errno::NODEV);
                }
                mount::attach(tree.as_fd(), place.as_fd())
            }
            Kind::Directory => {
                let tree = self.empty_directory()?;
                mount::attach(tree.as_fd(), place.as_fd())?;
                self.empty.get_or_insert(tree);
                Ok(())
            }
        }
    }

    /// One empty file system serves all masked directories: the first use makes
    /// it, the others are copies of that mount.
    fn empty_directory(&self) -> Result<OwnedFd, Errno> {
        if let Some(empty) = &self.empty {
            return mount::copy_tree(empty.as_fd(), c"", Reach::One);
        }
        mount::detached(c"tmpfs", &[(c"size", c"4k"), (c"mode", c"555")], QUIET)
    }

    pub(super) fn make_read_only(&mut self, target: &Target) -> Result<(), Errno> {
        let root = self.root()?;
        let place = match place::open(root, target) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let tree = mount::copy_tree(place.as_fd(), c"", Reach::Recursive)?;
        mount::set_attributes(tree.as_fd(), Reach::Recursive, QUIET, None)?;
        mount::attach(tree.as_fd(), place.as_fd())
    }
}

/// Shows the host's device at `path`, checked by its number. Without a user namespace root inside may do to the host's
/// node what root may, give it away or shut it: there the container gets one of its own, if it is for its /dev.
fn device(
    root: BorrowedFd<'_>,
    dev: BorrowedFd<'_>,
    (target, path, number): (&Target, &CStr, u64),
) -> Result<(), Errno> {
    let tree = host_tree(path, Reach::One)?;
    let stat = rustix::fs::fstat(&tree)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) || stat.st_rdev != number {
        return Err(Errno::NODEV);
    }
    let name = target.path.to_bytes().strip_prefix(b"dev/");
    if name == Some(target.name.to_bytes()) && own_node(dev, &target.name, &stat)? {
        return Ok(());
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount::set_attributes(tree.as_fd(), Reach::One, attributes, Some(Propagation::Private))?;
    let place = place::file(root, target)?;
    mount::attach(tree.as_fd(), place.as_fd())
}

/// Makes a device as `stat` says in the container's own /dev, which is memory; false if we may not, being in a user
/// namespace or among processes that may not, or if there is something already.
fn own_node(dev: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<bool, Errno> {
    if rustix::fs::fstatfs(dev)?.f_type as u64 != TMPFS_MAGIC {
        return Ok(false);
    }
    let (kind, mode) = (FileType::from_raw_mode(stat.st_mode), Mode::from_raw_mode(stat.st_mode & 0o7777));
    match rustix::fs::mknodat(dev, name, kind, mode, stat.st_rdev) {
        Err(Errno::PERM | Errno::EXIST) => return Ok(false),
        other => other?,
    }
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(dev, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    // What the umask has taken.
    rustix::fs::chmodat(dev, name, mode, AtFlags::empty())?;
    Ok(true)
}

fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == PROC_SUPER_MAGIC)
}

/// Documentation/admin-guide/devices.txt: /dev/null.
pub(super) fn null_device() -> u64 {
    rustix::fs::makedev(1, 3)
}
