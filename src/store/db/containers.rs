//! Table `containers`.

use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::values::{json, to_json};
use crate::model::container::ContainerRequest;
use crate::model::digest::Digest;
use crate::model::id::{ContainerId, ContainerName};
use crate::model::lifecycle::Lifecycle;
use crate::store::containers::{Container, Gone};

const COLUMNS: &str = "id, name, image, manifest, created, auto_remove, lifecycle, request";

fn read(row: &Row<'_>) -> Result<Container> {
    Ok(Container {
        id: row.get(0)?,
        name: row.get(1)?,
        image: row.get(2)?,
        manifest: row.get(3)?,
        created: row.get(4)?,
        auto_remove: row.get(5)?,
        lifecycle: json(row, 6)?,
        request: json(row, 7)?,
    })
}

/// Adds the container; its id and its name must be free.
pub(in crate::store) fn insert(db: &Connection, container: &Container) -> Result<()> {
    db.prepare_cached(&format!("INSERT INTO containers ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?
        .execute(params![
            container.id,
            container.name,
            container.image,
            container.manifest,
            container.created,
            container.auto_remove,
            to_json(&container.lifecycle)?,
            to_json(&container.request)?
        ])
        .map(drop)
}

pub(in crate::store) fn by_id(db: &Connection, id: &ContainerId) -> Result<Option<Container>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE id = ?"))?.query_row([id], read).optional()
}

pub(in crate::store) fn by_name(db: &Connection, name: &str) -> Result<Option<Container>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE name = ?"))?.query_row([name], read).optional()
}

/// Who has the name.
pub(in crate::store) fn id_of_name(db: &Connection, name: &ContainerName) -> Result<Option<ContainerId>> {
    db.prepare_cached("SELECT id FROM containers WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()
}

/// Ids that start with `prefix`, which has hexadecimal digits only; at most ten.
pub(in crate::store) fn ids_by_prefix(db: &Connection, prefix: &str) -> Result<Vec<ContainerId>> {
    db.prepare_cached("SELECT id FROM containers WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 10")?
        .query_map([prefix], |row| row.get(0))?
        .collect()
}

/// All containers, the newest first.
pub(in crate::store) fn all(db: &Connection) -> Result<Vec<Container>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers ORDER BY created DESC, id"))?
        .query_map([], read)?
        .collect()
}

/// All ids, sorted.
pub(in crate::store) fn ids(db: &Connection) -> Result<Vec<ContainerId>> {
    db.prepare_cached("SELECT id FROM containers ORDER BY id")?.query_map([], |row| row.get(0))?.collect()
}

/// The image of each container.
pub(in crate::store) fn images(db: &Connection) -> Result<Vec<Digest>> {
    db.prepare_cached("SELECT image FROM containers")?.query_map([], |row| row.get(0))?.collect()
}

/// The containers that were made from `image`, the newest first.
pub(in crate::store) fn of_image(db: &Connection, image: &Digest) -> Result<Vec<Container>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE image = ? ORDER BY created DESC, id"))?
        .query_map([image], read)?
        .collect()
}

pub(in crate::store) fn lifecycle(db: &Connection, id: &ContainerId) -> Result<Option<Lifecycle>> {
    db.prepare_cached("SELECT lifecycle FROM containers WHERE id = ?")?.query_row([id], |row| json(row, 0)).optional()
}

pub(in crate::store) fn set_lifecycle(db: &Connection, id: &ContainerId, lifecycle: &Lifecycle) -> Result<()> {
    db.prepare_cached("UPDATE containers SET lifecycle = ? WHERE id = ?")?
        .execute(params![to_json(lifecycle)?, id])
        .map(drop)
}

pub(in crate::store) fn set_request(db: &Connection, id: &ContainerId, request: &ContainerRequest) -> Result<()> {
    db.prepare_cached("UPDATE containers SET request = ? WHERE id = ?")?
        .execute(params![to_json(request)?, id])
        .map(drop)
}

/// Gives the container a name, which must be free, and says whether it is there.
pub(in crate::store) fn rename(db: &Connection, id: &ContainerId, name: &ContainerName) -> Result<bool> {
    db.prepare_cached("UPDATE containers SET name = ? WHERE id = ?")?
        .execute(params![name, id])
        .map(|changed| changed > 0)
}

/// Removes the container, and says what it was; a request that is damaged must not keep it.
pub(in crate::store) fn delete(db: &Connection, id: &ContainerId) -> Result<Option<Gone>> {
    db.prepare_cached("DELETE FROM containers WHERE id = ? RETURNING name, request")?
        .query_row([id], |row| Ok(Gone { name: row.get(0)?, request: json(row, 1).unwrap_or_default() }))
        .optional()
}
