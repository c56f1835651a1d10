//! A container from its first start to its last end: one loop that waits for
//! signals, words, bytes and the clock.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::process::WaitOptions;

use super::attached::Caller;
use super::connections::{BORN, Connections, Id};
use super::emulator::Emulator;
use super::error::MonitorError;
use super::exec::{Execs, Told};
use super::health::Watch;
use super::incarnation::Incarnation;
use super::names::Names;
use super::network::Network;
use super::notify::Notifier;
use super::protocol::{Cargo, Control, Event, SOCKET, Start};
use super::record::{self, Exit, Run};
use super::server::Server;
use super::timers::{self, Backoff};
use super::{happenings, timers::is_due};
use crate::cgroup::Group;
use crate::model::lifecycle::ProcessIdentity;
use crate::sys::{failpoint, identity, startup};

mod end;
mod memory;
mod network;
mod wait;

/// How long output that nobody takes is waited for when the program has ended.
const DRAIN: u64 = 10_000;

/// How long a log that cannot be written is waited for then: nobody else waits for longer.
const LOG: Duration = Duration::from_secs(4);

/// The container and those who deal with it.
pub struct Life {
    pub(super) start: Start,
    pub(super) bundle: OwnedFd,
    pub(super) filter: Option<OwnedFd>,
    /// What the program inherits.
    inherited: Vec<OwnedFd>,
    signals: SignalFd,
    pub(super) connections: Connections,
    /// What has been asked for while somebody holds it.
    pub(super) put_off: Vec<(Id, Control, Cargo)>,
    /// Callers whose terminal we may have to put back.
    pub(super) callers: Vec<(Id, Caller)>,
    /// Processes that have joined the container, and those on their way.
    pub(super) execs: Execs<Owner>,
    /// The health check, if it has one.
    pub(super) health: Option<Watch>,
    /// None between an end and the next start.
    pub(super) now: Option<Incarnation>,
    /// What looked for the last one's name servers: it is closed when all know of the end, since that takes a while.
    watched: Option<Names>,
    pub(super) run: Run,
    /// Its cgroup, if it has one of its own.
    pub(super) group: Option<Group>,
    /// Whether the present incarnation has lost a process for want of memory.
    out_of_memory: bool,
    up_since: Instant,
    /// How the present incarnation has ended, while its output is handed on.
    exit_code: Option<i32>,
    drained_by: Option<Instant>,
    /// When it is killed, having been asked to stop.
    pub(super) kill_at: Option<Instant>,
    /// When its time is up.
    timeout_at: Option<Instant>,
    /// When it is started again.
    pub(super) start_at: Option<Instant>,
    /// Whether the user wants it to be over.
    pub(super) by_user: bool,
    /// Whether it ends with whatever we are part of: not a user's wish, though it is not started again now either.
    pub(super) host_goes: bool,
    /// Whether the user wants it to begin anew then, whatever becomes of who asked.
    pub(super) again: bool,
    /// Why it ended, if that was our doing.
    reason: Option<String>,
    backoff: Backoff,
    /// Whom it tells how it fares, if somebody wants to know.
    pub(super) notifier: Option<Notifier>,
    /// Whether it sleeps for long, see [`wait`].
    rests: Cell<bool>,
    /// How it ended for good.
    over: Option<Exit>,
}

/// Whose process has joined the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One who has connected.
    Caller(Id),
    /// The health check.
    Check,
}

