//! Files that belong to ids which are ours only inside a user namespace.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::Engine;
use super::api::{DriverState, Failure, FailureKind};
use crate::engine::host;
use crate::model::container::UserNamespace;
use crate::snapshot::failure::{Failure as Job, SnapshotError};
use crate::snapshot::worker::{Ids, WorkerProgram};
use crate::sys::idmap::MapError;

impl Engine {
    /// Workers with all the ids that containers of ours have.
    ///
    /// # Errors
    /// If the user has no id ranges, or there is no program to map them with.
    pub(super) fn worker(&self) -> Result<WorkerProgram, Failure> {
        let ids = match host::id_map(&UserNamespace::Default)? {
            Some(map) => Ids::mapped(map),
            None => Ids::Own,
        };
        Ok(WorkerProgram::new(self.settings.program.clone(), ids))
    }

    /// Removes directories that the store could not remove.
    ///
    /// # Errors
    /// With the directory that is left.
    pub(super) fn remove_foreign(&self, directories: &[PathBuf]) -> Result<(), Failure> {
        if directories.is_empty() {
            return Ok(());
        }
        let worker = self.worker()?;
        for path in directories {
            let failed =
                |error: std::io::Error| Failure::say(FailureKind::Store, format!("remove {}: {error}", path.display()));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
            worker.empty(directory.as_fd())?;
            std::fs::remove_dir(path).map_err(failed)?;
        }
        Ok(())
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            SnapshotError::Job(Job::NoSpace { .. }) => FailureKind::NoSpace,
            SnapshotError::Job(Job::Io { .. }) | SnapshotError::Io { .. } => FailureKind::Store,
            SnapshotError::Job(_) | SnapshotError::TooManyLayers(_) => FailureKind::Corrupt,
            SnapshotError::Spawn(_) | SnapshotError::Namespaces(_) | SnapshotError::Map(_) => FailureKind::Host,
            SnapshotError::Lost(_) | SnapshotError::Wire(_) => FailureKind::Internal,
        };
        let hint = match kind {
            FailureKind::Corrupt => {
                Some("do not use this image; ask its publisher for one whose layers are sound".to_owned())
            }
            _ => remedy(&error),
        };
        Self::new(kind, &error).hint(hint)
    }
}

/// What a host lacks where no worker can be made, and how to get it.
pub(super) fn remedy(error: &SnapshotError) -> Option<String> {
    match error {
        SnapshotError::Namespaces(error) => match (host::probe::user_namespaces(), error.raw_os_error()) {
            (DriverState::Unfit { hint, .. }, _) => hint,
            (_, Some(libc::ENOSPC)) => Some("raise the limit: sudo sysctl user.max_user_namespaces=28633".to_owned()),
            _ => Some("pybox info".to_owned()),
        },
        SnapshotError::Map(MapError::Start(..)) => Some(host::install_helpers()),
        SnapshotError::Map(MapError::Refused(..)) => {
            Some("compare /etc/subuid and /etc/subgid with the ranges that `pybox info` shows".to_owned())
        }
        _ => None,
    }
}
