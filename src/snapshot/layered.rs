//! Reads one small file of an image without mounting it.
//!
//! The layers' directories are looked through as the kernel's overlay would:
//! whiteouts, opaque directories and merged directories are honoured, and
//! symbolic links resolve inside the merged tree only. Nothing but a regular
//! file is ever opened for reading.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::failure::SnapshotError;
use super::kernel_overlay::OPAQUE;
use crate::sys::path::lstat_at;

/// As many symbolic links as the kernel follows in one lookup.
const MAX_LINKS: u32 = 40;

/// No file is read beyond this, whatever limit the caller names: 1 MiB.
pub const MAX_FILE: u64 = 1 << 20;

/// The contents of `path` in the tree that `layers` (topmost first) make
/// together; `None` where there is no such file. At most `limit` and at most
/// [`MAX_FILE`] bytes are read.
///
/// # Errors
/// EINVAL for what is no regular file, EFBIG for what is too large, ELOOP for
/// more than 40 symbolic links, else what `open(2)` says.
pub fn read_file(layers: &[PathBuf], path: &Path, limit: u64) -> Result<Option<Vec<u8>>, SnapshotError> {
    let shown = |error: Errno| SnapshotError::Io {
        operation: format!("read {} in the image", path.display()),
        source: error.into(),
    };
    let mut walk = Walk::begin(layers).map_err(shown)?;
    let Some((parent, name)) = walk.find(path).map_err(shown)? else { return Ok(None) };
    read_regular(&parent, &name, limit.min(MAX_FILE)).map(Some).map_err(shown)
}

fn read_regular(parent: &OwnedFd, name: &OsStr, limit: u64) -> Result<Vec<u8>, Errno> {
    // O_NONBLOCK: whatever stands there by now, the open does not wait for it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > limit {
        return Err(Errno::FBIG);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    let read = std::fs::File::from(fd).take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if bytes.len() as u64 > limit { Err(Errno::FBIG) } else { Ok(bytes) }
}

/// A merged directory: the directories that make it up, topmost first.
type Merged = Vec<OwnedFd>;

/// What a name in a merged directory is.
enum Found {
    Nothing,
    Directory(Merged),
    Link(OsString),
    /// Anything else; number of the layer directory that has it.
    Other(usize),
}

/// A lookup on its way: the merged directories from the root to where it stands.
struct Walk {
    root: Merged,
    trail: Vec<Merged>,
}

impl Walk {
    fn begin(layers: &[PathBuf]) -> Result<Self, Errno> {
        let mut root = Merged::with_capacity(layers.len());
        for layer in layers {
            let fd = rustix::fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let opaque = layers.len() > 1 && is_opaque(&fd)?;
            root.push(fd);
            if opaque {
                break;
            }
        }
        Ok(Self { root, trail: Vec::new() })
    }

    /// The layer directory and the name of what `path` comes to, if it is no directory.
    fn find(&mut self, path: &Path) -> Result<Option<(OwnedFd, OsString)>, Errno> {
        let mut pending = components(path);
        let mut links = 0;
        while let Some(step) = pending.pop() {
            let Step::Into(name) = step else {
                self.go(&step);
                continue;
            };
            match look(self.here(), &name)? {
                Found::Nothing => return Ok(None),
                Found::Directory(merged) => self.trail.push(merged),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    pending.extend(components(Path::new(&target)));
                }
                Found::Other(_) if !pending.is_empty() => return Err(Errno::NOTDIR),
                Found::Other(index) => {
                    let parent = self.here().get(index).ok_or(Errno::NOENT)?;
                    return Ok(Some((rustix::io::fcntl_dupfd_cloexec(parent, 0)?, name)));
                }
            }
        }
        Err(Errno::INVAL)
    }

    fn go(&mut self, step: &Step) {
        match step {
            Step::Root => self.trail.clear(),
            Step::Up => drop(self.trail.pop()),
            Step::Into(_) => {}
        }
    }

    fn here(&self) -> &Merged {
        self.trail.last().unwrap_or(&self.root)
    }
}

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// The steps of `path`, last first.
fn components(path: &Path) -> Vec<Step> {
    let step = |component: Component<'_>| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

fn look(merged: &Merged, name: &OsStr) -> Result<Found, Errno> {
    let mut directories = Merged::new();
    for (index, layer) in merged.iter().enumerate() {
        let stat = match lstat_at(std::os::fd::AsFd::as_fd(layer), name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(layer, name, flags, Mode::empty())?;
                // Below the last layer there is nothing that the mark could hide.
                let hides = index + 1 < merged.len() && is_opaque(&fd)?;
                directories.push(fd);
                if hides {
                    break;
                }
            }
            // What lies below a directory and is none is hidden by it, and hides the rest.
            _ if !directories.is_empty() => break,
            _ if is_whiteout(&stat) => return Ok(Found::Nothing),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(layer, name, Vec::new())?;
                return Ok(Found::Link(OsString::from_vec(target.into_bytes())));
            }
            _ => return Ok(Found::Other(index)),
        }
    }
    Ok(if directories.is_empty() { Found::Nothing } else { Found::Directory(directories) })
}

/// Whether `stat` is that of a deleted name: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: &OwnedFd) -> Result<bool, Errno> {
    // An O_PATH descriptor has no xattr calls of its own, and one opened for
    // reading would need a permission that the merged view does not.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut value = [0_u8; 2];
    match rustix::fs::getxattr(path, OPAQUE, &mut value) {
        Ok(length) => Ok(length == 1 && value.first() == Some(&b'y')),
        // Without permission to read it the kernel's overlay, mounted by the
        // same ids, takes the mark for absent too.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
