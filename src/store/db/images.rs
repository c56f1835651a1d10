//! Table `images`: what a configuration describes, by its digest.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::values::{json, to_json, unsigned};
use crate::model::digest::Digest;
use crate::model::platform::Platform;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct ImageRow {
    pub(in crate::store) id: Digest,
    pub(in crate::store) platform: Platform,
    pub(in crate::store) created: Option<i64>,
    pub(in crate::store) size: u64,
    pub(in crate::store) labels: BTreeMap<String, String>,
    pub(in crate::store) added: i64,
}

const COLUMNS: &str = "id, platform, created, size, labels, added";

fn read(row: &Row<'_>) -> Result<ImageRow> {
    Ok(ImageRow {
        id: row.get(0)?,
        platform: row.get(1)?,
        created: row.get(2)?,
        size: unsigned(row, 3)?,
        labels: json(row, 4)?,
        added: row.get(5)?,
    })
}

/// Adds the image, unless it is there already.
pub(in crate::store) fn insert(db: &Connection, image: &ImageRow) -> Result<()> {
    db.prepare_cached(&format!("INSERT INTO images ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"))?
        .execute(params![
            image.id,
            image.platform,
            image.created,
            image.size.cast_signed(),
            to_json(&image.labels)?,
            image.added
        ])
        .map(drop)
}

pub(in crate::store) fn by_id(db: &Connection, id: &Digest) -> Result<Option<ImageRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE id = ?"))?.query_row([id], read).optional()
}

/// Ids that start with `prefix`, which has hexadecimal digits only; at most ten.
pub(in crate::store) fn ids_by_prefix(db: &Connection, prefix: &str) -> Result<Vec<Digest>> {
    // A range of the key rather than LIKE, so that the B-tree answers it.
    let from = format!("sha256:{prefix}");
    let to = format!("{from}g");
    db.prepare_cached("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 10")?
        .query_map([from, to], |row| row.get(0))?
        .collect()
}

/// All images, the newest first.
pub(in crate::store) fn all(db: &Connection) -> Result<Vec<ImageRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM images ORDER BY created DESC, id"))?
        .query_map([], read)?
        .collect()
}

/// Removes the image, its manifests, their layers and names.
pub(in crate::store) fn delete(db: &Connection, id: &Digest) -> Result<()> {
    db.execute("DELETE FROM images WHERE id = ?", [id]).map(drop)
}
