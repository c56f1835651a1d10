//! Tables `leases` and `lease_objects`: what a pull that is under way needs,
//! though no image refers to it yet.

use rusqlite::{Connection, Result, params};

use crate::model::digest::Digest;

/// Adds a lease that ends `expires` seconds after the boot `boot`.
pub(in crate::store) fn insert(db: &Connection, id: &str, boot: &str, expires: i64) -> Result<()> {
    db.execute("INSERT INTO leases (id, boot, expires) VALUES (?, ?, ?)", params![id, boot, expires]).map(drop)
}

/// Puts an object under the lease.
pub(in crate::store) fn add(db: &Connection, lease: &str, digest: &Digest) -> Result<()> {
    db.prepare_cached("INSERT INTO lease_objects (lease, digest) VALUES (?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![lease, digest])
        .map(drop)
}

/// Whether a lease holds the object.
pub(in crate::store) fn holds(db: &Connection, digest: &Digest) -> Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM lease_objects WHERE digest = ?)")?
        .query_row([digest], |row| row.get(0))
}

pub(in crate::store) fn delete(db: &Connection, id: &str) -> Result<()> {
    db.execute("DELETE FROM leases WHERE id = ?", [id]).map(drop)
}

/// Removes leases of other boots, and those that ended before `now` seconds after this one.
pub(in crate::store) fn delete_ended(db: &Connection, boot: &str, now: i64) -> Result<()> {
    db.execute("DELETE FROM leases WHERE boot <> ? OR expires < ?", params![boot, now]).map(drop)
}

/// All of them.
pub(in crate::store) fn ids(db: &Connection) -> Result<Vec<String>> {
    db.prepare_cached("SELECT id FROM leases")?.query_map([], |row| row.get(0))?.collect()
}
