//! `rm`, and the end of `--rm`.

use std::time::Duration;

use super::act;
use crate::engine::api::{ContainerRemoved, Failure, FailureKind, RemoveContainer};
use crate::engine::{Engine, happenings};
use crate::model::id::ContainerId;
use crate::store::containers::Container;
use crate::store::{Access, Durability, Store};
use crate::sys::failpoint;

/// How long a monitor that has told its end may take to be gone.
const SHORTLY: Duration = Duration::from_millis(500);

impl Engine {
    pub(in crate::engine) fn remove_container(&self, remove: &RemoveContainer) -> Result<ContainerRemoved, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, &remove.name)?;
        // Held until it is gone: nobody starts it meanwhile.
        let bundle = store.open_bundle(&container.id).ok();
        if let Some(bundle) = &bundle {
            if remove.force {
                act::kill_for_good(bundle, &container)?;
            } else if container.lifecycle.is_alive() || !act::wait_until_free(bundle, SHORTLY) {
                return Err(in_use(&container));
            }
        }
        // What was started and has ended since we looked is a row like any other.
        store.find_container(container.id.as_str())?;
        self.discard_container(&store, &container.id, Durability::Durable)?;
        if remove.volumes {
            self.discard_volumes(&store, &container.request);
        }
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
        failpoint::reach!("remove.begun");
        let mut gone_with = None;
        if let Some(gone) = store.remove_container(id, durability)? {
            happenings::destroyed(store, id, &gone);
            gone_with = Some(gone);
        }
        failpoint::reach!("remove.row_gone");
        let foreign = store.remove_bundle(id)?;
        failpoint::reach!("remove.bundle_gone");
        let removed = self.remove_foreign(&foreign);
        store.renew_reserve();
        failpoint::reach!("remove.files_gone");
        if let Some(gone) = gone_with.filter(|gone| gone.request.remove) {
            // As docker has it, --rm is -v too.
            self.discard_volumes(store, &gone.request);
        }
        removed
    }
}

/// Docker's sentence for a container that has to be stopped first.
fn in_use(container: &Container) -> Failure {
    let state = if container.lifecycle.is_alive() { container.lifecycle.word() } else { "being started" };
    Failure::say(FailureKind::Conflict, format!("container {} is {state}", container.name))
        .hint(format!("pybox rm -f {}", container.name))
}
