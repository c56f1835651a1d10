//! Rows of containers.

use serde::{Deserialize, Serialize};

use super::bundle::BundleFile;
use super::db;
use super::{Durability, Store, StoreError};
use crate::model::container::ContainerRequest;
use crate::model::digest::Digest;
use crate::model::id::{ContainerId, ContainerName};
use crate::model::lifecycle::Lifecycle;

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its id, and the name of its bundle.
    pub id: ContainerId,
    /// Its name, which no other has.
    pub name: ContainerName,
    /// The id of its image.
    pub image: Digest,
    /// The manifest by which the image was found.
    pub manifest: Digest,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// Whether it goes when it ends.
    pub auto_remove: bool,
    /// Its state as it was last heard of.
    pub lifecycle: Lifecycle,
    /// What the user asked for.
    pub request: ContainerRequest,
}

/// What the row of a removed container said.
#[derive(Clone, Debug, PartialEq)]
pub struct Gone {
    /// Its name.
    pub name: ContainerName,
    /// What the user had asked for; empty where that could not be read any more.
    pub request: ContainerRequest,
}

impl Store {
    /// Adds a container.
    ///
    /// # Errors
    /// [`StoreError::NameInUse`]; [`StoreError::NoSuchImage`] if its image was removed meanwhile; or what the database
    /// says.
    pub fn insert_container(&self, container: &Container, durability: Durability) -> Result<(), StoreError> {
        self.db.write(durability, |db| {
            if let Some(id) = db::containers::id_of_name(db, &container.name)? {
                return Err(StoreError::NameInUse { name: container.name.clone(), id }.into());
            }
            let manifest = db::manifests::by_digest(db, &container.manifest)?;
            if manifest.is_none_or(|manifest| manifest.image != container.image) {
                return Err(StoreError::NoSuchImage(container.image.to_string()).into());
            }
            Ok(db::containers::insert(db, container)?)
        })
    }

    /// Finds a container by its id, its name, or the beginning of its id, in this order.
    ///
    /// # Errors
    /// [`StoreError::NoSuchContainer`], [`StoreError::AmbiguousContainer`], or what the database says.
    pub fn find_container(&self, text: &str) -> Result<Container, StoreError> {
        let missing = || StoreError::NoSuchContainer(text.chars().take(200).collect());
        self.db.read(|db| {
            if let Ok(id) = text.parse::<ContainerId>() {
                return Ok(db::containers::by_id(db, &id)?.ok_or_else(missing)?);
            }
            let name = text.strip_prefix('/').unwrap_or(text);
            if let Some(container) = db::containers::by_name(db, name)? {
                return Ok(container);
            }
            if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(missing().into());
            }
            let mut candidates = db::containers::ids_by_prefix(db, text)?;
            if candidates.len() > 1 {
                return Err(StoreError::AmbiguousContainer { prefix: text.to_owned(), candidates }.into());
            }
            let id = candidates.pop().ok_or_else(missing)?;
            Ok(db::containers::by_id(db, &id)?.ok_or_else(missing)?)
        })
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn list_containers(&self) -> Result<Vec<Container>, StoreError> {
        self.db.read(|db| Ok(db::containers::all(db)?))
    }

    /// The containers that were made from `image`, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn containers_of_image(&self, image: &Digest) -> Result<Vec<Container>, StoreError> {
        self.db.read(|db| Ok(db::containers::of_image(db, image)?))
    }

    /// Changes a container's state: `change` sees the state as it is and answers with the next, or with `None` if it
    /// is to stay. Returns the state that holds.
    ///
    /// # Errors
    /// [`StoreError::NoSuchContainer`], or what the database says.
    pub fn change_lifecycle(
        &self,
        id: &ContainerId,
        durability: Durability,
        change: impl FnOnce(&Lifecycle) -> Option<Lifecycle>,
    ) -> Result<Lifecycle, StoreError> {
        self.db.write(durability, |db| {
            let missing = || StoreError::NoSuchContainer(id.to_string());
            let now = db::containers::lifecycle(db, id)?.ok_or_else(missing)?;
            let Some(next) = change(&now) else { return Ok(now) };
            db::containers::set_lifecycle(db, id, &next)?;
            Ok(next)
        })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`StoreError::NameInUse`], [`StoreError::NoSuchContainer`], or what the database says.
    pub fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), StoreError> {
        self.db.write(Durability::Durable, |db| {
            if let Some(id) = db::containers::id_of_name(db, name)? {
                return Err(StoreError::NameInUse { name: name.clone(), id }.into());
            }
            if db::containers::rename(db, id, name)? {
                return Ok(());
            }
            Err(StoreError::NoSuchContainer(id.to_string()).into())
        })
    }

    /// Changes what is asked of a container, and returns it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchContainer`], or what the database says.
    pub fn change_request(
        &self,
        id: &ContainerId,
        durability: Durability,
        change: impl FnOnce(&mut ContainerRequest),
    ) -> Result<Container, StoreError> {
        self.db.write(durability, |db| {
            let missing = || StoreError::NoSuchContainer(id.to_string());
            let mut container = db::containers::by_id(db, id)?.ok_or_else(missing)?;
            change(&mut container.request);
            db::containers::set_request(db, id, &container.request)?;
            Ok(container)
        })
    }

    /// Removes the row of a container, its copy before it, and says what it was; one that is gone already is fine. The
    /// bundle goes by
    /// [`Store::remove_bundle`], afterwards: a bundle without row is garbage, a row without bundle is a riddle.
    ///
    /// # Errors
    /// What the database says.
    pub fn remove_container(&self, id: &ContainerId, durability: Durability) -> Result<Option<Gone>, StoreError> {
        // A bundle with a copy has lost its row, and gets it back.
        let _ = std::fs::remove_file(self.layout.container(id).join(BundleFile::Row.name()));
        self.with_reserve(|| self.db.write(durability, |db| Ok(db::containers::delete(db, id)?)))
    }
}
