//! A database that was lost, made again from what lies beside it.
//!
//! Images come back from their blobs and layers, containers from the copy of the row that each bundle has. What
//! only the database knew is lost: names of images, apart from those that containers were made from.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::bundle::BundleFile;
use super::containers::Container;
use super::db::{self, Abort};
use super::image::{CONFIG_LIMIT, NewImage};
use super::lock::{Lock, Wait};
use super::{Access, Durability, Layout, Store, StoreError, atomic, cas, gc, images};
use crate::model::digest::{Algorithm, Digest};
use crate::model::id::ContainerId;
use crate::model::reference::Reference;

/// How long one waits for another process that makes a database.
const PATIENCE: Wait = Wait::Until(std::time::Duration::from_secs(10));

impl Store {
    /// What is wrong with the database of the store at `root`; nothing where there is none.
    ///
    /// # Errors
    /// What keeps it from being looked at.
    pub fn damage(root: &Path) -> Result<Option<String>, StoreError> {
        let looked = Self::open(root, Access::Read).and_then(|store| store.check_database());
        match looked {
            Ok(lines) => Ok(lines.into_iter().next()),
            Err(StoreError::Damaged { source, .. }) => Ok(Some(source.to_string())),
            Err(other) => Err(other),
        }
    }

    /// Moves a damaged database out of the way, for a look at it, and makes another one. Where the old one is now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make_new_database(root: &Path) -> Result<PathBuf, StoreError> {
        let layout = Layout::new(root);
        let database = layout.database();
        let beside = |suffix: &str| database.with_file_name(format!("pybox.db{suffix}"));
        let aside = beside(".damaged");
        {
            let _lock = Lock::acquire(&layout.locks().join("schema"), "the database", PATIENCE)?;
            for suffix in ["", "-wal"] {
                let (from, to) = (beside(suffix), beside(&format!(".damaged{suffix}")));
                match std::fs::rename(&from, to) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError::io("rename", &from)(error));
                    }
                    _ => {}
                }
            }
            // An index of the log, which is made anew.
            let _ = std::fs::remove_file(beside("-shm"));
            atomic::sync_directory(root)?;
        }
        Self::open(root, Access::Write)?;
        Ok(aside)
    }

    /// Gives a bundle without a row its row again, if it once had one: its lock is held. Says whether it has one now.
    ///
    /// # Errors
    /// What the database says.
    pub fn adopt(&self, id: &ContainerId) -> Result<bool, StoreError> {
        let Some(container) = copy_of_row(&self.layout.container(id), id) else { return Ok(false) };
        self.db.write(Durability::Durable, |db| {
            // A row without files, come back from a log that was cut, must not keep its name from one with files.
            let of_name = db::containers::id_of_name(db, &container.name)?;
            if let Some(other) = of_name.filter(|other| !self.layout.container(other).exists()) {
                db::containers::delete(db, &other)?;
            }
            insert_container(db, container)
        })?;
        Ok(true)
    }
}

/// Fills a new database. What cannot be read is no image or no container any more, and garbage.
pub(super) fn fill(db: &Connection, layout: &Layout) -> Result<(), Abort> {
    let mut containers = Vec::new();
    for name in gc::names(&layout.containers())? {
        let Ok(id) = name.parse() else { continue };
        containers.extend(copy_of_row(&layout.container(&id), &id));
    }
    for name in gc::names(&layout.blobs(Algorithm::Sha256))? {
        let Ok(digest) = format!("sha256:{name}").parse() else { continue };
        if let Some(image) = described(layout, &digest) {
            match images::insert(db, layout, &image) {
                // Its layers have to be pulled again, and it with them.
                Ok(()) | Err(Abort::Store(_)) => {}
                Err(other) => return Err(other),
            }
        }
    }
    containers.sort_by_key(|container| container.created);
    for container in containers {
        name_image(db, &container)?;
        insert_container(db, container)?;
    }
    Ok(())
}

/// The image whose manifest this blob is, if it is one and all is here.
fn described(layout: &Layout, digest: &Digest) -> Option<NewImage> {
    let manifest = document(layout, digest)?;
    let config = serde_json::from_slice::<serde_json::Value>(&manifest).ok()?;
    let config = config.get("config")?.get("digest")?.as_str()?.parse().ok()?;
    NewImage::describe(digest, &manifest, &document(layout, &config)?).ok()
}

/// A small blob that is what its name says, and JSON by its first byte.
fn document(layout: &Layout, digest: &Digest) -> Option<Vec<u8>> {
    let path = layout.blob(digest);
    let small = std::fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file() && facts.len() <= CONFIG_LIMIT);
    let bytes = small.then(|| std::fs::read(path).ok()).flatten()?;
    (bytes.first() == Some(&b'{') && cas::digest_like(digest, &bytes) == *digest).then_some(bytes)
}

fn copy_of_row(bundle: &Path, id: &ContainerId) -> Option<Container> {
    let text = std::fs::read(bundle.join(BundleFile::Row.name())).ok()?;
    serde_json::from_slice(&text).ok().filter(|container: &Container| container.id == *id)
}

/// Names are unique: of two with the same name the one that was made first keeps it.
fn insert_container(db: &Connection, mut container: Container) -> Result<(), Abort> {
    if db::containers::by_id(db, &container.id)?.is_some() {
        return Ok(());
    }
    let taken = db::containers::id_of_name(db, &container.name)?.is_some();
    if let (true, Ok(name)) = (taken, container.id.short().parse()) {
        container.name = name;
    }
    Ok(db::containers::insert(db, &container)?)
}

/// The name by which the container's image was asked for means that image.
fn name_image(db: &Connection, container: &Container) -> Result<(), Abort> {
    let Ok(reference) = container.request.image.parse::<Reference>() else { return Ok(()) };
    let here = db::manifests::by_digest(db, &container.manifest)?.is_some();
    if here && reference.digest().is_none() && reference.tag().is_some() {
        db::tags::put(db, &db::tags::TagRow { reference, manifest: container.manifest.clone(), target: None })?;
    }
    Ok(())
}

/// Whether there are containers that a database should know.
pub(super) fn is_needed(layout: &Layout) -> bool {
    let containers = gc::names(&layout.containers()).unwrap_or_default();
    containers.iter().filter_map(|name| name.parse().ok()).any(|id| copy_of_row(&layout.container(&id), &id).is_some())
}
