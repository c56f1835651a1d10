//! `rename`.

use std::os::fd::AsFd as _;

use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, RenameContainer, Renamed};
use crate::engine::happenings;
use crate::model::event::Kind;
use crate::monitor::client::Session;
use crate::monitor::protocol::{self, Control};
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::{Access, Store};

impl Engine {
    /// Gives a container another name.
    ///
    /// # Errors
    /// If there is no such container, or the name is another's or its own already.
    pub(in crate::engine) fn rename_container(
        &self,
        rename: &RenameContainer,
        events: &mut dyn FnMut(Event),
    ) -> Result<Renamed, Failure> {
        let store = self.store(Access::Write)?;
        let mut container = self.find_container(&store, &rename.container)?;
        let (old, new) = (container.name.clone(), rename.name.clone());
        if old == new {
            let message = format!("container {} has the name {new} already", container.id.short());
            return Err(Failure::say(FailureKind::Conflict, message).hint("pybox ps --all".to_owned()));
        }
        store.rename_container(&container.id, &new).map_err(|error| {
            let hint = format!("pybox rename {new} ANOTHER, or pybox rm {new}");
            Failure { hint: Some(hint), ..error.into() }
        })?;
        container.name = new;
        keep_copy(&store, &container, events);
        if container.lifecycle.is_alive() {
            tell_monitor(&store, &container, &Control::Rename { name: container.name.to_string() }, events);
            if let Some(membership) = self.membership(&store, &container)? {
                // Others on its networks call it by its new name.
                tell_monitor(&store, &container, &Control::Networks { plugs: membership.plugs }, events);
            }
        }
        let more = [("oldName", format!("/{old}"))];
        let attributes = happenings::attributes_of(&container).into_iter();
        let attributes: Vec<_> = attributes.chain(more.map(|(name, value)| (name.to_owned(), value))).collect();
        let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.clone()));
        self.tell(Kind::Container, "rename", container.id.as_str(), attributes);
        Ok(Renamed { id: container.id, old })
    }
}

/// Writes the row's copy in the bundle again; the row is what counts.
pub(in crate::engine) fn keep_copy(store: &Store, container: &Container, events: &mut dyn FnMut(Event)) {
    let copied = store.open_bundle(&container.id).and_then(|bundle| bundle.keep(container));
    if let Err(error) = copied {
        events(Event::Warning(Failure::from(error).to_string()));
    }
}

/// Tells a running monitor what has changed; the row has it in any case.
pub(super) fn tell_monitor(store: &Store, container: &Container, change: &Control, events: &mut dyn FnMut(Event)) {
    let told = store
        .open_bundle(&container.id)
        .map_err(Failure::from)
        .and_then(|bundle| ask(&bundle, change).map_err(Failure::from));
    match told {
        Ok(None) => {}
        Ok(Some(why)) => events(Event::Warning(format!("the monitor of {}: {why}", container.name))),
        Err(failure) => events(Event::Warning(format!("tell the monitor of {}: {failure}", container.name))),
    }
}

/// The same, where it has to be done.
///
/// # Errors
/// With what the monitor says.
pub(in crate::engine) fn order_monitor(store: &Store, container: &Container, change: &Control) -> Result<(), Failure> {
    match ask(&store.open_bundle(&container.id)?, change)? {
        None => Ok(()),
        Some(why) => Err(Failure::say(FailureKind::Host, why)),
    }
}

/// Says why it was not done, if it was not.
fn ask(bundle: &Bundle, change: &Control) -> Result<Option<String>, protocol::WireError> {
    let session = Session::connect(bundle.as_fd())?;
    session.control(change)?;
    loop {
        match session.next() {
            Ok(protocol::Event::Failed { message, .. }) => return Ok(Some(message)),
            // One that has ended meanwhile does not care.
            Ok(protocol::Event::Done | protocol::Event::Exited { .. }) | Err(protocol::WireError::Closed) => {
                return Ok(None);
            }
            Ok(protocol::Event::Started { .. } | protocol::Event::Executed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}
