//! Table `layers`: what is known of the layers that are unpacked.

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::values::unsigned;
use crate::model::digest::Digest;
use crate::store::layers::LayerStats;

/// Adds the layer or corrects what is known of it.
pub(in crate::store) fn put(db: &Connection, diff_id: &Digest, stats: &LayerStats, boot: Option<&str>) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO layers (diff_id, bytes, entries, boot) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET bytes = ?2, entries = ?3, boot = ?4",
    )?
    .execute(params![diff_id, stats.bytes.cast_signed(), stats.entries.cast_signed(), boot])
    .map(drop)
}

pub(in crate::store) fn stats(db: &Connection, diff_id: &Digest) -> Result<Option<LayerStats>> {
    db.prepare_cached("SELECT bytes, entries FROM layers WHERE diff_id = ?")?
        .query_row([diff_id], |row| Ok(LayerStats { bytes: unsigned(row, 0)?, entries: unsigned(row, 1)? }))
        .optional()
}

/// Each layer with its bytes and each image that needs it, sorted by layer.
pub(in crate::store) fn uses(db: &Connection) -> Result<Vec<(Digest, u64, Digest)>> {
    db.prepare(
        "SELECT DISTINCT l.diff_id, l.bytes, m.image FROM layers l
         JOIN image_layers i ON i.diff_id = l.diff_id JOIN manifests m ON m.digest = i.manifest
         ORDER BY l.diff_id, m.image",
    )?
    .query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?)))?
    .collect()
}

/// Layers that are not known to be on disk, with the boot they were unpacked in.
pub(in crate::store) fn unsettled(db: &Connection) -> Result<Vec<(Digest, String)>> {
    db.prepare("SELECT diff_id, boot FROM layers WHERE boot IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Notes that the layer is on disk, if it is still the one of that boot.
pub(in crate::store) fn settle(db: &Connection, diff_id: &Digest, boot: &str) -> Result<()> {
    db.prepare_cached("UPDATE layers SET boot = NULL WHERE diff_id = ? AND boot = ?")?
        .execute(params![diff_id, boot])
        .map(drop)
}

pub(in crate::store) fn delete(db: &Connection, diff_id: &Digest) -> Result<()> {
    db.prepare_cached("DELETE FROM layers WHERE diff_id = ?")?.execute([diff_id]).map(drop)
}
