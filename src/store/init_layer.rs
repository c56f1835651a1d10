//! The init layer: a small layer on top of every image, so that the places where
//! the launcher mounts are real directories and files of ours, whatever an image
//! has there (SECURITY.md R4).

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::{Store, StoreError, atomic, trash};

/// The version of what is below; a new one makes a new layer.
const MARKER: &str = "complete-1";

/// overlayfs merges them with the image's own.
const DIRECTORIES: [&str; 6] = ["", "dev", "proc", "sys", "etc", "run"];

/// They hide the image's, and are mounted over.
const FILES: [&str; 5] = ["etc/hosts", "etc/hostname", "etc/resolv.conf", "run/.containerenv", ".dockerenv"];

impl Store {
    /// The directory of the init layer, which is made if need be.
    ///
    /// # Errors
    /// What the file system says.
    pub fn init_layer(&self) -> Result<PathBuf, StoreError> {
        let place = self.layout.init_layer();
        let diff = place.join("diff");
        if place.join(MARKER).exists() {
            return Ok(diff);
        }
        let staging = atomic::sibling(&place);
        fill(&staging)?;
        if !atomic::rename_new(&staging, &place)? {
            // Another process made it, or an older version of us did.
            let other = if place.join(MARKER).exists() { &staging } else { &place };
            let discarded = trash::discard(&self.layout, other)?;
            trash::delete(discarded.into_iter());
            if staging.exists() {
                atomic::rename_new(&staging, &place)?;
            }
        }
        Ok(diff)
    }
}

fn fill(staging: &Path) -> Result<(), StoreError> {
    std::fs::create_dir(staging).map_err(StoreError::io("create", staging))?;
    let diff = staging.join("diff");
    for name in DIRECTORIES {
        let path = diff.join(name);
        std::fs::create_dir(&path).map_err(StoreError::io("create", &path))?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o755)).map_err(StoreError::errno("chmod", &path))?;
    }
    for name in FILES {
        atomic::create(&diff.join(name), b"", 0o644)?;
    }
    let mtab = diff.join("etc/mtab");
    symlink("/proc/mounts", &mtab).map_err(StoreError::io("create", &mtab))?;
    atomic::create(&staging.join(MARKER), b"", 0o600).map(drop)
}