impl Life {
    /// Launches the container for the first time, and notes that it runs.
    ///
    /// # Errors
    /// With what failed; nothing runs then.
    pub fn begin(
        start: Start,
        bundle: OwnedFd,
        (filter, inherited): (Option<OwnedFd>, Vec<OwnedFd>),
        (signals, listener): (SignalFd, OwnedFd),
        caller: Option<Caller>,
    ) -> Result<Self, MonitorError> {
        let monitor = name(std::process::id())?;
        let mut run = Run {
            init: None,
            monitor,
            since: record::now(),
            paused: false,
            restarts: 0,
            last: None,
            network: None,
            cgroup: None,
        };
        record::make_room(bundle.as_fd(), record::EXIT);
        // First: whoever is started from now on is beside us, and outside of what limits the container.
        let group = start.cgroup.as_ref().map(Group::make).transpose().map_err(MonitorError::from);
        run.cgroup = start.cgroup.as_ref().map(|placement| placement.seat.clone());
        let launched = group.and_then(|group| {
            let place = (&bundle, group.as_ref().map(Group::as_fd));
            let now = Incarnation::launch(&start, (filter.as_ref(), &inherited), place, |pid, network| {
                note_held(&mut run, &bundle, pid, network)
            })?;
            Ok((now, group))
        });
        if launched.is_err() {
            // Nothing runs, and nothing is to say that something does.
            for name in [SOCKET, record::RUN] {
                let _ = rustix::fs::unlinkat(&bundle, name, rustix::fs::AtFlags::empty());
            }
        }
        let (now, group) = launched?;
        let mut life = Self {
            timeout_at: start.timeout.and_then(timers::after),
            health: start.health.clone().map(Watch::new),
            notifier: start.notify.clone().map(|to| Notifier::new(to, start.attached)),
            start,
            bundle,
            filter,
            inherited,
            signals,
            connections: Connections::new(listener),
            put_off: Vec::new(),
            callers: Vec::new(),
            execs: Execs::new(),
            now: None,
            watched: None,
            run,
            group,
            out_of_memory: false,
            up_since: Instant::now(),
            exit_code: None,
            drained_by: None,
            kill_at: None,
            start_at: None,
            by_user: false,
            host_goes: false,
            again: false,
            reason: None,
            backoff: Backoff::new(),
            rests: Cell::new(false),
            over: None,
        };
        life.is_up(now);
        if let Some(caller) = caller {
            let keys = life.start.detach_keys.clone();
            life.attach(BORN, caller, life.start.interactive, &keys)
                .map_err(MonitorError::system("attach the standard streams"))?;
        }
        Ok(life)
    }

    /// The rest of it. `born` is the socket of whoever made us. Returns the exit code of our process.
    ///
    /// # Errors
    /// If the end could not be written down.
    pub fn live(mut self, born: OwnedFd) -> Result<u8, MonitorError> {
        self.connections.add(born);
        if let Some(connection) = self.connections.get(BORN) {
            connection.attached = self.start.attached;
        }
        let started = self.started();
        // Before: whoever started us may end then, and with it the service, if that has no other process.
        self.notify_started();
        self.connections.tell(BORN, &started, &[]);
        failpoint::reach!("monitor.started_told");
        // What launching took is not needed for waiting.
        startup::forget_code();
        loop {
            self.by_the_clock();
            self.settle();
            if let Some(exit) = self.over.take() {
                return self.finish(&exit);
            }
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals();
            }
            self.copy(&ready.streams);
            self.connect(&ready.streams);
            self.follow_names(&ready.streams);
            self.stay_joined(&ready.streams);
            self.hear_of_memory(&ready.streams);
            for id in ready.sockets {
                self.take_words(id);
            }
            if ready.door {
                self.connections.accept();
            }
            if self.start.bound && self.exit_code.is_none() && !self.connections.has(BORN) {
                self.kill();
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == Signal::SIGCHLD as u32 {
                self.reap();
            } else {
                self.go();
            }
        }
    }

