//! The database: one connection, one file a table.
//!
//! Every write is one `BEGIN IMMEDIATE` transaction that ends by scope, so no
//! upgrade from reading to writing can find the database locked. Rows hold what
//! has to be found or be unique; bytes live in files.

pub(super) mod containers;
pub(super) mod digests;
pub(super) mod image_layers;
pub(super) mod images;
pub(super) mod layers;
pub(super) mod leases;
pub(super) mod manifests;
pub(super) mod open;
pub(super) mod schema;
pub(super) mod tags;
mod values;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Durability;
use super::error::StoreError;

/// An open database.
#[derive(Debug)]
pub(super) struct Db {
    connection: Connection,
    path: PathBuf,
    /// Whether this process may write: a database in memory stands for a store that does not exist.
    writable: bool,
    /// What `PRAGMA synchronous` was last set to.
    synchronous: Cell<Option<Durability>>,
}

/// What ends a transaction without commit.
#[derive(Debug)]
pub(super) enum Abort {
    /// SQLite refused.
    Sql(rusqlite::Error),
    /// We do.
    Store(StoreError),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Abort {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Db {
    /// Reads in one snapshot.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Abort>) -> Result<T, StoreError> {
        // Deferred: a snapshot for all the statements, and never a write lock.
        let snapshot = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)
            .map_err(|error| StoreError::database(&self.path, error))?;
        work(&snapshot).map_err(|abort| self.explain(abort))
    }

    /// Writes in one transaction; an error rolls all of it back.
    pub(super) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, Abort>,
    ) -> Result<T, StoreError> {
        if !self.writable {
            return Err(StoreError::ReadOnly { path: self.root().into() });
        }
        let run = || {
            self.synchronise(durability)?;
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|abort| self.explain(abort))
    }

    /// A commit of [`Durability::Throwaway`] may be lost in a power cut, never
    /// torn: with the write-ahead log, NORMAL costs no fsync either, and unlike
    /// OFF it cannot damage what others had committed before.
    fn synchronise(&self, durability: Durability) -> Result<(), Abort> {
        if self.synchronous.get() == Some(durability) {
            return Ok(());
        }
        if self.synchronous.get().is_none() {
            self.bound_log()?;
        }
        self.connection.execute_batch(match durability {
            Durability::Durable => "PRAGMA synchronous = FULL",
            Durability::Throwaway => "PRAGMA synchronous = NORMAL",
        })?;
        self.synchronous.set(Some(durability));
        Ok(())
    }

    fn explain(&self, abort: Abort) -> StoreError {
        match abort {
            Abort::Sql(error) => StoreError::database(&self.path, error),
            Abort::Store(error) => error,
        }
    }

    fn root(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}
