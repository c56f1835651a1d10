//! Blobs that are kept beside the store, for others and for later: a directory
//! as an OCI image layout has it, `blobs/sha256/<hex>`.
//!
//! What lies there is believed as little as what comes over the network: a blob
//! is hashed before its first byte is used, and who made the file does not
//! matter. Mirrors over the network stand in registries.conf ([`super::registries`]).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::digest::{Digest, Hasher};

/// Bytes that are hashed at once.
const PIECE: usize = 256 << 10;

/// Directories of blobs. The first one gets what comes, if it can be written.
#[derive(Clone, Debug, Default)]
pub struct BlobCache {
    directories: Vec<PathBuf>,
}

impl BlobCache {
    /// The cache in `directories`; those that are not absolute are passed over.
    pub(crate) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories: directories.into_iter().filter(|directory| directory.is_absolute()).collect() }
    }

    /// The blob, if it is there and is what its name says.
    pub(crate) fn find(&self, digest: &Digest, size: u64) -> Option<File> {
        self.directories.iter().find_map(|directory| {
            let path = place(directory, digest);
            match open(&path, digest, size) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a cached blob is not used");
                    None
                }
            }
        })
    }

    /// Keeps a blob that has come, and been checked, for the next who wants it. Where that
    /// cannot be, nothing is lost but time.
    pub fn keep(&self, digest: &Digest, blob: &Path) {
        let Some(directory) = self.directories.first() else { return };
        let path = place(directory, digest);
        if path.exists() {
            return;
        }
        match copy(blob, &path) {
            Ok(()) => tracing::debug!(path = %path.display(), "cached a blob"),
            Err(error) => tracing::debug!(path = %path.display(), %error, "a blob is not cached"),
        }
    }
}

fn place(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs").join(digest.algorithm().name()).join(digest.hex())
}

/// Opens the blob and reads it once; none if it is another one.
fn open(path: &Path, digest: &Digest, size: u64) -> io::Result<Option<File>> {
    // A pipe in its place would be waited for.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.len() != size {
        return Ok(None);
    }
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; PIECE];
    let mut input = (&file).take(size);
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok((hasher.finish() == *digest).then_some(file))
}

/// A copy under its name only once it is whole, for all to read.
fn copy(blob: &Path, path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    let temporary = parent.join(format!(".{}.{}", path.file_name().unwrap_or_default().display(), std::process::id()));
    let copied = fs::copy(blob, &temporary)
        .and_then(|_| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&temporary, path));
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, blob) =
            (BlobCache::new(vec![dir.path().join("cache"), "relative".into()]), dir.path().join("blob"));
        fs::write(&blob, "hello").unwrap();
        let digest = Digest::of(b"hello");
        assert!(cache.find(&digest, 5).is_none());
        cache.keep(&digest, &blob);
        let mut text = String::new();
        io::Seek::rewind(&mut cache.find(&digest, 5).unwrap()).unwrap();
        let mut file = cache.find(&digest, 5).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(cache.find(&digest, 4).is_none(), "of another size");
        let path = place(&dir.path().join("cache"), &digest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        fs::write(&path, "hullo").unwrap();
        assert!(cache.find(&digest, 5).is_none(), "damaged");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        assert!(cache.find(&digest, 5).is_none(), "a pipe");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-made stays");
    }

    #[test]
    fn a_cache_that_cannot_be_written_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("blob");
        fs::write(&blob, "hello").unwrap();
        BlobCache::new(vec![blob.join("below-a-file")]).keep(&Digest::of(b"hello"), &blob);
        BlobCache::default().keep(&Digest::of(b"hello"), &blob);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
