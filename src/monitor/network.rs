//! The process that connects a container's network namespace, where one does: started when the container has something
//! to say, or at once if it has ports of the host; and started again if it dies.

use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::error::MonitorError;
use super::names;
use super::protocol::NetworkProgram;
use crate::launch::Interface;
use crate::network::program::{self, Started};
use crate::sys::tap;
use crate::sys::wait::readable_within;

/// How long it may take to say that it is ready.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// One that lived shorter than this is not started again at once.
const LIVES: Duration = Duration::from_secs(2);
/// As many short lives in a row are enough.
const MOST_LIVES: u32 = 5;
/// How long it may take to forward what is there when the container has ended, and how long to wait between two looks.
const LAST: Duration = Duration::from_millis(300);
const MOMENT: Duration = Duration::from_millis(1);
/// The longest sentence that it says.
const SENTENCE: u64 = 4096;

/// The interface that the container's first process makes, for a network that is connected by `wish`.
pub fn interface(wish: Option<&NetworkProgram>) -> Option<Interface> {
    let (name, index, requests, required) = wish?.interface.as_ref()?.steps();
    Some(Interface { name, index, requests, required })
}

/// A connection. Dropped, its process is killed and reaped.
#[derive(Debug)]
pub struct Network {
    wish: NetworkProgram,
    /// The namespaces it needs.
    network: OwnedFd,
    user: Option<OwnedFd>,
    /// Whether its process is given an interface.
    given: bool,
    /// The other end of that, when it has been made.
    interface: Option<OwnedFd>,
    /// None until it is needed.
    program: Option<Program>,
    short_lives: u32,
}

#[derive(Debug)]
struct Program {
    started: Started,
    began: Instant,
    /// Whether it leads to name servers of the host's loopback.
    forwards: bool,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing that anybody has to know.
    Same,
    /// Its process has been started.
    Begun,
    /// Its process cannot be started.
    Lost,
}

