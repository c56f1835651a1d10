//! `commit`: the container's side of it.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use super::act;
use super::changes::open_upper;
use super::copy::pipe;
use super::made::Made;
use super::view;
use crate::engine::api::{Commit, Committed, Event, Failure, FailureKind};
use crate::engine::images::pressing::Press;
use crate::engine::{Engine, happenings};
use crate::monitor::protocol::Control;
use crate::snapshot::worker::Worker;
use crate::snapshot::worker::view::{Stage, Task};
use crate::store::containers::Container;
use crate::store::{Access, Store};
use crate::sys::failpoint;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

impl Engine {
    pub(in crate::engine) fn commit_container(
        &self,
        commit: &Commit,
        events: &mut dyn FnMut(Event),
    ) -> Result<Committed, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, &commit.name)?;
        let holds = commit.pause && container.lifecycle.init().is_some();
        // Only while its files are read: whatever else goes wrong finds the container as it was. And it is frozen
        // only as long as we are there: it goes on if we are killed.
        let fill = |press: &mut Press| {
            // One that ends meanwhile needs not be held, and no harm is done.
            let ended = || self.find_container(&store, &commit.name).is_ok_and(|now| now.lifecycle.init().is_none());
            let held = match holds.then(|| act::hold(&store, &container)).transpose() {
                Err(_) if ended() => None,
                held => held?,
            };
            failpoint::reach!("commit.paused");
            let filled = self.fill(&store, &container, press);
            let goes_on = held.as_ref().map_or(Ok(()), |session| act::freeze(session, &container, &Control::Unpause));
            // That it cannot go on is not to be passed over.
            goes_on.or_else(|failure| if ended() { Ok(()) } else { Err(failure) }).and(filled)
        };
        let id = self.commit_image(&store, (&container, commit), fill, events)?;
        happenings::of_container(&store, "commit", &container);
        Ok(Committed { id })
    }

    /// Writes what the container has changed as the archive of a layer.
    fn fill(&self, store: &Store, container: &Container, press: &mut Press) -> Result<(), Failure> {
        let bundle = store.open_bundle(&container.id)?;
        let made = Made::read(container, &bundle)?;
        let (_, layered) = view::layered(container, &made)?;
        let (upper, work, (reader, writer)) = (open_upper(&layered.upper)?, open_upper(&layered.work)?, pipe()?);
        let recorded = layered.layers.owners.are_recorded();
        let task = Task::Layer { recorded, latest: None, stubs: Vec::new() };
        let work = recorded.then(|| work.as_fd());
        let fds: Vec<_> = [upper.as_fd()].into_iter().chain(work).chain([writer.as_fd()]).collect();
        let worker = self.worker_of(made.map()).view(Stage::Directory, task, &fds)?;
        drop(writer);
        receive(reader, worker, press).map(drop)
    }
}

/// Brings the archive that `worker` writes into `press`, and says how many entries it has.
///
/// # Errors
/// What the worker or the store says.
pub(super) fn receive(reader: OwnedFd, worker: Worker, press: &mut Press) -> Result<u64, Failure> {
    let mut reader = std::fs::File::from(reader);
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(worker.done()?),
            Ok(count) => {
                press.append(buffer.get(..count).unwrap_or_default())?;
                failpoint::reach!("commit.spooling");
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::say(FailureKind::Host, format!("read the container's changes: {error}")));
            }
        }
    }
}
