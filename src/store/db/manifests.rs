//! Table `manifests`: which documents describe an image. One image has several
//! where registries hold the same layers compressed in different ways.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::model::digest::Digest;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct ManifestRow {
    pub(in crate::store) digest: Digest,
    pub(in crate::store) image: Digest,
    pub(in crate::store) media_type: String,
    pub(in crate::store) added: i64,
}

/// Adds the manifest, and says whether it is new.
pub(in crate::store) fn insert(db: &Connection, row: &ManifestRow) -> Result<bool> {
    db.execute(
        "INSERT INTO manifests (digest, image, media_type, added) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        params![row.digest, row.image, row.media_type, row.added],
    )
    .map(|changed| changed > 0)
}

pub(in crate::store) fn by_digest(db: &Connection, digest: &Digest) -> Result<Option<ManifestRow>> {
    db.prepare_cached("SELECT digest, image, media_type, added FROM manifests WHERE digest = ?")?
        .query_row([digest], |row| {
            Ok(ManifestRow { digest: row.get(0)?, image: row.get(1)?, media_type: row.get(2)?, added: row.get(3)? })
        })
        .optional()
}

/// The manifest that came last for `image`.
pub(in crate::store) fn latest_of(db: &Connection, image: &Digest) -> Result<Option<Digest>> {
    db.prepare_cached("SELECT digest FROM manifests WHERE image = ? ORDER BY added DESC, digest LIMIT 1")?
        .query_row([image], |row| row.get(0))
        .optional()
}

/// All manifests of `image`.
pub(in crate::store) fn of_image(db: &Connection, image: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached("SELECT digest FROM manifests WHERE image = ?")?.query_map([image], |row| row.get(0))?.collect()
}

/// Whether `digest` is that of a manifest or of the configuration of an image, or a name's.
pub(in crate::store) fn is_document(db: &Connection, digest: &Digest) -> Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM manifests WHERE digest = ?1) OR EXISTS (SELECT 1 FROM images WHERE id = ?1)
             OR EXISTS (SELECT 1 FROM digests WHERE digest = ?1) OR EXISTS (SELECT 1 FROM tags WHERE target = ?1)",
    )?
    .query_row([digest], |row| row.get(0))
}

/// Removes manifests of `image` that no name and no container needs, apart from the last one to come.
pub(in crate::store) fn delete_unnamed(db: &Connection, image: &Digest, keep: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "DELETE FROM manifests WHERE image = ?1 AND digest <> ?2
             AND NOT EXISTS (SELECT 1 FROM tags WHERE manifest = manifests.digest)
             AND NOT EXISTS (SELECT 1 FROM digests WHERE manifest = manifests.digest)
             AND NOT EXISTS (SELECT 1 FROM containers WHERE manifest = manifests.digest)
         RETURNING digest",
    )?
    .query_map([image, keep], |row| row.get(0))?
    .collect()
}
