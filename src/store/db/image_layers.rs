//! Table `image_layers`: the layers of a manifest, in order.

use rusqlite::{Connection, Result, params};

use super::values::unsigned;
use crate::model::digest::Digest;
use crate::store::image::ImageLayer;

/// A layer as a manifest lists it, and the boot after which it is not known to be on disk.
pub(in crate::store) struct LayerAt {
    pub(in crate::store) layer: ImageLayer,
    pub(in crate::store) boot: Option<String>,
}

pub(in crate::store) fn insert(db: &Connection, manifest: &Digest, layers: &[ImageLayer]) -> Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO image_layers (manifest, position, diff_id, blob, size, media_type) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for (position, layer) in layers.iter().enumerate() {
        let size = layer.size.cast_signed();
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        insert.execute(params![manifest, position, layer.diff_id, layer.blob, size, layer.media_type])?;
    }
    Ok(())
}

/// The layers of `manifest`, the lowest first.
pub(in crate::store) fn of_manifest(db: &Connection, manifest: &Digest) -> Result<Vec<LayerAt>> {
    db.prepare_cached(
        "SELECT i.diff_id, i.blob, i.size, i.media_type, l.boot FROM image_layers i
         JOIN layers l ON l.diff_id = i.diff_id WHERE i.manifest = ? ORDER BY i.position",
    )?
    .query_map([manifest], |row| {
        let layer =
            ImageLayer { diff_id: row.get(0)?, blob: row.get(1)?, size: unsigned(row, 2)?, media_type: row.get(3)? };
        Ok(LayerAt { layer, boot: row.get(4)? })
    })?
    .collect()
}

/// Whether a manifest needs the blob.
pub(in crate::store) fn uses_blob(db: &Connection, blob: &Digest) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM image_layers WHERE blob = ?)")?.query_row([blob], |row| row.get(0))
}

/// Whether a manifest needs the unpacked layer.
pub(in crate::store) fn uses_layer(db: &Connection, diff_id: &Digest) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = ?)")?
        .query_row([diff_id], |row| row.get(0))
}
