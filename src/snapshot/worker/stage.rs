//! The worker's way into the root that it works in.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use pybox_fuse_overlay::mount::Access;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags};

use super::view::{Bind, Stage};
use crate::model::storage::StorageDriver;
use crate::snapshot::failure::Failure;
use crate::snapshot::fuse_overlay;
use crate::snapshot::layers::Layers;
use crate::sys::clone::{Namespaces, clone3};
use crate::sys::mount::{self, Propagation, Reach};
use crate::sys::path::RootFd;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Enters `stage`; `first` is the descriptor that belongs to it. What comes back is the root to confine
/// oneself to.
pub(super) fn enter(stage: &Stage, first: Option<OwnedFd>) -> Result<OwnedFd, Failure> {
    let missing = || Failure::sys("receive a job's descriptors", Errno::BADF);
    match stage {
        Stage::Directory => first.ok_or_else(missing),
        Stage::Joined { user } => join(&first.ok_or_else(missing)?, *user),
        Stage::Mounted { driver, layers, writable, binds, place } => {
            let failed = |error| Failure::sys("mount the container's layers", error);
            rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .map_err(failed)?;
            let root = match driver {
                StorageDriver::Overlay => overlay(&layers.lower, writable.as_ref(), place).map_err(failed)?,
                StorageDriver::Fuse => served(layers, writable.as_ref(), place)?,
                StorageDriver::Hybrid => {
                    let lower = served(layers, None, place)?;
                    match writable {
                        Some(_) => overlay(std::slice::from_ref(place), writable.as_ref(), place).map_err(failed)?,
                        None => lower,
                    }
                }
            };
            let root = RootFd::new(root);
            for bind in binds {
                // A source that is gone is not there for a copy either.
                match attach(&root, bind) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(error) => return Err(Failure::sys(format!("mount {}", bind.target.display()), error)),
                }
            }
            root.open(".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(failed)
        }
    }
}

fn join(process: &OwnedFd, user: bool) -> Result<OwnedFd, Failure> {
    let failed = |error| Failure::sys("enter the container's namespaces", error);
    let kinds = if user { CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS } else { CloneFlags::CLONE_NEWNS };
    nix::sched::setns(process, kinds).map_err(|error| failed(Errno::from_raw_os_error(error as i32)))?;
    rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
}

/// Mounts what a process of our own serves, which ends with us.
fn served(layers: &Layers, writable: Option<&(PathBuf, PathBuf)>, place: &Path) -> Result<OwnedFd, Failure> {
    let failed = |error| Failure::sys("serve the container's layers", error);
    let access = if writable.is_some() { Access::ReadWrite } else { Access::ReadOnly };
    let (device, root) = pybox_fuse_overlay::mount::detached(c"pybox", access).map_err(failed)?;
    let config = fuse_overlay::open(layers, writable.map(|(upper, work)| (upper.as_path(), work.as_path())))
        .map_err(Failure::corrupt)?;
    clone3(Namespaces::empty(), None, |_| fuse_overlay::serve_below(device, config)).map_err(failed)?;
    let place = rustix::fs::open(place, DIRECTORY, Mode::empty()).map_err(failed)?;
    mount::attach(root.as_fd(), place.as_fd()).map_err(failed)?;
    Ok(root)
}

fn overlay(lower: &[PathBuf], writable: Option<&(PathBuf, PathBuf)>, place: &Path) -> Result<OwnedFd, Errno> {
    match by_context(lower, writable, place) {
        // Before 6.5 `lowerdir+` is not known.
        Err(Errno::INVAL | Errno::NOSYS) => by_mount(lower, writable, place),
        other => other,
    }
}

fn by_context(lower: &[PathBuf], writable: Option<&(PathBuf, PathBuf)>, place: &Path) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        rustix::mount::fsconfig_set_string(context.as_fd(), c"lowerdir+", layer.as_path())?;
    }
    if let Some((upper, work)) = writable {
        rustix::mount::fsconfig_set_string(context.as_fd(), c"upperdir", upper.as_path())?;
        rustix::mount::fsconfig_set_string(context.as_fd(), c"workdir", work.as_path())?;
    }
    rustix::mount::fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let root =
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    let place = rustix::fs::open(place, DIRECTORY, Mode::empty())?;
    mount::attach(root.as_fd(), place.as_fd())?;
    Ok(root)
}

/// The way of older kernels; all options have to fit into a page there.
fn by_mount(lower: &[PathBuf], writable: Option<&(PathBuf, PathBuf)>, place: &Path) -> Result<OwnedFd, Errno> {
    let mut data = b"userxattr,lowerdir=".to_vec();
    for (index, layer) in lower.iter().enumerate() {
        data.extend(if index > 0 { b":".as_slice() } else { b"" });
        data.extend(layer.as_os_str().as_bytes());
    }
    if let Some((upper, work)) = writable {
        for (key, path) in [(b",upperdir=".as_slice(), upper), (b",workdir=", work)] {
            data.extend(key);
            data.extend(path.as_os_str().as_bytes());
        }
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(c"overlay", place, c"overlay", MountFlags::NODEV, data.as_c_str())?;
    rustix::fs::open(place, DIRECTORY, Mode::empty())
}

/// Binds into the root, which may have links in the way: they lead nowhere else.
fn attach(root: &RootFd, bind: &Bind) -> Result<(), Errno> {
    let source = CString::new(bind.source.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let tree = mount::copy_tree(mount::here(), &source, Reach::Recursive)?;
    let flags = if bind.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    mount::set_attributes(tree.as_fd(), Reach::Recursive, flags, Some(Propagation::Private))?;
    let target = match root.open(&bind.target, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => make(root, bind, tree.as_fd())?,
        other => other?,
    };
    mount::attach(tree.as_fd(), target.as_fd())
}

/// Makes the place that a bind is mounted on, as a start of the container would.
fn make(root: &RootFd, bind: &Bind, source: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let below = bind.target.strip_prefix("/").unwrap_or(&bind.target);
    let mode = Mode::from_raw_mode(0o755);
    if FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode) == FileType::Directory {
        return root.create_dir_all(below, mode);
    }
    root.create_dir_all(below.parent().unwrap_or(Path::new("")), mode)?;
    root.open(&bind.target, OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o644))
}
