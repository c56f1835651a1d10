//! Locks between processes: `flock(2)` on a file of its own for each object.
//!
//! # Order
//! Whoever needs more than one takes them in this order, and in the order of
//! their ids or digests within a line:
//!
//! 1. the schema lock, by who creates the store, and nothing else with it
//! 2. a container's lock
//! 3. the lock of the lists of images
//! 4. a layer's lock, by its diffID
//! 5. a blob's ingest lock, by its digest
//! 6. SQLite's write lock (`BEGIN IMMEDIATE`), innermost and for milliseconds
//!
//! Under 6 nobody waits for a process, for the network or for 1-5; renames of
//! garbage collection happen under it, deletions do not. A lock is never
//! inherited by a child: the descriptors are close-on-exec, and the kernel
//! frees them whichever way their owner ends.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::StoreError;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// This long, then [`StoreError::Busy`].
    Until(Duration),
}

/// A lock, or who has it.
#[derive(Debug)]
pub(super) enum Attempt {
    Held(Lock),
    Busy { holder: Option<u32> },
}

impl Lock {
    /// Takes the lock `path`; `what` names the object for the error.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with the holder, and what open(2) and flock(2) say.
    pub(super) fn acquire(path: &Path, what: &str, wait: Wait) -> Result<Self, StoreError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let holder = match Self::attempt(path)? {
                Attempt::Held(lock) => return Ok(lock),
                Attempt::Busy { holder } => holder,
            };
            match wait {
                Wait::Until(limit) if started.elapsed() < limit => {}
                _ => return Err(StoreError::Busy { what: what.to_owned(), holder }),
            }
            // Polled rather than slept in the kernel, because flock(2) has no time limit.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Takes the lock if it is free.
    pub(super) fn attempt(path: &Path) -> Result<Attempt, StoreError> {
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlagsBits::NOFOLLOW)
                .open(path)
                .map_err(StoreError::io("open", path))?;
            let locked = crate::sys::failpoint::fails!("lock.flock")
                .and_then(|()| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive));
            match locked {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy { holder: read_holder(&mut file) }),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(StoreError::errno("lock", path)(errno)),
            }
            // The last owner unlinks the file: what we locked may have no name any more.
            let same = match (file.metadata(), std::fs::metadata(path)) {
                (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
                _ => false,
            };
            if same {
                // Who holds it is only told to people, so a full disk must not stand in the way.
                let _ = file.set_len(0);
                let _ = write!(file, "{}", std::process::id());
                return Ok(Attempt::Held(Self { file, path: path.into() }));
            }
        }
    }
}

/// Whether the file `path`, which whoever uses it keeps locked, belongs to nobody. It is looked at and left alone.
pub(super) fn is_abandoned(path: &Path) -> bool {
    let is_free = || {
        let file = File::options().read(true).custom_flags(OFlagsBits::NOFOLLOW).open(path).ok()?;
        Some(rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    };
    if is_free() != Some(true) {
        return false;
    }
    // Between making a file and locking it lies a moment.
    std::thread::sleep(Duration::from_millis(20));
    is_free() == Some(true)
}

/// Removes the file `path` if it belongs to nobody, as [`is_abandoned`] means it. It is locked meanwhile: who is about to
/// lock it finds then that it is gone, see [`claim`].
pub(super) fn remove_abandoned(path: &Path) -> bool {
    let Ok(file) = File::options().read(true).custom_flags(OFlagsBits::NOFOLLOW).open(path) else { return false };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && std::fs::remove_file(path).is_ok()
}

/// Locks a file that was made just now; false if somebody took it for abandoned meanwhile.
pub(super) fn claim(file: &File) -> bool {
    let locked = rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive));
    // Where no file can be locked, nobody finds it free either.
    locked.is_err() || file.metadata().is_ok_and(|facts| facts.nlink() > 0)
}

/// Opens and locks the directory `path`; none if it has become another one meanwhile.
pub(super) fn directory(path: &Path, how: FlockOperation) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, how))?;
    let (ours, there) = (rustix::fs::fstat(&directory)?, rustix::fs::stat(path)?);
    Ok(((ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)).then_some(directory))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Unlinked while still locked, so that nobody can lock a name that is about to go.
        let _ = std::fs::remove_file(&self.path);
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

struct OFlagsBits;

impl OFlagsBits {
    const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time_and_no_file_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&path, "the thing", Wait::No).expect("free");
        let error = Lock::acquire(&path, "the thing", Wait::Until(Duration::from_millis(20))).expect_err("held");
        assert_eq!(error.to_string(), format!("the thing is in use by process {}", std::process::id()));
        drop(lock);
        assert!(!path.exists());
        drop(Lock::acquire(&path, "the thing", Wait::No).expect("free again"));
    }

    #[test]
    fn who_looks_leaves_all_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool.partial-1");
        std::fs::write(&path, "bytes").expect("write");
        let file = File::open(&path).expect("open");
        assert!(claim(&file) && !is_abandoned(&path));
        drop(file);
        assert!(is_abandoned(&path));
        assert_eq!(std::fs::read(&path).expect("read"), b"bytes");
        let held = File::open(&path).expect("open");
        assert!(claim(&held) && !remove_abandoned(&path) && path.exists());
        drop(held);
        let file = File::open(&path).expect("open");
        assert!(remove_abandoned(&path) && !claim(&file) && !remove_abandoned(&path));
        std::fs::write(&path, b"bytes").expect("write");
        let file = File::open(&path).expect("open");
        std::fs::remove_file(&path).expect("remove");
        assert!(!claim(&file) && !is_abandoned(&path));
    }

    #[test]
    fn many_threads_never_hold_it_together() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::acquire(&path, "x", Wait::Until(Duration::from_secs(20))).expect("a turn");
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
