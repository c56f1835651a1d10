//! Processes that join the container: those of `exec`, and health checks.
//!
//! Each belongs to somebody who is told of it (`O`: a connection, the health check). It
//! joins while the loop goes on, as a process that is inside already may take its time; the
//! plan and all that was read for it are let go of when it executes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::OFlags;

use super::attached;
use super::emulator::{self, Line};
use super::error::MonitorError;
use super::incarnation::{LARGEST, whole};
use super::protocol::{Cargo, Event};
use super::stream::{Sink, Stream, Turn};
use crate::emulation::Beginning;
use crate::launch::document::Process;
use crate::launch::parent::Running;
use crate::launch::{Extras, JoinFacts, Joining, LaunchError, Plan};
use crate::sys::failpoint;

/// The container that is joined.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// A process in it that has executed its program; see [`Running::target`].
    pub target: BorrowedFd<'a>,
    /// How it was made.
    pub facts: &'a JoinFacts,
    /// The compiled filter that its first process has.
    pub filter: Option<BorrowedFd<'a>>,
    /// Its cgroup, if it has one of its own.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Name of its session keyring.
    pub keyring: &'a str,
    /// Who answers its calls about ids, if somebody has to.
    pub emulator: Option<&'a Line>,
}

/// What is to be run.
#[derive(Debug)]
pub struct Order {
    /// The process.
    pub process: Process,
    /// Its standard input, output and error; none where it has a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
    /// Whether it has the container's system call filter.
    pub confinement: Confinement,
    /// What becomes of it when its owner goes away.
    pub bond: Bond,
}

/// Whether a process has the container's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It has.
    Filtered,
    /// It has none: `--privileged`.
    Unfiltered,
}

/// What becomes of a process whose owner has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// It loses its terminal, or nobody else holds the other ends of its pipes.
    Owned,
    /// It goes on; what it writes to a terminal goes nowhere.
    Free,
}

/// Something for an owner to hear.
#[derive(Debug)]
pub struct Told<O> {
    /// Whom.
    pub owner: O,
    /// What.
    pub event: Event,
    /// What comes along: the controlling side of the terminal.
    pub terminal: Option<OwnedFd>,
}

/// All of them.
#[derive(Debug)]
pub struct Execs<O> {
    all: Vec<Exec<O>>,
}

#[derive(Debug)]
struct Exec<O> {
    /// None once the owner has gone.
    owner: Option<O>,
    bond: Bond,
    stage: Stage,
    /// Takes what a terminal that nobody looks at is written.
    drain: Option<Stream>,
}

#[derive(Debug)]
enum Stage {
    /// On its way; the exit code if it has come to an end before we heard that it arrived.
    Joining { plan: Box<Plan>, joining: Joining, answered: Option<(Line, Beginning)>, code: Option<i32> },
    /// It has executed.
    Running(Running),
}

impl Order {
    /// What came with [`Control::Exec`](super::protocol::Control::Exec).
    ///
    /// # Errors
    /// If it is no process, or its streams are not there.
    pub fn read(cargo: Cargo, confinement: Confinement, bond: Bond) -> Result<Self, MonitorError> {
        let [document, input, output, error] = cargo;
        let document = document.ok_or(MonitorError::NoCargo)?;
        let text = whole(document.as_fd(), LARGEST).map_err(MonitorError::Process)?;
        let process: Process = serde_json::from_slice(&text).map_err(|error| MonitorError::Process(error.into()))?;
        let stdio = match (process.terminal, input, output, error) {
            (true, ..) => None,
            (false, Some(input), Some(output), Some(error)) => Some([input, output, error]),
            _ => return Err(MonitorError::NoCargo),
        };
        Ok(Self { process, stdio, confinement, bond })
    }
}

impl<O: Copy + PartialEq> Execs<O> {
    /// None yet.
    pub fn new() -> Self {
        Self { all: Vec::new() }
    }

