//! Names for a shell that completes words: rows and locks are read, and nothing is folded in.

use super::Engine;
use super::api::{Failure, ListNames, Named};
use super::containers::has_owner;
use crate::store::Access;

impl Engine {
    pub(super) fn list_names(&self, list: ListNames) -> Result<Vec<Named>, Failure> {
        let store = self.store(Access::Read)?;
        let mut rows = store.list_containers()?;
        rows.retain(|row| !list.running || has_owner(&store, &row.id));
        Ok(rows.into_iter().map(|row| Named { id: row.id, name: row.name }).collect())
    }
}
