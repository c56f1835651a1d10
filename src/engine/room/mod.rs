//! Room on the disk: what takes it, and how to get it back.

mod prune;
mod usage;

use std::path::Path;

use super::Engine;
use super::api::Failure;
use crate::snapshot::measure;

impl Engine {
    /// The bytes of the files below `path`, whoever of the user's ids owns them.
    ///
    /// # Errors
    /// What the file system or the worker says.
    pub(in crate::engine) fn measure(&self, path: &Path) -> Result<u64, Failure> {
        Ok(measure::measure(path, || self.worker().ok())?)
    }
}
