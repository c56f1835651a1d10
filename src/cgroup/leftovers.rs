//! Cgroups that nobody has any more: a monitor that was killed removes nothing.
//!
//! Whoever has one holds a lock on its directory ([`hold`]), so it does not matter which store a container is of. What
//! systemd has made, systemd removes.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::driver::Below;
use super::error::CgroupError;
use crate::model::id::ContainerId;

/// How often it is tried to hold a directory that somebody looks at, or removes, at that very moment.
const TRIES: usize = 16;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// Makes the directory, if it is not there, and holds it: nobody takes it for a leftover until the descriptor is closed.
///
/// # Errors
/// If it cannot be made.
pub(super) fn hold(path: &Path) -> Result<OwnedFd, CgroupError> {
    for _ in 0..TRIES {
        make(path)?;
        let directory = match open(path) {
            Err(Errno::NOENT) => continue,
            opened => opened.map_err(|error| CgroupError::tree("open", path)(error.into()))?,
        };
        // Shared: only who looks for leftovers asks for it alone, for a moment.
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared).is_err() {
            std::thread::sleep(PAUSE);
        } else if is_at(&directory, path) {
            return Ok(directory);
        }
    }
    // Anybody may open the directory, so a lock that stays is no reason to wait.
    make(path)?;
    open(path).map_err(|error| CgroupError::tree("open", path)(error.into()))
}

/// Makes the directory, if it is not there.
pub(super) fn make(path: &Path) -> Result<(), CgroupError> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(CgroupError::tree("make", path)(error)),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether it was not removed before it was locked.
fn is_at(directory: &OwnedFd, path: &Path) -> bool {
    let (held, there) = (rustix::fs::fstat(directory), rustix::fs::stat(path));
    held.ok().zip(there.ok()).is_some_and(|(held, there)| (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino))
}

/// Removes containers' cgroups below `below` that are empty and held by nobody; returns what is gone.
pub fn sweep(below: &Below) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&below.parent).into_iter().flatten().flatten();
    let of_container = |name: &str| name.strip_prefix(below.prefix).is_some_and(|id| id.parse::<ContainerId>().is_ok());
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(of_container));
    named.map(|entry| entry.path()).filter(|path| is_removed(path)).collect()
}

/// The kernel keeps one that has processes.
fn is_removed(path: &Path) -> bool {
    let Ok(directory) = open(path) else { return false };
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() && rustix::fs::rmdir(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::CgroupDriver;

    #[test]
    fn what_is_held_or_is_no_containers_stays() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        let [held, left, full, other] = ["1", "2", "3", "4"].map(|digit| format!("pybox-{}", digit.repeat(64)));
        let other = other.trim_start_matches("pybox-");
        let owner = hold(&path(&held)).expect("held");
        drop(hold(&path(&left)).expect("made"));
        for name in [&format!("{full}/child"), other, "supervisor", "pybox-1"] {
            std::fs::create_dir_all(path(name)).expect("a directory");
        }
        let below = Below {
            driver: CgroupDriver::Delegated,
            parent: place.path().to_owned(),
            monitors: "supervisor",
            prefix: "pybox-",
        };
        assert_eq!(sweep(&below), [path(&left)]);
        for name in [held.as_str(), &full, other, "supervisor", "pybox-1"] {
            assert!(path(name).exists(), "{name}");
        }
        drop(owner);
        assert_eq!(sweep(&below), [path(&held)]);
        assert_eq!(sweep(&Below { parent: path("absent"), ..below }), Vec::<PathBuf>::new());
    }

    #[test]
    fn one_that_is_removed_meanwhile_is_made_again() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("group");
        let old = hold(&path).expect("made");
        std::fs::remove_dir(&path).expect("removed");
        assert!(!is_at(&old, &path));
        let new = hold(&path).expect("made again");
        assert!(is_at(&new, &path) && !is_at(&old, &path));
    }

    #[test]
    fn nobody_keeps_a_container_from_its_start() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("group");
        drop(hold(&path).expect("made"));
        let stranger = open(&path).expect("open");
        rustix::fs::flock(&stranger, FlockOperation::LockExclusive).expect("locked");
        assert!(is_at(&hold(&path).expect("without a lock"), &path));
    }
}
