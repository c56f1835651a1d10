//! The root file system of a container, for verbs that copy, compare or keep files of it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::made::Made;
use super::{act, reconcile};
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::model::host::{HostFacts, IdMap};
use crate::model::lifecycle::ProcessIdentity;
use crate::model::storage::StorageDriver;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::recipe::Layered;
use crate::snapshot::worker::view::{Bind, Looked, Stage, Task};
use crate::snapshot::worker::{Ids, Worker, WorkerProgram};
use crate::store::Store;
use crate::store::bundle::Bundle;
use crate::store::containers::Container;

/// How long a monitor that has told its end may take to be gone.
const SHORTLY: Duration = Duration::from_millis(500);

/// What is to be done with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They are read.
    Read,
    /// Some are written.
    Write,
    /// The container's own are read, without what is mounted in it.
    ReadOwn,
}

/// A way into a container.
pub(super) struct View {
    program: WorkerProgram,
    stage: Stage,
    process: Option<OwnedFd>,
    /// Kept as long as its root is mounted: nobody starts the container meanwhile.
    _bundle: Bundle,
}

impl Engine {
    /// A way into `container`.
    ///
    /// # Errors
    /// If it is being started or its bundle is damaged.
    pub(super) fn view(&self, store: &Store, container: &Container, purpose: Purpose) -> Result<View, Failure> {
        let bundle = store.open_bundle(&container.id)?;
        let made = Made::read(container, &bundle)?;
        let program = self.worker_of(made.map());
        if let Some(process) = first_process(&bundle) {
            let stage = Stage::Joined { user: made.map().is_some() };
            return Ok(View { program, stage, process: Some(process), _bundle: bundle });
        }
        let (driver, Layered { mut layers, upper, work, .. }) = layered(container, &made)?;
        // Ours alone shows whose the files of the layers are; and it has an upper directory for itself.
        let is_served = driver != StorageDriver::Overlay;
        if (purpose != Purpose::ReadOwn || is_served) && !act::wait_until_free(&bundle, SHORTLY) {
            let sentence = format!("container {} is between two starts", container.name);
            return Err(Failure::say(FailureKind::Conflict, sentence).hint("try again: pybox ps -a".to_owned()));
        }
        let binds = made.bound().into_iter().filter(|_| purpose != Purpose::ReadOwn);
        let binds = binds.map(|bound| Bind { source: bound.source, target: bound.target, read_only: bound.read_only });
        let writable = if purpose == Purpose::ReadOwn && !is_served {
            // The kernel wants an upper directory for itself, and it may have one that starts just now.
            layers.lower.insert(0, upper);
            None
        } else {
            // Places to mount on may have to be made, as they are at a start.
            Some((upper, work))
        };
        let driver = match (purpose, driver) {
            (Purpose::ReadOwn, StorageDriver::Hybrid) => StorageDriver::Fuse,
            (_, driver) => driver,
        };
        let stage = Stage::Mounted { driver, layers, writable, binds: binds.collect(), place: bundle.rootfs() };
        Ok(View { program, stage, process: None, _bundle: bundle })
    }

    /// Workers with the ids of a container.
    pub(super) fn worker_of(&self, map: Option<IdMap>) -> WorkerProgram {
        let ids = map.map_or(Ids::Own, Ids::mapped);
        WorkerProgram::new(self.settings.program.clone(), ids)
    }

    /// A worker for a container of these facts.
    pub(super) fn worker_for(&self, facts: &HostFacts) -> WorkerProgram {
        self.worker_of(facts.user_namespace.then(|| facts.id_map.clone()))
    }
}

impl View {
    /// What `path` is.
    ///
    /// # Errors
    /// What the worker says.
    pub(super) fn look(&self, path: &Path) -> Result<Looked, SnapshotError> {
        let process: Vec<_> = self.process.iter().map(|process| process.as_fd()).collect();
        self.program.look(self.stage.clone(), path.to_owned(), &process)
    }

    /// Begins `task`, which reads or writes `streams`.
    ///
    /// # Errors
    /// If no worker can be started.
    pub(super) fn start(&self, task: Task, streams: &[BorrowedFd<'_>]) -> Result<Worker, SnapshotError> {
        let process = self.process.iter().map(|process| process.as_fd());
        let fds: Vec<_> = process.chain(streams.iter().copied()).collect();
        self.program.view(self.stage.clone(), task, &fds)
    }
}

/// What a container is made of, and by whom.
///
/// # Errors
/// [`FailureKind::Corrupt`] if that is not known.
pub(super) fn layered(container: &Container, made: &Made) -> Result<(StorageDriver, Layered), Failure> {
    let recipe = made.recipe();
    let parts = recipe.as_ref().and_then(|recipe| Some((recipe.driver()?, recipe.layered()?.clone())));
    parts.ok_or_else(|| Failure::say(FailureKind::Corrupt, format!("container {} has no layers", container.name)))
}

/// The first process, if it runs.
fn first_process(bundle: &Bundle) -> Option<OwnedFd> {
    let (init, _) = reconcile::processes(bundle)?;
    let init: ProcessIdentity = init?;
    reconcile::held(&init)
}
