//! `update`.

use super::rename::{keep_copy, tell_monitor};
use super::{create, limits};
use crate::engine::api::{Event, Failure, FailureKind, UpdateContainer, Updated};
use crate::engine::{Engine, happenings, host};
use crate::model::supervision::RestartPolicy;
use crate::monitor::protocol::Control;
use crate::store::Access;

impl Engine {
    /// Changes settings of a container.
    ///
    /// # Errors
    /// If there is no such container, or what is asked for cannot be held.
    pub(in crate::engine) fn update_container(
        &self,
        update: &UpdateContainer,
        events: &mut dyn FnMut(Event),
    ) -> Result<Updated, Failure> {
        limits::check(&update.limits, host::cgroup_version())?;
        let store = self.store(Access::Write)?;
        let found = self.find_container(&store, &update.container)?;
        let Some(restart) = update.restart else { return Ok(Updated { id: found.id }) };
        if found.auto_remove && restart != RestartPolicy::No {
            let message = format!("container {} is removed when it ends, so it cannot start again", found.name);
            return Err(Failure::say(FailureKind::Conflict, message).hint("create it without --rm".to_owned()));
        }
        let durability = create::durability(&found.request);
        let container = store.change_request(&found.id, durability, |request| request.restart = restart)?;
        keep_copy(&store, &container, events);
        if found.lifecycle.is_alive() {
            tell_monitor(&store, &container, &Control::Update { restart }, events);
        }
        happenings::of_container(&store, "update", &container);
        Ok(Updated { id: container.id })
    }
}
