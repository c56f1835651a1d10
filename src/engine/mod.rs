//! The verbs. The engine orders the rooms below and owns no format.

pub mod api;
pub mod filter;
pub mod host;

mod containers;
mod failures;
mod foreign;
mod images;
mod info;

use api::{Event, Failure, FailureKind, Reply, Request, Settings};

use crate::store::{Access, Store};

/// The engine, in this process.
///
/// Making one costs nothing: the store is opened, and the host is looked at,
/// when a request needs them.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// An engine for these surroundings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Does what is asked, and tells `events` about it on the way.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub fn call(&self, request: Request, events: &mut dyn FnMut(Event)) -> Result<Reply, Failure> {
        match request {
            Request::Run(run) => self.run(&run.request, events).map(Into::into),
            Request::Pull(pull) => self.pull(&pull, events).map(Into::into),
            Request::ListContainers(list) => self.list_containers(&list).map(Into::into),
            Request::RemoveContainer(remove) => self.remove_container(&remove).map(Into::into),
            Request::GetInfo(_) => Ok(self.info().into()),
            _ => Err(Failure::say(FailureKind::Internal, "this verb is being written")),
        }
    }

    fn store(&self, access: Access) -> Result<Store, Failure> {
        Ok(Store::open(&self.settings.root, access)?)
    }
}
