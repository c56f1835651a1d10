//! Blobs: bytes as they came, named by their digest.
//!
//! A blob arrives in `images/ingest`, under a lock of its own, is hashed on the
//! way in, and gets its name only when the hash is right and the bytes are on
//! disk. What has arrived stays when its process is killed, and the next one
//! goes on from there.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, OFlags};

use super::error::StoreError;
use super::lock::{self, Lock, Wait};
use super::{Durability, Store, atomic};
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::sys::failpoint;

/// After so many bytes the kernel is asked to start writing them out: the sync
/// at the end then has little left to wait for.
const WRITE_BEHIND: u64 = 8 << 20;

/// A blob on its way into the store, and the lock that makes it ours.
#[derive(Debug)]
pub struct Ingest {
    digest: Digest,
    file: File,
    path: PathBuf,
    target: PathBuf,
    length: u64,
    written_behind: u64,
    hasher: Hasher,
    _lock: Lock,
}

/// Bytes on their way into the store whose digest is known at the end only.
/// Nothing stays if it is dropped.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: PathBuf,
    blobs: PathBuf,
    length: u64,
    hasher: Hasher,
}

/// The digest of `bytes` by the hash function of `like`.
pub(super) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(like.algorithm());
    hasher.update(bytes);
    hasher.finish()
}

impl Store {
    /// Whether the blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.layout.blob(digest).exists()
    }

    /// Opens a blob for reading; its bytes are not checked.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or what open(2) says.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.layout.blob(digest);
        match File::options().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(StoreError::MissingBlob(digest.clone())),
            other => other.map_err(StoreError::io("open", &path)),
        }
    }

    /// Reads a document of at most `limit` bytes and checks that it is what its digest names.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], [`StoreError::DamagedBlob`], [`StoreError::OversizedBlob`], or what read(2) says.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &self.layout.blob(digest)))?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::OversizedBlob { digest: digest.clone(), limit });
        }
        if digest_like(digest, &bytes) != *digest {
            return Err(StoreError::DamagedBlob(digest.clone()));
        }
        Ok(bytes)
    }

    /// Keeps a document that is in memory already.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], or what the file system says.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let found = digest_like(digest, bytes);
        if found != *digest {
            return Err(StoreError::DigestMismatch { expected: digest.clone(), found });
        }
        if self.has_blob(digest) {
            return Ok(());
        }
        let place = self.layout.ingest(digest);
        let wait = Wait::Until(Duration::from_secs(30));
        let _lock = Lock::acquire(&self.layout.ingest_lock(digest), &format!("blob {digest}"), wait)?;
        remove_siblings(&place);
        let (file, temporary) = create_locked(&place)?;
        let written = (&file).write_all(bytes).map_err(StoreError::io("write", &temporary));
        let committed = written.and_then(|()| commit(&file, &temporary, &self.layout.blob(digest)));
        if committed.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        committed
    }

    /// Begins to receive a blob, or goes on where a killed process stopped.
    /// `None` means that the blob is here, perhaps since a moment ago.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process or task receives it, or what the file system says.
    pub fn ingest(&self, digest: &Digest, wait: Wait) -> Result<Option<Ingest>, StoreError> {
        let target = self.layout.blob(digest);
        if target.exists() {
            return Ok(None);
        }
        let lock = Lock::acquire(&self.layout.ingest_lock(digest), &format!("blob {digest}"), wait)?;
        if target.exists() {
            return Ok(None);
        }
        let path = self.layout.ingest(digest);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let hasher = Hasher::new(digest.algorithm());
        let digest = digest.clone();
        let mut ingest = Ingest { digest, file, path, target, length: 0, written_behind: 0, hasher, _lock: lock };
        ingest.rehash()?;
        Ok(Some(ingest))
    }

    /// Begins to receive a blob that will be named by its SHA-256 digest. What killed processes have left of such ones
    /// is removed: nobody can go on with it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn spool(&self) -> Result<Spool, StoreError> {
        let place = self.layout.ingests().join("spool");
        for sibling in siblings(&place) {
            lock::remove_abandoned(&sibling);
        }
        let (file, path) = create_locked(&place)?;
        let blobs = self.layout.blobs(Algorithm::Sha256);
        Ok(Spool { file, path, blobs, length: 0, hasher: Hasher::new(Algorithm::Sha256) })
    }

    /// Names in the blob directories survive a power cut once this has returned.
    pub(super) fn sync_blob_names(&self) -> Result<(), StoreError> {
        atomic::sync_directory(&self.layout.blobs(Algorithm::Sha256))
    }
}

