//! Table `digests`: names of the form `registry/repository@digest`, where the
//! digest is that of a manifest, or of an index that led to one.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::model::digest::Digest;

/// A name, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct DigestRow {
    pub(in crate::store) name: String,
    pub(in crate::store) digest: Digest,
    pub(in crate::store) manifest: Digest,
}

/// Gives the name to a manifest. An index names one manifest a platform; the last one pulled has it.
pub(in crate::store) fn put(db: &Connection, row: &DigestRow) -> Result<()> {
    db.execute(
        "INSERT INTO digests (name, digest, manifest) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET manifest = ?3",
        params![row.name, row.digest, row.manifest],
    )
    .map(drop)
}

/// The manifest and image that have the name.
pub(in crate::store) fn resolve(db: &Connection, name: &str, digest: &Digest) -> Result<Option<(Digest, Digest)>> {
    db.prepare_cached(
        "SELECT d.manifest, m.image FROM digests d JOIN manifests m ON m.digest = d.manifest
         WHERE d.name = ? AND d.digest = ?",
    )?
    .query_row(params![name, digest], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

/// All names by digest with the image they name, sorted.
pub(in crate::store) fn all(db: &Connection) -> Result<Vec<(Digest, DigestRow)>> {
    db.prepare_cached(
        "SELECT m.image, d.name, d.digest, d.manifest FROM digests d
         JOIN manifests m ON m.digest = d.manifest ORDER BY d.name, d.digest",
    )?
    .query_map([], |row| {
        Ok((row.get(0)?, DigestRow { name: row.get(1)?, digest: row.get(2)?, manifest: row.get(3)? }))
    })?
    .collect()
}

/// The names by digest of one image, sorted.
pub(in crate::store) fn of_image(db: &Connection, image: &Digest) -> Result<Vec<DigestRow>> {
    db.prepare_cached(
        "SELECT d.name, d.digest, d.manifest FROM manifests m
         JOIN digests d ON d.manifest = m.digest WHERE m.image = ? ORDER BY d.name, d.digest",
    )?
    .query_map([image], |row| Ok(DigestRow { name: row.get(0)?, digest: row.get(1)?, manifest: row.get(2)? }))?
    .collect()
}

pub(in crate::store) fn delete(db: &Connection, name: &str, digest: &Digest) -> Result<()> {
    db.execute("DELETE FROM digests WHERE name = ? AND digest = ?", params![name, digest]).map(drop)
}
