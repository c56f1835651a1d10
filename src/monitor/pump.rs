//! Output of the program.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::connections::Id;
use super::stream::{Sink, Stream, Turn};

/// The streams.
#[derive(Debug)]
pub struct Pump {
    idle: Vec<OwnedFd>,
    streams: Vec<Stream>,
    by: Option<Id>,
}

impl Pump {
    /// From these.
    pub fn new(output: OwnedFd, error: Option<OwnedFd>) -> Self {
        Self { idle: [output].into_iter().chain(error).collect(), streams: Vec::new(), by: None }
    }

    /// Connects a caller.
    pub fn attach(&mut self, id: Id, output: Sink, error: Sink) {
        let idle = std::mem::take(&mut self.idle);
        let mut sinks = [output, error].into_iter();
        self.by = Some(id);
        for (fd, sink) in idle.into_iter().zip(&mut sinks) {
            self.streams.push(Stream::new(fd, sink));
        }
    }

    /// Lets go of one.
    pub fn detach(&mut self, id: Id) {
        if self.by == Some(id) {
            for stream in &mut self.streams {
                if let Ok(null) = super::attached::null_device() {
                    stream.redirect(Sink::own(null));
                }
            }
        }
    }

    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.streams.iter().map(Stream::interest)
    }

    /// Whether all is handed on.
    pub fn is_drained(&self) -> bool {
        self.streams.is_empty()
    }

    /// A turn.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) {
        let done = |stream: &mut Stream| !matches!(stream.turn(), Ok(Turn::Open));
        self.streams.retain_mut(|stream| !(ready(stream.interest().0) && done(stream)));
    }
}
