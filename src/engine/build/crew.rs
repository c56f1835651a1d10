//! Who makes the stages of a build: as many threads as there are processors, at most.
//!
//! Each has a connection to the store of its own, for one cannot be shared. The thread that has begun the build makes no
//! stage: it hands them out, tells what is to be told, and listens for signals, which all others have blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{Common, Made, Site};
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::attach::Signals;
use crate::engine::halt::{self, ENDING, Halt, PATIENCE};
use crate::store::{Access, Store};

/// Of a line that never ends so much is shown at a time.
const LONGEST_LINE: usize = 16 << 10;
/// A command that writes faster than its lines can be shown waits.
const MOST_WAITING: usize = 256;
/// A stage to be made.
struct Job {
    index: usize,
    /// What it needs of others.
    stages: BTreeMap<usize, Made>,
}

/// What is told to the thread that has begun.
enum Told {
    /// For whoever watches; then who has told it goes on.
    Event(Event, SyncSender<()>),
    /// A line of a command.
    Said(Event),
    /// A stage is made, or not.
    Done(usize, Box<Result<Made, Failure>>),
}

/// Says something to the thread that has begun, which waits for a descriptor.
#[derive(Clone)]
struct Bell<'c> {
    told: SyncSender<Told>,
    rings: &'c OwnedFd,
}

impl Bell<'_> {
    fn tell(&self, told: Told) {
        if self.told.send(told).is_ok() {
            // A counter that is full rings already.
            let _ = rustix::io::write(self.rings, &1_u64.to_ne_bytes());
        }
    }

    /// Comes back when it is written down: what a command says itself comes after it.
    fn event(&self, event: Event) {
        let (done, written) = sync_channel(1);
        self.tell(Told::Event(event, done));
        let _ = written.recv();
    }
}

/// A thread that makes stages.
struct Member<'scope> {
    jobs: Sender<Job>,
    busy: bool,
    index: Option<usize>,
    thread: ScopedJoinHandle<'scope, Store>,
}

/// Makes all stages that the plan has; gives back `store`, which one of the threads has used.
pub(super) fn make(
    common: &Common<'_>,
    store: Store,
    events: &mut dyn FnMut(Event),
) -> (Option<Store>, Result<BTreeMap<usize, Made>, Failure>) {
    let internal = |error| Failure::say(FailureKind::Internal, format!("make a descriptor for events: {error}"));
    let rings = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(internal);
    let (rings, signals) = match rings.and_then(|rings| Ok((rings, Signals::block()?))) {
        Ok(both) => both,
        Err(failure) => return (Some(store), Err(failure)),
    };
    let (tell, told) = sync_channel(MOST_WAITING);
    let bell = Bell { told: tell, rings: &rings };
    std::thread::scope(|scope| {
        let (done, begun, members) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let mut foreman =
            Foreman { common, scope, bell, told, signals, store: Some(store), members, begun, done, failure: None };
        let finished = foreman.work(events).inspect_err(|_| common.ledger.stop());
        let Foreman { members, signals, mut store, done, failure, told, .. } = foreman;
        // Nobody listens any more, and nobody is to wait for that.
        drop(told);
        for Member { jobs, thread, .. } in members {
            drop(jobs);
            // Any connection will do.
            store = thread.join().ok().or(store);
        }
        let released = signals.release();
        (store, failure.map_or(finished.and(released), Err).map(|()| done))
    })
}

/// The thread that has begun.
struct Foreman<'scope, 'env> {
    common: &'env Common<'env>,
    scope: &'scope Scope<'scope, 'env>,
    bell: Bell<'env>,
    told: Receiver<Told>,
    signals: Signals,
    /// For the first thread.
    store: Option<Store>,
    members: Vec<Member<'scope>>,
    begun: BTreeSet<usize>,
    done: BTreeMap<usize, Made>,
    /// The first one.
    failure: Option<Failure>,
}

impl Foreman<'_, '_> {
    /// Hands stages out until there is none left, or something has failed and nobody works any more.
    fn work(&mut self, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let mut ends_by = None;
        loop {
            if self.failure.is_none()
                && let Err(failure) = self.hand_out()
            {
                self.fail(failure);
            }
            if !self.members.iter().any(|member| member.busy) {
                return Ok(());
            }
            self.wait(ends_by)?;
            let mut signal = None;
            while let Some(number) = self.signals.take() {
                signal = Some(number).filter(|number| ENDING.contains(number)).or(signal);
            }
            let late = ends_by.is_some_and(|(by, _)| Instant::now() >= by);
            if let Some(number) = signal.or(ends_by.map(|(_, number)| number)).filter(|_| late || signal.is_some()) {
                if ends_by.is_some() {
                    // Asked twice, or in vain: as if nobody had listened.
                    return halt::give_in(number);
                }
                ends_by = Some((Instant::now() + PATIENCE, number));
                self.fail(Halt::failure());
            }
            while let Ok(told) = self.told.try_recv() {
                self.hear(told, events);
            }
        }
    }