impl Ingest {
    /// Which blob this is.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes have arrived: where to go on.
    pub fn offset(&self) -> u64 {
        self.length
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], or what write(2) says.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        failpoint::fails!("blob.write").map_err(StoreError::errno("write", &self.path))?;
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        if self.length - self.written_behind >= WRITE_BEHIND {
            let chunk = std::num::NonZeroU64::new(self.length - self.written_behind);
            // Pages that are still dirty are queued for writing, not dropped. Advice only: an error changes nothing.
            let _ = rustix::fs::fadvise(&self.file, self.written_behind, chunk, Advice::DontNeed);
            self.written_behind = self.length;
        }
        Ok(())
    }

    /// Forgets what has arrived, for a sender that cannot go on in the middle.
    ///
    /// # Errors
    /// What ftruncate(2) says.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(StoreError::io("truncate", &self.path))?;
        self.file.rewind().map_err(StoreError::io("rewind", &self.path))?;
        self.hasher = Hasher::new(self.digest.algorithm());
        (self.length, self.written_behind) = (0, 0);
        Ok(())
    }

    /// Gives the blob its name, if its bytes are those that its digest names.
    /// Its name is durable once an image that needs it has been put.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`]: then nothing stays; or what the file system says.
    pub fn commit(self) -> Result<(), StoreError> {
        let found = self.hasher.clone().finish();
        if found != self.digest {
            let expected = self.digest.clone();
            self.discard()?;
            return Err(StoreError::DigestMismatch { expected, found });
        }
        commit(&self.file, &self.path, &self.target)
    }

    /// Forgets the blob. Dropping an [`Ingest`] instead keeps what has arrived for the next one.
    ///
    /// # Errors
    /// What unlink(2) says.
    pub fn discard(self) -> Result<(), StoreError> {
        std::fs::remove_file(&self.path).map_err(StoreError::io("remove", &self.path))
    }

    fn rehash(&mut self) -> Result<(), StoreError> {
        let mut buffer = vec![0_u8; 1 << 17];
        loop {
            let count = self.file.read(&mut buffer).map_err(StoreError::io("read", &self.path))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            self.hasher.update(bytes);
            self.length += count as u64;
            self.written_behind = self.length;
        }
    }
}

impl Spool {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], or what write(2) says.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The digest of what has come, for a lease before [`Spool::commit`].
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// How many bytes have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where they are until then.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the blob under its digest.
    ///
    /// # Errors
    /// What the file system says.
    pub fn commit(self) -> Result<Digest, StoreError> {
        let digest = self.digest();
        commit(&self.file, &self.path, &self.blobs.join(digest.hex()))?;
        Ok(digest)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Not there any more if it was kept.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A new file beside `place`, locked as long as it is open: nobody takes it for abandoned.
fn create_locked(place: &Path) -> Result<(File, PathBuf), StoreError> {
    loop {
        let path = atomic::sibling(place);
        let file = atomic::create(&path, b"", 0o600)?;
        if lock::claim(&file) {
            return Ok((file, path));
        }
    }
}

fn commit(file: &File, from: &Path, to: &Path) -> Result<(), StoreError> {
    failpoint::fails!("blob.sync").map_err(StoreError::errno("sync", from))?;
    file.sync_data().map_err(StoreError::io("sync", from))?;
    failpoint::reach!("blob.synced");
    if !atomic::rename_new(from, to)? {
        // Somebody else has brought the same bytes.
        std::fs::remove_file(from).map_err(StoreError::io("remove", from))?;
    }
    failpoint::reach!("blob.named");
    Ok(())
}

/// Writes `bytes` to `path` for the row that follows; see [`Durability`].
pub(super) fn write_marker(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
    let file = atomic::create(path, bytes, 0o600)?;
    match durability {
        Durability::Durable => file.sync_data().map_err(StoreError::io("sync", path)),
        Durability::Throwaway => Ok(()),
    }
}

/// Removes what a killed process left beside `path`, whose lock is held.
fn remove_siblings(path: &Path) {
    for sibling in siblings(path) {
        let _ = std::fs::remove_file(sibling);
    }
}

/// What is on its way to become `path`, or was.
fn siblings(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.partial-");
    let entries = path.parent().and_then(|directory| std::fs::read_dir(directory).ok()).into_iter().flatten().flatten();
    entries.filter(move |entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path())
}
