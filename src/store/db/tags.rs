//! Table `tags`: names of the form `registry/repository:tag`.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::model::digest::Digest;
use crate::model::reference::Reference;

/// A name, whose it is, and what the registry says it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct TagRow {
    pub(in crate::store) reference: Reference,
    pub(in crate::store) manifest: Digest,
    pub(in crate::store) target: Option<Digest>,
}

/// Gives the name to a manifest, whoever had it.
pub(in crate::store) fn put(db: &Connection, tag: &TagRow) -> Result<()> {
    db.execute(
        "INSERT INTO tags (reference, manifest, target) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET manifest = ?2, target = ?3",
        params![tag.reference, tag.manifest, tag.target],
    )
    .map(drop)
}

/// The manifest and image that have the name.
pub(in crate::store) fn resolve(db: &Connection, reference: &Reference) -> Result<Option<(Digest, Digest)>> {
    db.prepare_cached(
        "SELECT t.manifest, m.image FROM tags t JOIN manifests m ON m.digest = t.manifest WHERE t.reference = ?",
    )?
    .query_row([reference], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

/// All tags with the image they name, sorted.
pub(in crate::store) fn all(db: &Connection) -> Result<Vec<(Digest, TagRow)>> {
    db.prepare_cached(
        "SELECT m.image, t.reference, t.manifest, t.target FROM tags t
         JOIN manifests m ON m.digest = t.manifest ORDER BY t.reference",
    )?
    .query_map([], |row| {
        Ok((row.get(0)?, TagRow { reference: row.get(1)?, manifest: row.get(2)?, target: row.get(3)? }))
    })?
    .collect()
}

/// The tags of one image, sorted.
pub(in crate::store) fn of_image(db: &Connection, image: &Digest) -> Result<Vec<TagRow>> {
    db.prepare_cached(
        "SELECT t.reference, t.manifest, t.target FROM manifests m
         JOIN tags t ON t.manifest = m.digest WHERE m.image = ? ORDER BY t.reference",
    )?
    .query_map([image], |row| Ok(TagRow { reference: row.get(0)?, manifest: row.get(1)?, target: row.get(2)? }))?
    .collect()
}

pub(in crate::store) fn delete(db: &Connection, reference: &Reference) -> Result<()> {
    db.execute("DELETE FROM tags WHERE reference = ?", [reference]).map(drop)
}