    /// Reaps the first process, and what it left to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            let code = status.exit_status().or(signal).unwrap_or(255);
            if let Some(told) = self.execs.reaped(pid.as_raw_pid().unsigned_abs(), code) {
                self.tell(told);
            }
            let server = self.now.as_ref().and_then(|now| now.server.as_ref()).map(Server::pid);
            if server == Some(pid.as_raw_pid().unsigned_abs()) && code != 0 && self.exit_code.is_none() {
                // It ends by itself when the container has; what is left can reach none of its files.
                self.reason = Some("the server of its file system was lost".to_owned());
                self.kill();
            }
            let emulator = self.now.as_ref().and_then(|now| now.emulator.as_ref()).map(Emulator::pid);
            if emulator == Some(pid.as_raw_pid().unsigned_abs()) && code != 0 && self.exit_code.is_none() {
                self.reason = Some("the process that answers its calls about ids was lost".to_owned());
                self.kill();
            }
            self.reconnect(pid.as_raw_pid().unsigned_abs());
            let first = self.now.as_ref().map(|now| now.running.child.pid);
            if first == Some(pid.as_raw_pid().unsigned_abs()) {
                failpoint::reach!("monitor.exit_reaped");
                self.exit_code = Some(code);
                self.drained_by = timers::after(DRAIN);
                if let Some(now) = &mut self.now {
                    now.input.close();
                }
            }
        }
    }

    /// Moves bytes between the program and callers.
    fn copy(&mut self, streams: &[RawFd]) {
        if streams.is_empty() {
            return;
        }
        let is_ready = |fd: std::os::fd::BorrowedFd<'_>| streams.contains(&fd.as_raw_fd());
        for told in self.execs.turn(is_ready) {
            self.tell(told);
        }
        if let Some(health) = &mut self.health {
            health.turn(is_ready);
        }
        let Some(now) = &mut self.now else { return };
        let mut leaving = now.output.turn(is_ready);
        failpoint::reach!("monitor.output_copied");
        leaving.extend(now.input.turn(is_ready).by_keys);
        if self.exit_code.is_some() {
            // As long as somebody takes it, it is waited for.
            self.drained_by = timers::after(DRAIN);
        }
        for id in leaving {
            self.detach(id);
            self.connections.tell(id, &Event::Done, &[]);
        }
    }

    /// Tells the owner of an exec.
    fn tell(&mut self, Told { owner, event, terminal }: Told<Owner>) {
        let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
        match owner {
            Owner::Caller(id) => self.connections.tell(id, &event, &fds),
            Owner::Check => self.checked(&event),
        }
    }

    fn by_the_clock(&mut self) {
        if is_due(self.kill_at) {
            self.kill_at = None;
            self.kill();
        }
        if is_due(self.timeout_at) {
            self.timeout_at = None;
            self.reason = Some("its time was up".to_owned());
            self.kill();
        }
        if is_due(self.start_at) {
            self.start_again(false);
        }
        if let Some(now) = &mut self.now {
            now.output.retry();
        }
        self.check_health();
        self.watch_names();
        self.connections.by_the_clock();
    }

    /// Kills the first process, and with it all in its pid namespace.
    pub(super) fn kill(&self) {
        if let Some(now) = &self.now {
            now.running.child.kill();
        }
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Sees to an end whose output has been handed on.
    fn settle(&mut self) {
        let Some(exit_code) = self.exit_code else { return };
        let drained = self.now.as_ref().is_none_or(|now| now.output.is_drained());
        let held_back = self.now.as_ref().map_or(0, |now| now.output.held_back());
        let sooner = if held_back > 0 { Duration::from_millis(DRAIN) - LOG } else { Duration::ZERO };
        if !drained && !is_due(self.drained_by.and_then(|by| by.checked_sub(sooner))) {
            return;
        }
        if held_back > 0 {
            self.reason = Some(format!("its log could not be written, {held_back} bytes of output are lost"));
        }
        self.judge_memory(exit_code);
        let exit = Exit {
            exit_code,
            at: record::now(),
            since: self.run.since,
            reason: self.reason.take(),
            by_user: self.by_user && !self.host_goes,
            oom_killed: std::mem::take(&mut self.out_of_memory),
        };
        if let Some(now) = self.now.take() {
            self.watched = now.names;
            now.network.into_iter().for_each(Network::end);
        }
        self.end_checks();
        (self.exit_code, self.drained_by, self.kill_at, self.timeout_at) = (None, None, None, None);
        self.tell_happening("die", &[("exitCode", exit_code.to_string())]);
        if std::mem::take(&mut self.again) {
            self.between(exit);
            self.start_again(true);
        } else if !self.by_user && self.start.restart.restarts(exit_code, self.run.restarts) {
            self.between(exit);
            self.start_at = Some(Instant::now() + self.backoff.next(self.up_since.elapsed()));
        } else {
            self.over = Some(exit);
        }
    }

    /// Notes an end that is not the last, and tells those who wait for it.
    fn between(&mut self, exit: Exit) {
        let event = Event::Exited { exit_code: exit.exit_code };
        (self.run.init, self.run.paused, self.run.last) = (None, false, Some(exit));
        let _ = self.write_run();
        self.callers.clear();
        self.connections.tell_all(&event, |connection| {
            std::mem::take(&mut connection.waits_for_end)
                | std::mem::take(&mut connection.attached)
                // Whoever stopped it has what was asked for, though another one wants it started again.
                | std::mem::take(&mut connection.waits_for_last_end)
        });
    }

    /// Starts it again; by a user's wish, or because the policy says so.
    pub(super) fn start_again(&mut self, by_wish: bool) {
        self.start_at = None;
        self.watched = None;
        (self.by_user, self.host_goes) = (false, false);
        // A detached container now, whoever was attached to the last one.
        self.start.attached = false;
        super::incarnation::make_mountable(&self.bundle);
        self.run.restarts = if by_wish { 0 } else { self.run.restarts + 1 };
        let (run, bundle) = (&mut self.run, &self.bundle);
        let place = (bundle, self.group.as_ref().map(Group::as_fd));
        let launched =
            Incarnation::launch(&self.start, (self.filter.as_ref(), &self.inherited), place, |pid, network| {
                note_held(run, bundle, pid, network)
            });
        startup::forget_code();
        match launched {
            Ok(now) => {
                self.is_up(now);
                let started = self.started();
                self.connections.tell_all(&started, |connection| std::mem::take(&mut connection.waits_for_start));
                self.tell_happening("restart", &[]);
            }
            Err(error) => self.failed_again(&error),
        }
    }

    fn failed_again(&mut self, error: &MonitorError) {
        let exit_code = i32::from(error.exit_code());
        self.connections.tell_all(&error.event(), |connection| std::mem::take(&mut connection.waits_for_start));
        let (at, since, by_user) = (record::now(), self.run.since, self.by_user);
        let exit = Exit { exit_code, at, since, reason: Some(error.sentence()), by_user, oom_killed: false };
        if self.start.restart.restarts(exit_code, self.run.restarts) {
            self.between(exit);
            self.start_at = Some(Instant::now() + self.backoff.next(Duration::ZERO));
        } else {
            self.over = Some(exit);
        }
    }

    /// It runs.
    fn is_up(&mut self, now: Incarnation) {
        self.up_since = Instant::now();
        self.now = Some(now);
        self.timeout_at = self.start.timeout.and_then(timers::after);
        self.tell_happening("start", &[]);
        self.begin_checks();
    }

    fn started(&self) -> Event {
        let monitor = self.run.monitor.clone();
        Event::Started { init: self.run.init.clone().unwrap_or_else(|| monitor.clone()), monitor }
    }

    pub(super) fn write_run(&self) -> std::io::Result<()> {
        write_run(&self.bundle, &self.run)
    }

    /// What happens to it is told; who cannot be told has missed it.
    pub(super) fn tell_happening(&self, action: &str, more: &[(&str, String)]) {
        happenings::tell(&self.start.events, &self.start.subject, action, more);
    }

    /// It has ended before the next start, for good.
    pub(super) fn over_between(&mut self) {
        let mut exit = self.run.last.clone().unwrap_or(Exit {
            exit_code: 0,
            at: record::now(),
            since: self.run.since,
            reason: None,
            by_user: true,
            oom_killed: false,
        });
        exit.by_user = !self.host_goes;
        self.over = Some(exit);
    }
}