impl Network {
    /// A connection of these namespaces. Its process is started now if it makes the interface itself, or has ports of
    /// the host.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn new(wish: &NetworkProgram, network: OwnedFd, user: Option<OwnedFd>) -> Result<Self, MonitorError> {
        let (wish, given) = (wish.clone(), wish.interface.is_some());
        let mut new = Self { wish, network, user, given, interface: None, program: None, short_lives: 0 };
        if new.is_awaited() {
            new.begin().map_err(|error| MonitorError::System("start what connects the network", error))?;
        }
        Ok(new)
    }

    /// Whether the container has to wait for it.
    pub fn is_awaited(&self) -> bool {
        self.wish.publishes || !self.given
    }

    /// Whether it is to be given an interface.
    pub fn wants_interface(&self) -> bool {
        self.given
    }

    /// The pid of its process, if that has been started.
    pub fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(|program| program.started.process.pid)
    }

    /// Takes the other end of the container's interface.
    pub fn take(&mut self, interface: Option<OwnedFd>) {
        self.interface = interface.or(self.interface.take());
    }

    /// Waits until its process says that it is ready: ports that cannot be had are told until then.
    ///
    /// # Errors
    /// With what the process said when it gave up.
    pub fn await_ready(&mut self) -> Result<(), MonitorError> {
        loop {
            let Some(Program { started, .. }) = &mut self.program else { return Ok(()) };
            let asks = started.asks.as_ref().map(|asks| PollFd::new(asks, PollFlags::IN));
            let mut fds: Vec<_> = [PollFd::new(&started.ready, PollFlags::IN)].into_iter().chain(asks).collect();
            match rustix::event::poll(&mut fds, Some(&PATIENCE)) {
                Ok(1..) => {}
                Err(Errno::INTR) => continue,
                _ => return Err(MonitorError::Network("it does not get ready".to_owned())),
            }
            if fds.first().is_some_and(|ready| ready.revents().is_empty()) {
                self.hand_over();
                continue;
            }
            let mut word = [0; 32];
            return match started.ready.read(&mut word) {
                Ok(length) if length > 0 => Ok(()),
                _ => Err(MonitorError::Network(last_words(&mut started.said))),
            };
        }
    }

    /// What it waits for: a packet that somebody has to be started for, or that one's question.
    pub fn interest(&self) -> Option<BorrowedFd<'_>> {
        match &self.program {
            Some(program) => program.started.asks.as_ref().map(AsFd::as_fd),
            None => self.interface.as_ref().map(AsFd::as_fd),
        }
    }

    /// Does what one of `ready` asks for.
    pub fn turn(&mut self, ready: &[RawFd]) -> Turn {
        if !self.interest().is_some_and(|fd| ready.contains(&fd.as_raw_fd())) {
            return Turn::Same;
        }
        if self.program.is_some() {
            self.hand_over();
            return Turn::Same;
        }
        match self.begin() {
            Ok(()) => Turn::Begun,
            Err(_) => {
                // Nobody will ever read it.
                self.take_down();
                Turn::Lost
            }
        }
    }

    /// The process asks for its interface, or has ended.
    fn hand_over(&mut self) {
        let Some((program, interface)) = self.program.as_mut().zip(self.interface.as_ref()) else { return };
        let asks = program.started.asks.as_ref();
        let handed = asks.map(|asks| program::hand_over(asks.as_fd(), interface.as_fd()));
        if handed.is_some_and(|handed| handed.is_err()) {
            program.started.asks = None;
        }
    }

    /// It has ended, and been reaped: starts it again in the same namespaces. False if it does not stay alive.
    pub fn again(&mut self) -> bool {
        let brief = self.program.take().is_some_and(|program| program.began.elapsed() < LIVES);
        self.short_lives = if brief { self.short_lives + 1 } else { 0 };
        if brief {
            // Perhaps this version of it cannot work with an interface that it is given.
            self.given = false;
            self.take_down();
        }
        self.short_lives < MOST_LIVES && self.begin().is_ok()
    }

    /// The host's name servers have changed. If they are on its loopback now, and the process does not lead there, it is
    /// started anew; true then.
    pub fn lead_to_names(&mut self) -> bool {
        let lacks = |program: &mut Program| !program.forwards && names::forwarding().is_some();
        let Some(program) = self.program.take_if(|program| self.wish.forwards_names && lacks(program)) else {
            return false;
        };
        program.started.process.kill();
        // Its ports are to be had again.
        let _ = program.started.process.wait();
        // If it cannot be started now, the next packet does.
        let _ = self.begin();
        true
    }

    /// Takes the interface down while the container runs.
    fn take_down(&mut self) {
        // If it stays, the program says what it cannot make.
        let _ = self.interface.take().map(tap::remove);
    }

    /// The container has ended. Lets the process take what it has sent last: a program may say one thing and end.
    pub fn end(mut self) {
        let deadline = Instant::now() + LAST;
        let waits = |interface: &OwnedFd| readable_within(interface, Duration::ZERO);
        while self.interface.as_ref().is_some_and(waits) && Instant::now() < deadline {
            if self.program.is_none() && self.begin().is_err() {
                return;
            }
            let asks = self.program.as_ref().and_then(|program| program.started.asks.as_ref());
            if asks.is_some_and(|asks| readable_within(asks, MOMENT)) {
                self.hand_over();
            } else {
                std::thread::sleep(MOMENT);
            }
        }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        let mut arguments = self.wish.arguments.clone();
        if let Some(interface) = self.wish.interface.as_ref().filter(|_| !self.given) {
            arguments.extend_from_slice(&interface.without);
        }
        let forwarding = self.wish.forwards_names.then(names::forwarding).flatten();
        let forwards = forwarding.is_some();
        arguments.extend(forwarding.into_iter().flatten());
        let user = self.user.as_ref().map(AsFd::as_fd);
        let started = program::start(&self.wish.program, &arguments, self.network.as_fd(), user, self.given)?;
        self.program = Some(Program { started, began: Instant::now(), forwards });
        Ok(())
    }
}

fn last_words(said: &mut ChildStderr) -> String {
    let mut text = String::new();
    // What cannot be read has not been said.
    let _ = said.take(SENTENCE).read_to_string(&mut text);
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if said.is_empty() { "it ended without a word".to_owned() } else { said.join("; ") }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Some(Program { started, .. }) = &self.program else { return };
        started.process.kill();
        // Taking its interface down takes the kernel a while. Without ports of the host nobody needs to wait for it.
        if self.wish.publishes {
            // Whoever reaps all children may have had it.
            let _ = started.process.wait();
        }
    }
}
