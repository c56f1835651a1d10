//! The verbs. The engine orders the rooms below and owns no format.

pub mod api;
pub mod filter;
pub mod host;

use api::{Event, Failure, FailureKind, Reply, Request, Settings};

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
        let _ = (request, events, &self.settings);
        Err(Failure::say(FailureKind::Internal, "this verb is being written"))
    }
}
