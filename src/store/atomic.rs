//! Files that appear whole or not at all.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::Durability;
use super::error::StoreError;

/// Writes `bytes` beside `path` and renames it there, over what may be there.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), StoreError> {
    let temporary = sibling(path);
    let written = create(&temporary, bytes, mode).and_then(|file| {
        if durability == Durability::Durable {
            file.sync_data().map_err(StoreError::io("sync", &temporary))?;
        }
        std::fs::rename(&temporary, path).map_err(StoreError::io("rename", &temporary))
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
        return written;
    }
    if durability == Durability::Durable { sync_parent(path) } else { Ok(()) }
}

/// Writes a new file; one that is already there is an error.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<File, StoreError> {
    let mut file =
        File::options().write(true).create_new(true).mode(mode).open(path).map_err(StoreError::io("create", path))?;
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    if mode & 0o077 != 0 {
        // The process's umask is 077; a container's files are for its users too.
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode)).map_err(StoreError::errno("chmod", path))?;
    }
    Ok(file)
}

/// Renames `from` to `to` and says whether that was done; not so if `to` is there already.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        // Network file systems do not know the flag. A blob or layer that is
        // there already has the same content, and a directory that is not
        // empty is not replaced by a plain rename either.
        Err(Errno::INVAL | Errno::NOSYS) if to.exists() => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => {
            std::fs::rename(from, to).map(|()| true).map_err(StoreError::io("rename", from))
        }
        Err(errno) => Err(StoreError::errno("rename", from)(errno)),
    }
}

/// Makes the names in the directory of `path` survive a power cut.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Makes the names in `directory` survive a power cut.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io("sync the directory", directory))
}

/// A name beside `path` that nobody else uses.
pub(super) fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial-");
    name.push(random());
    path.with_file_name(name)
}

/// Sixteen random hexadecimal digits.
pub(super) fn random() -> String {
    let mut bytes = [0_u8; 8];
    // Only a kernel that still collects its first entropy makes this wait.
    while rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) == Err(Errno::INTR) {}
    crate::model::digest::hex(&bytes)
}
