//! What could not be kept: counted, the first of each kind told.

use crate::snapshot::tar::entry::EntryPath;
use crate::snapshot::worker::{Warning, WarningKind};

/// The warnings of one layer, at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Counts one more of `kind`; `of` tells what, for the first.
    pub(super) fn add(&mut self, kind: WarningKind, path: &EntryPath, of: &str) {
        match self.0.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.count += 1,
            None => self.0.push(Warning { kind, count: 1, example: format!("{path}: {of}") }),
        }
    }

    pub(super) fn into_list(self) -> Vec<Warning> {
        self.0
    }
}
