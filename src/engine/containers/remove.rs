//! `rm`, and the end of `--rm`.

use super::reconcile;
use crate::engine::api::{ContainerRemoved, Failure, FailureKind, RemoveContainer};
use crate::engine::{Engine, happenings};
use crate::model::id::ContainerId;
use crate::model::lifecycle::Lifecycle;
use crate::store::{Access, Durability, Store};

impl Engine {
    pub(in crate::engine) fn remove_container(&self, remove: &RemoveContainer) -> Result<ContainerRemoved, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, &remove.name)?;
        match &container.lifecycle {
            Lifecycle::Running { init, .. } | Lifecycle::Paused { init, .. } if remove.force => {
                reconcile::kill(init);
                wait_until_free(&store, &container.id)?;
            }
            Lifecycle::Running { .. } | Lifecycle::Paused { .. } | Lifecycle::Restarting { .. } => {
                let message = format!("container {} is {}", container.name, container.lifecycle.word());
                return Err(
                    Failure::say(FailureKind::Conflict, message).hint(format!("pybox rm -f {}", container.name))
                );
            }
            Lifecycle::Created | Lifecycle::Stopped { .. } => {}
        }
        self.discard_container(&store, &container.id, Durability::Durable)?;
        Ok(ContainerRemoved { id: container.id })
    }

    /// Removes the row, then the files.
    ///
    /// # Errors
    /// What the store or the worker says; a row that is gone stays gone.
    pub(super) fn discard_container(
        &self,
        store: &Store,
        id: &ContainerId,
        durability: Durability,
    ) -> Result<(), Failure> {
        if let Some(gone) = store.remove_container(id, durability)? {
            happenings::destroyed(store, id, &gone);
        }
        let foreign = store.remove_bundle(id)?;
        self.remove_foreign(&foreign)
    }
}

/// Waits until the monitor has let go of the bundle, for five seconds at most.
fn wait_until_free(store: &Store, id: &ContainerId) -> Result<(), Failure> {
    let Ok(bundle) = store.open_bundle(id) else { return Ok(()) };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        if rustix::fs::flock(&bundle, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
        if std::time::Instant::now() > patience {
            return Err(Failure::say(FailureKind::Conflict, format!("container {} does not end", id.short())));
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