/// Writes down whose process it is before it executes anything: if we are killed from then on, it is found by this.
fn note_held(run: &mut Run, bundle: &OwnedFd, pid: u32, network: Option<u32>) -> Result<(), MonitorError> {
    run.init = Some(identity_of(run, pid));
    run.network = network.map(|pid| identity_of(run, pid));
    (run.since, run.paused) = (record::now(), false);
    write_run(bundle, run).map_err(|error| MonitorError::System("write run.json of the container", error))
}

fn identity_of(run: &Run, pid: u32) -> ProcessIdentity {
    // A process that has ended already has no start any more; nothing can be mistaken for it then.
    let started_ticks = identity::started_ticks(pid).unwrap_or(0);
    ProcessIdentity { pid, started_ticks, boot_id: run.monitor.boot_id.clone() }
}

/// Writes run.json, and takes the room for the next time.
fn write_run(bundle: &OwnedFd, run: &Run) -> std::io::Result<()> {
    let written = record::write(bundle.as_fd(), record::RUN, run);
    record::make_room(bundle.as_fd(), record::RUN);
    written
}

/// The identity of a process that lives.
fn name(pid: u32) -> Result<ProcessIdentity, MonitorError> {
    let boot_id = identity::boot_id().map_err(MonitorError::system("read the boot id"))?;
    Ok(ProcessIdentity { pid, started_ticks: identity::started_ticks(pid).unwrap_or(0), boot_id })
}