    /// Starts one. What comes of it, [`Execs::turn`] and [`Execs::reaped`] tell.
    ///
    /// # Errors
    /// If it cannot even be begun.
    pub fn start(&mut self, owner: O, order: &Order, place: &Place<'_>) -> Result<(), MonitorError> {
        let filter = match (place.filter, order.confinement) {
            (Some(filter), Confinement::Filtered) => whole(filter, LARGEST).map_err(MonitorError::Bundle)?,
            _ => Vec::new(),
        };
        let extras = Extras { filter, keyring: Some(place.keyring.to_owned()), ..Extras::default() };
        let plan = Plan::compile_exec(&order.process, place.facts, extras).map_err(LaunchError::from)?;
        let stdio = order.stdio.as_ref().map(|fds| fds.each_ref().map(AsFd::as_fd));
        let joining = Joining::start(&plan, place.target, stdio, place.cgroup)?;
        failpoint::reach!("monitor.exec_joining");
        let line = place.emulator.map(Line::copy).transpose();
        let line = line.map_err(MonitorError::system("talk to who answers the container's calls"))?;
        let answered = line.map(|line| (line, emulator::beginning(&order.process)));
        let stage = Stage::Joining { plan: Box::new(plan), joining, answered, code: None };
        self.all.push(Exec { owner: Some(owner), bond: order.bond, stage, drain: None });
        Ok(())
    }

    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.all.iter().flat_map(|exec| {
            let wire = match &exec.stage {
                Stage::Joining { joining, .. } => Some((joining.as_fd(), PollFlags::IN)),
                Stage::Running(_) => None,
            };
            wire.into_iter().chain(exec.drain.as_ref().map(Stream::interest))
        })
    }

    /// Gives each whose descriptor is ready its turn.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) -> Vec<Told<O>> {
        let mut told = Vec::new();
        self.all.retain_mut(|exec| exec.turn(&ready, &mut told));
        told
    }

    /// Takes note that `pid` was reaped; what its owner is to hear if it was one of these.
    pub fn reaped(&mut self, pid: u32, exit_code: i32) -> Option<Told<O>> {
        let of = |exec: &mut Exec<O>| match &mut exec.stage {
            Stage::Joining { joining, code, .. } => {
                if joining.reaped(pid, exit_code) {
                    *code = Some(exit_code);
                }
                false
            }
            Stage::Running(running) => running.child.pid == pid,
        };
        let at = self.all.iter_mut().position(of)?;
        let owner = self.all.swap_remove(at).owner?;
        Some(Told { owner, event: Event::Exited { exit_code }, terminal: None })
    }

    /// Kills what the owner has started: a check that takes too long. False if the owner
    /// will hear no more of it, since it has not arrived yet.
    pub fn kill(&mut self, owner: O) -> bool {
        let owned = |exec: &Exec<O>| exec.owner == Some(owner);
        for exec in self.all.iter().filter(|exec| owned(exec)) {
            if let Stage::Running(running) = &exec.stage {
                running.child.kill();
            }
        }
        // Dropped, a process on its way is killed.
        self.all.retain(|exec| !(owned(exec) && matches!(exec.stage, Stage::Joining { .. })));
        self.all.iter().any(owned)
    }

    /// From now on the owner's process goes on without it.
    pub fn release(&mut self, owner: O) {
        for exec in self.all.iter_mut().filter(|exec| exec.owner == Some(owner)) {
            exec.bond = Bond::Free;
            exec.begin_drain();
        }
    }

    /// The owner has gone.
    pub fn left(&mut self, owner: O) {
        self.all.retain_mut(|exec| {
            if exec.owner != Some(owner) {
                return true;
            }
            exec.owner = None;
            match (&mut exec.stage, exec.bond) {
                (Stage::Joining { .. }, Bond::Owned) => return false,
                // Its hang-up reaches the session.
                (Stage::Running(running), Bond::Owned) => running.terminal = None,
                (_, Bond::Free) => {}
            }
            true
        });
    }
}

impl<O: Copy> Exec<O> {
    /// False when it is over and forgotten.
    fn turn(&mut self, ready: &impl Fn(BorrowedFd<'_>) -> bool, told: &mut Vec<Told<O>>) -> bool {
        if let Some(drain) = &mut self.drain
            && ready(drain.interest().0)
            && !matches!(drain.turn(), Ok(Turn::Open))
        {
            self.drain = None;
        }
        let Stage::Joining { plan, joining, answered, code } = &mut self.stage else { return true };
        if !ready(joining.as_fd()) {
            return true;
        }
        let Some(outcome) = joining.turn(plan) else { return true };
        let (code, answered) = (*code, answered.take());
        let mut tell = |event, terminal| told.extend(self.owner.map(|owner| Told { owner, event, terminal }));
        match outcome {
            Err(error) => {
                tell(MonitorError::from(error).event(), None);
                false
            }
            Ok(mut running) => {
                if let Some((line, beginning)) = answered {
                    // If nobody answers any more the container ends, and this process with it.
                    let _ = line.hand(&beginning, &mut running);
                }
                let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).ok();
                let terminal = running.terminal.as_ref().filter(|_| self.bond == Bond::Owned).and_then(copy);
                tell(Event::Executed { pid: running.child.pid }, terminal);
                failpoint::reach!("monitor.exec_running");
                if let Some(exit_code) = code {
                    tell(Event::Exited { exit_code }, None);
                    return false;
                }
                self.stage = Stage::Running(running);
                if self.bond == Bond::Free {
                    self.begin_drain();
                }
                true
            }
        }
    }

    /// Somebody has to read, or the process would wait for it one day.
    fn begin_drain(&mut self) {
        let Stage::Running(Running { terminal: Some(terminal), .. }) = &self.stage else { return };
        let quiet = rustix::fs::fcntl_setfl(terminal, OFlags::NONBLOCK | OFlags::RDWR);
        let copy = quiet.and_then(|()| rustix::io::fcntl_dupfd_cloexec(terminal, 3));
        if let (Ok(from), Ok(null)) = (copy, attached::null_device()) {
            self.drain = Some(Stream::new(from, Sink::own(null)));
        }
    }
}