    /// Gives stages that can be made to threads that have nothing to do.
    fn hand_out(&mut self) -> Result<(), Failure> {
        let done = self.done.keys().copied().collect();
        for index in self.common.plan.ready(&self.begun, &done) {
            let Some(member) = self.idle()? else { return Ok(()) };
            let needs = self.common.plan.needs.get(index).into_iter().flatten();
            let stages = needs.filter_map(|need| Some((*need, self.done.get(need)?.clone()))).collect();
            let Some(member) = self.members.get_mut(member) else { return Ok(()) };
            if member.jobs.send(Job { index, stages }).is_err() {
                return Err(Failure::say(FailureKind::Internal, "a thread of the build has gone"));
            }
            (member.busy, member.index) = (true, Some(index));
            self.begun.insert(index);
        }
        Ok(())
    }

    /// A thread that has nothing to do, made if there may be one more.
    fn idle(&mut self) -> Result<Option<usize>, Failure> {
        if let Some(idle) = self.members.iter().position(|member| !member.busy) {
            return Ok(Some(idle));
        }
        if self.members.len() >= self.common.at_once {
            return Ok(None);
        }
        let store = match self.store.take() {
            Some(store) => store,
            None => self.common.engine.store(Access::Write)?,
        };
        let (jobs, orders) = channel();
        let (common, bell) = (self.common, self.bell.clone());
        let thread = self.scope.spawn(move || serve(common, store, &orders, &bell));
        self.members.push(Member { jobs, busy: false, index: None, thread });
        Ok(Some(self.members.len() - 1))
    }

    /// Until there is something to hear.
    fn wait(&self, ends_by: Option<(Instant, i32)>) -> Result<(), Failure> {
        let (rings, signals) = (self.bell.rings.as_fd(), self.signals.as_fd());
        let mut fds = [PollFd::new(&rings, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match rustix::event::poll(&mut fds, halt::left(ends_by).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::say(FailureKind::Internal, format!("poll: {error}"))),
        }
        let _ = rustix::io::read(self.bell.rings, &mut [0; 8]);
        Ok(())
    }

    fn hear(&mut self, told: Told, events: &mut dyn FnMut(Event)) {
        match told {
            Told::Event(event, written) => {
                events(event);
                let _ = written.send(());
            }
            Told::Said(event) => events(event),
            Told::Done(index, made) => {
                if let Some(member) = self.members.iter_mut().find(|member| member.index == Some(index)) {
                    (member.busy, member.index) = (false, None);
                }
                match *made {
                    Ok(made) => drop(self.done.insert(index, made)),
                    Err(failure) => self.fail(failure),
                }
            }
        }
    }

    /// The first failure is the one to tell; it ends the others.
    fn fail(&mut self, failure: Failure) {
        self.common.ledger.stop();
        self.failure.get_or_insert(failure);
    }
}

/// What a thread does: one stage after the other.
fn serve(common: &Common<'_>, store: Store, jobs: &Receiver<Job>, bell: &Bell<'_>) -> Store {
    while let Ok(job) = jobs.recv() {
        let index = job.index;
        let made = if common.prefixed {
            with_lines(common, &store, job, bell)
        } else {
            stage(common, &store, job, None, bell)
        };
        bell.tell(Told::Done(index, Box::new(made)));
    }
    store
}

fn stage(
    common: &Common<'_>,
    store: &Store,
    job: Job,
    output: Option<OwnedFd>,
    bell: &Bell<'_>,
) -> Result<Made, Failure> {
    let output = output.map_or_else(|| super::output(common.build.quiet), Ok)?;
    let mut site = Site::of(common, store, output);
    site.stages = job.stages;
    site.number = common.steps_before(Some(job.index));
    site.name = common.prefixed.then(|| common.name_of(job.index));
    site.stage(job.index, &mut |event| bell.event(event))
}

/// Has what commands say told line by line, with the name of the stage.
fn with_lines(common: &Common<'_>, store: &Store, job: Job, bell: &Bell<'_>) -> Result<Made, Failure> {
    let pipe = pipe_with(PipeFlags::CLOEXEC);
    let (reader, writer) = pipe.map_err(|error| Failure::say(FailureKind::Host, format!("make a pipe: {error}")))?;
    let name = common.name_of(job.index);
    std::thread::scope(|scope| {
        let lines = scope.spawn(|| {
            forward(File::from(reader), &mut |line| bell.tell(Told::Said(Event::Said { stage: name.clone(), line })));
        });
        let made = stage(common, store, job, Some(writer), bell);
        // All that it has said comes before its end.
        let _ = lines.join();
        made
    })
}

/// Reads lines until nobody can write any more. A bar that is drawn anew is a line each time.
fn forward(mut input: File, say: &mut dyn FnMut(String)) {
    let (mut line, mut last) = (Vec::new(), 0);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for byte in buffer.get(..count).unwrap_or_default() {
            match (byte, last) {
                (b'\n', b'\r') => {}
                (b'\r', _) if line.is_empty() => {}
                (b'\n' | b'\r', _) => say(text(&mut line)),
                (byte, _) => line.push(*byte),
            }
            last = *byte;
            if line.len() >= LONGEST_LINE {
                say(text(&mut line));
            }
        }
    }
    if !line.is_empty() {
        say(text(&mut line));
    }
}

fn text(line: &mut Vec<u8>) -> String {
    String::from_utf8_lossy(&std::mem::take(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_as_they_are_shown() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        File::from(writer).write_all(b"one\r\n\ntwo\rthree\n\xff without an end").expect("write");
        let mut lines = Vec::new();
        forward(File::from(reader), &mut |line| lines.push(line));
        assert_eq!(lines, ["one", "", "two", "three", "\u{fffd} without an end"]);
    }
}
