//! Volumes: directories that outlive containers.
//!
//! `volumes/NAME` has the files in `_data`, and what is known of the volume in
//! `volume.json`. It is made beside and renamed, so it is whole or not there. Who mounts it
//! in a new container holds its lock, shared, until the container has its row; who removes
//! it holds it alone. Between the two nobody needs a lock: the row tells.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Durability, Store, StoreError, cas, lock, trash};
use crate::model::id::ContainerName;
use crate::sys::failpoint;

/// Name of [`Record`] in a volume's directory.
const RECORD: &str = "volume.json";
/// There while the image's files are copied into a new volume.
const FILLING: &str = "filling";

/// What is known of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Milliseconds since the epoch.
    pub created: i64,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for one container, without a name.
    pub anonymous: bool,
}

/// A volume that cannot go away.
#[derive(Debug)]
pub struct Held {
    name: ContainerName,
    path: PathBuf,
    directory: OwnedFd,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl Held {
    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Where its files are.
    pub fn data(&self) -> PathBuf {
        self.path.join("_data")
    }

    /// Begins to fill it with an image's files, if there is nothing in it; whoever else would has to wait.
    /// What a filling that was interrupted has left is told, to be removed first.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin_filling(&self) -> Result<Option<Filling<'_>>, StoreError> {
        let failed = |error| StoreError::errno("lock", &self.path)(error);
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.directory, FlockOperation::LockExclusive))
            .map_err(failed)?;
        let filling = Filling { volume: self };
        let mark = self.path.join(FILLING);
        if mark.exists() {
            return Ok(Some(filling));
        }
        // What only others may look into has something in it.
        let empty = std::fs::read_dir(self.data()).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return Ok(None);
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(&mark, flags, Mode::RUSR | Mode::WUSR).map_err(StoreError::errno("create", &mark))?;
        Ok(Some(filling))
    }
}

/// A volume that nobody else may look at: its files are being copied.
#[derive(Debug)]
pub struct Filling<'v> {
    volume: &'v Held,
}

impl Filling<'_> {
    /// All of it is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self) -> Result<(), StoreError> {
        let mark = self.volume.path.join(FILLING);
        std::fs::remove_file(&mark).map_err(StoreError::io("remove", &mark))
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.volume.directory, FlockOperation::LockShared);
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Store {
    /// The volume `name`, made if it is missing, which cannot go away as long as the answer lives.
    ///
    /// # Errors
    /// What the file system says.
    pub fn hold_volume(&self, name: &ContainerName, record: &Record) -> Result<Held, StoreError> {
        loop {
            let is_new = self.make_volume(name, record)?;
            let path = self.layout.volume_directory(name);
            match lock::directory(&path, FlockOperation::LockShared) {
                Ok(Some(directory)) => return Ok(Held { name: name.clone(), path, directory, is_new }),
                // It has been removed meanwhile.
                Ok(None) | Err(Errno::NOENT) => {}
                Err(error) => return Err(StoreError::errno("lock", &path)(error)),
            }
        }
    }

    /// Makes the volume; false if it is there already.
    fn make_volume(&self, name: &ContainerName, record: &Record) -> Result<bool, StoreError> {
        let path = self.layout.volume_directory(name);
        if path.is_dir() {
            return Ok(false);
        }
        let made = self.layout.volumes().join(format!(".new-{}-{}", std::process::id(), name.as_str()));
        let _ = trash::delete_tree(&made);
        rustix::fs::mkdirat(CWD, &made, Mode::RWXU).map_err(StoreError::errno("create", &made))?;
        let data = made.join("_data");
        rustix::fs::mkdirat(CWD, &data, Mode::RWXU).map_err(StoreError::errno("create", &data))?;
        // All users of the container may look into a volume; the way to it stays ours.
        rustix::fs::chmod(&data, Mode::from_raw_mode(0o755)).map_err(StoreError::errno("chmod", &data))?;
        let text = serde_json::to_vec(record).unwrap_or_default();
        cas::write_marker(&made.join(RECORD), &text, Durability::Durable)?;
        failpoint::reach!("volume.made");
        trash::name_or_delete(&made, &path)
    }

    /// What is known of the volume `name`; none if there is none.
    pub fn volume(&self, name: &ContainerName) -> Option<Record> {
        let path = self.layout.volume_directory(name);
        if !path.is_dir() {
            return None;
        }
        let text = std::fs::read(path.join(RECORD)).unwrap_or_default();
        Some(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Removes a volume, unless `is_needed` says that it is: it is asked when nobody can begin to mount it any more.
    /// Returns what belongs to other ids and is left, for the worker.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if a container with it is being made, else what `is_needed` or the file system says.
    pub fn remove_volume<E: From<StoreError>>(
        &self,
        name: &ContainerName,
        is_needed: impl FnOnce() -> Result<(), E>,
    ) -> Result<Vec<PathBuf>, E> {
        let path = self.layout.volume_directory(name);
        let _lock = match lock::directory(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => lock,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Busy { what: format!("volume {name}"), holder: None }.into());
            }
            Err(error) => return Err(StoreError::errno("lock", &path)(error).into()),
        };
        is_needed()?;
        let Some(discarded) = trash::discard(&self.layout, &path)? else { return Ok(Vec::new()) };
        Ok(trash::delete(std::iter::once(discarded)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let store = Store::open(&dir.path().join("root"), Access::Write).expect("a store");
        (dir, store)
    }

    #[test]
    fn a_volume_is_whole_and_stays_while_it_is_held() {
        let (_dir, store) = store();
        let name: ContainerName = "data".parse().expect("a name");
        let record = Record { created: 7, labels: [("k".to_owned(), "v".to_owned())].into(), anonymous: false };
        assert_eq!(store.volume(&name), None);
        let held = store.hold_volume(&name, &record).expect("made");
        assert!(held.is_new && held.data().is_dir());
        assert!(!store.hold_volume(&name, &Record::default()).expect("found").is_new);
        assert_eq!((store.volume(&name), store.volume_names()), (Some(record), vec![name.clone()]));
        let busy = store.remove_volume(&name, || Ok::<_, StoreError>(()));
        assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
        drop(held);
        let needed = || Err(StoreError::NoSuchImage("needed".into()));
        assert!(matches!(store.remove_volume(&name, needed), Err(StoreError::NoSuchImage(_))));
        assert!(store.remove_volume(&name, || Ok::<_, StoreError>(())).expect("removed").is_empty());
        assert_eq!((store.volume(&name), store.volume_names()), (None, vec![]));
    }

    #[test]
    fn only_what_is_empty_is_filled_and_all_of_it() {
        let (_dir, store) = store();
        let held = store.hold_volume(&"data".parse().expect("a name"), &Record::default()).expect("made");
        let filling = held.begin_filling().expect("begun").expect("it is empty");
        std::fs::write(held.data().join("half"), "x").expect("write");
        drop(filling);
        // It was interrupted: it is still to be filled.
        held.begin_filling().expect("begun").expect("it was not filled").finish().expect("finished");
        assert!(held.begin_filling().expect("looked").is_none());
    }
}
