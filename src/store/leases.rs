//! Leases: a pull that is under way says what it needs, and garbage collection
//! leaves that alone.

use super::{Durability, Store, StoreError, atomic, clock, db};
use crate::model::digest::Digest;
use crate::sys::identity;

/// How long a lease lasts, in seconds of a clock that nobody can set. One whose
/// owner was killed ends when somebody looks; one of whose owner nothing can be known lasts so long, or until the next boot.
const SECONDS: i64 = 24 * 60 * 60;

/// What [`Store::lease`] returned and [`Store::release`] takes.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released keeps its objects for a day"]
pub struct Lease {
    id: String,
}

/// A process, by what it is in its pid namespace: nobody can tell of a process elsewhere whether it lives.
fn owner(pid: u32) -> String {
    // Of the clocks, too: the start of a process is told by them.
    let namespaces = ["pid", "time"].map(|kind| {
        let name = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        name.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>()
    });
    format!("{}.{pid}.{}", namespaces.join("-"), identity::started_ticks(pid).unwrap_or(0))
}

/// Whether the owner of a lease is known to have ended.
fn is_orphaned(id: &str) -> bool {
    let Some((_, named)) = id.split_once('.') else { return false };
    let pid = named.split('.').nth(1).and_then(|pid| pid.parse().ok());
    let Some(pid) = pid else { return false };
    let now = owner(pid);
    let namespace = |text: &str| text.split('.').next().map(str::to_owned);
    namespace(&now) == namespace(named) && now != named
}

impl Store {
    /// Ends the leases of processes that are gone, of earlier boots, and those that have run out.
    ///
    /// # Errors
    /// What the database says.
    pub(super) fn end_leases(&self) -> Result<(), StoreError> {
        let ids = self.db.read(|db| Ok(db::leases::ids(db)?))?;
        self.db.write(Durability::Throwaway, |db| {
            ids.iter().filter(|id| is_orphaned(id)).try_for_each(|id| db::leases::delete(db, id))?;
            Ok(db::leases::delete_ended(db, &clock::boot_id(), clock::since_boot())?)
        })
    }

    /// Protects blobs and layers, whether they are here or are going to be.
    /// Ask whether they are here only afterwards.
    ///
    /// # Errors
    /// What the database says.
    pub fn lease<'d>(&self, objects: impl IntoIterator<Item = &'d Digest>) -> Result<Lease, StoreError> {
        let lease = Lease { id: format!("{}.{}", atomic::random(), owner(std::process::id())) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_to_be_gone_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let id = |pid| format!("0123456789abcdef.{}", owner(pid));
        let (ours, theirs) = (id(std::process::id()), id(child.id()));
        assert!(!is_orphaned(&ours) && !is_orphaned(&theirs));
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(is_orphaned(&theirs));
        // Of an earlier version, and of a process of another namespace.
        assert!(!is_orphaned("0123456789abcdef"));
        assert!(!is_orphaned("0123456789abcdef.1-2.4194304.77"));
    }
}
