//! The way from a verb to the engine: every question goes through [`Backend::call`].

use crate::engine::Engine;
use crate::engine::api::{Call, Event, Failure, Settings};

/// Where the engine is.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In this process.
    Local(Engine),
}

impl Backend {
    /// The engine in this process; nothing is opened yet.
    pub(crate) fn local(settings: Settings) -> Self {
        Self::Local(Engine::new(settings))
    }

    /// Asks, hears events on the way, and returns the answer.
    ///
    /// # Errors
    /// With what went wrong.
    pub(crate) fn call<C: Call>(&self, question: C, events: &mut dyn FnMut(Event)) -> Result<C::Answer, Failure> {
        match self {
            Self::Local(engine) => C::Answer::try_from(engine.call(question.into(), events)?),
        }
    }
}
