//! The directory that entries are made in, kept open from one to the next.
//!
//! Most entries share their parent with the one before, or share most of it: so
//! the way down is kept as a list of open directories, each opened by name from
//! the one before without following a link. Where a component is a link (a
//! layer may well unpack `bin/x` where `bin` is a link to `usr/bin`), its target
//! is walked in the same way, from the layer's root if it is absolute, and never
//! above that root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Path, failed, whiteout};
use crate::snapshot::failure::Failure;
use crate::snapshot::layered::is_whiteout;
use crate::snapshot::tar::entry::EntryPath;
use crate::sys::path::lstat_at;

/// Symbolic links followed in one walk, as many as the kernel follows.
const MAX_LINKS: u32 = 40;
/// Components walked for one name, those of links among them.
const MAX_STEPS: u32 = 4096;
/// Directories open at once; each is a descriptor.
const MAX_DEPTH: usize = 256;

/// What to do where a directory on the way is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make it: owned by root, mode 0755.
    Make,
    /// Give up.
    Report,
}

/// A directory of the layer, and the way to it.
pub(super) struct Walk<'d> {
    root: BorrowedFd<'d>,
    /// Real directories from the root to here.
    trail: Vec<(Vec<u8>, OwnedFd)>,
    /// The name, as it was asked for, that led here.
    asked: Option<Vec<u8>>,
}

impl<'d> Walk<'d> {
    pub(super) fn new(root: BorrowedFd<'d>) -> Self {
        Self { root, trail: Vec::new(), asked: None }
    }

    /// The current directory.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.trail.last().map_or(self.root, |(_, directory)| directory.as_fd())
    }

    /// The path of `name` in the current directory, free of links.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for (component, _) in &self.trail {
            path.extend_from_slice(component);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Forgets which names led where: a link or a directory has gone. Stays here.
    pub(super) fn forget_names(&mut self) {
        self.asked = None;
    }

    /// Goes back to the root.
    pub(super) fn forget(&mut self) {
        self.asked = None;
        self.trail.clear();
    }

    /// Goes to the directory `path` for the sake of `entry`; false if it is not
    /// there and should not be made.
    pub(super) fn enter(&mut self, path: &[u8], missing: Missing, entry: &EntryPath) -> Result<bool, Failure> {
        if self.asked.as_deref() == Some(path) {
            return Ok(true);
        }
        self.asked = None;
        let mut pending = self.keep_common(path);
        let (mut links, mut steps) = (0, 0);
        while let Some(component) = pending.pop() {
            steps += 1;
            if steps > MAX_STEPS || links > MAX_LINKS || self.trail.len() >= MAX_DEPTH {
                return Err(Failure::refused(entry.as_bytes(), "lies behind too many links or directories"));
            }
            match self.step(&component, missing).map_err(|error| failed("open the parent of", entry, error))? {
                Step::Entered => {}
                Step::Link(target) => {
                    links += 1;
                    if target.first() == Some(&b'/') {
                        self.trail.clear();
                    }
                    pending.extend(reversed(&target));
                }
                Step::Missing => return Ok(false),
                Step::Blocked => return Err(Failure::refused(entry.as_bytes(), "its parent is not a directory")),
            }
        }
        self.asked = Some(path.to_vec());
        Ok(true)
    }

    /// Goes back to the last directory that `path` shares with the trail, and
    /// tells what is left of it, last component first.
    fn keep_common(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut pending = reversed(path);
        let mut common = 0;
        for (name, _) in &self.trail {
            if pending.last() != Some(name) {
                break;
            }
            pending.pop();
            common += 1;
        }
        self.trail.truncate(common);
        pending
    }

    fn step(&mut self, component: &[u8], missing: Missing) -> Result<Step, Errno> {
        if component == b".." {
            // At the root it stays there, as in a changed root.
            self.trail.pop();
            return Ok(Step::Entered);
        }
        let here = self.here();
        let directory = match open_directory(here, component) {
            Ok(directory) => directory,
            Err(Errno::NOENT) if missing == Missing::Make => {
                rustix::fs::mkdirat(here, component, Mode::from_raw_mode(0o755))?;
                open_directory(here, component)?
            }
            Err(Errno::NOENT) => return Ok(Step::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => match obstacle(here, component)? {
                Obstacle::Link(target) => return Ok(Step::Link(target)),
                Obstacle::Whiteout if missing == Missing::Make => {
                    // This layer deletes the name and makes it anew: the order
                    // of the two in the archive says nothing.
                    rustix::fs::unlinkat(here, component, AtFlags::empty())?;
                    rustix::fs::mkdirat(here, component, Mode::from_raw_mode(0o755))?;
                    whiteout::make_opaque(here, Path(component))?;
                    open_directory(here, component)?
                }
                Obstacle::Whiteout => return Ok(Step::Missing),
                Obstacle::Other => return Ok(Step::Blocked),
            },
            Err(error) => return Err(error),
        };
        self.trail.push((component.to_vec(), directory));
        Ok(Step::Entered)
    }
}

enum Step {
    Entered,
    Link(Vec<u8>),
    Missing,
    Blocked,
}

enum Obstacle {
    Link(Vec<u8>),
    Whiteout,
    Other,
}

fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn obstacle(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Obstacle, Errno> {
    let stat = lstat_at(parent, Path(name).as_os_str())?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Obstacle::Link(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes()),
        _ if is_whiteout(&stat) => Obstacle::Whiteout,
        _ => Obstacle::Other,
    })
}

/// The components of `path`, last first; `.` and empty ones left out.
fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let components = path.split(|byte| *byte == b'/').rev();
    components.filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec).collect()
}
