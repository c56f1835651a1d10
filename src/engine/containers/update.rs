//! `update`.

use super::rename::{keep_copy, order_monitor, tell_monitor};
use super::{cgroup, create, limits, start};
use crate::cgroup::settings;
use crate::engine::api::{Event, Failure, FailureKind, UpdateContainer, Updated};
use crate::engine::{Engine, happenings};
use crate::model::limits::{CgroupDriver, Limits};
use crate::model::supervision::RestartPolicy;
use crate::monitor::protocol::Control;
use crate::store::containers::Container;
use crate::store::{Access, Store};

impl Engine {
    /// Changes settings of a container: what holds for it now, and what is noted for its next start.
    ///
    /// # Errors
    /// If there is no such container, or what is asked for cannot be held.
    pub(in crate::engine) fn update_container(
        &self,
        update: &UpdateContainer,
        events: &mut dyn FnMut(Event),
    ) -> Result<Updated, Failure> {
        let store = self.store(Access::Write)?;
        let found = self.find_container(&store, &update.container)?;
        if let Some(restart) = update.restart
            && found.auto_remove
            && restart != RestartPolicy::No
        {
            let message = format!("container {} is removed when it ends, so it cannot start again", found.name);
            return Err(Failure::say(FailureKind::Conflict, message).hint("create it without --rm".to_owned()));
        }
        let limits = self.hold(&store, &found, &update.limits)?;
        let durability = create::durability(&found.request);
        let container = store.change_request(&found.id, durability, |request| {
            request.restart = update.restart.unwrap_or(request.restart);
            request.limits = limits;
        })?;
        keep_copy(&store, &container, events);
        if let Some(restart) = update.restart.filter(|_| found.lifecycle.is_alive()) {
            tell_monitor(&store, &container, &Control::Update { restart }, events);
        }
        happenings::of_container(&store, "update", &container);
        Ok(Updated { id: container.id })
    }

    /// Holds a container to what is asked for from now on; all that it is held to then.
    fn hold(&self, store: &Store, container: &Container, asked: &Limits) -> Result<Limits, Failure> {
        let mut asked = asked.clone();
        limits::find_devices(&mut asked)?;
        let limits = container.request.limits.updated(&asked);
        if asked == Limits::default() {
            return Ok(limits);
        }
        let mut wanted = container.request.clone();
        wanted.limits = limits.clone();
        cgroup::check(&wanted, &self.choose_cgroup(&wanted)?)?;
        if container.lifecycle.is_alive() {
            let seat = cgroup::seat(store, &container.id);
            let mut settings = settings::settings(&limits);
            if seat.is_some_and(|seat| seat.driver != CgroupDriver::Scope) {
                settings.extend(settings::weights(&limits).settings());
            } else {
                self.change_weights(&container.id, &asked)?;
            }
            order_monitor(store, container, &Control::Limit { settings })?;
        }
        start::rewrite_limits(store, container, &limits)?;
        Ok(limits)
    }
}
