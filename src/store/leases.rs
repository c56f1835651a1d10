//! Leases: a pull that is under way says what it needs, and garbage collection
//! leaves that alone.

use super::{Durability, Store, StoreError, atomic, clock, db};
use crate::model::digest::Digest;

/// How long a lease lasts, in seconds of a clock that nobody can set. One whose
/// owner was killed keeps its objects for so long, or until the next boot.
const SECONDS: i64 = 24 * 60 * 60;

/// What [`Store::lease`] returned and [`Store::release`] takes.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released keeps its objects for a day"]
pub struct Lease {
    id: String,
}

impl Store {
    /// Protects blobs and layers, whether they are here or are going to be.
    /// Ask whether they are here only afterwards.
    ///
    /// # Errors
    /// What the database says.
    pub fn lease<'d>(&self, objects: impl IntoIterator<Item = &'d Digest>) -> Result<Lease, StoreError> {
        let lease = Lease { id: atomic::random() };
        self.db.write(Durability::Throwaway, |db| {
            db::leases::insert(db, &lease.id, &clock::boot_id(), clock::since_boot() + SECONDS)?;
            Ok(objects.into_iter().try_for_each(|digest| db::leases::add(db, &lease.id, digest))?)
        })?;
        Ok(lease)
    }

    /// Protects more.
    ///
    /// # Errors
    /// What the database says.
    pub fn extend_lease<'d>(
        &self,
        lease: &Lease,
        objects: impl IntoIterator<Item = &'d Digest>,
    ) -> Result<(), StoreError> {
        self.db.write(Durability::Throwaway, |db| {
            Ok(objects.into_iter().try_for_each(|digest| db::leases::add(db, &lease.id, digest))?)
        })
    }

    /// Ends the protection: an image refers to the objects now, or nothing ever will.
    ///
    /// # Errors
    /// What the database says.
    pub fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let Lease { id } = lease;
        self.db.write(Durability::Throwaway, |db| Ok(db::leases::delete(db, &id)?))
    }
}
