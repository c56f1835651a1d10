//! What those who have connected ask for.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::attached::Caller;
use super::connections::Id;
use super::emulator::Emulator;
use super::error::MonitorError;
use super::exec::{Bond, Confinement, Order, Place};
use super::life::{Life, Owner};
use super::protocol::{Cargo, Control, Event, StopWish, WireError};
use super::timers;
use crate::cgroup::Group;

/// SIGKILL.
const KILL: i32 = 9;

impl Life {
    /// Hears one packet of a connection and does what it says.
    pub(super) fn take_words(&mut self, id: Id) {
        match self.connections.hear(id) {
            Ok((control, cargo)) => self.obey(id, control, cargo),
            // From a newer engine: nothing we could do about it.
            Err(WireError::Content(_)) => self.fail(id, "this monitor is older than what is asked of it", None),
            Err(_) => self.left(id),
        }
    }

    pub(super) fn obey(&mut self, id: Id, control: Control, cargo: Cargo) {
        match control {
            Control::Signal(number) => self.signal(number),
            Control::Resize { rows, columns } => self.resize(rows, columns),
            Control::Attach { input, detach_keys } => self.attach_words(id, input, &detach_keys, cargo),
            Control::Wait => self.wait_words(id),
            Control::Stop(wish) => {
                self.note(id, |connection| connection.waits_for_last_end = true);
                self.stop(wish);
            }
            Control::Restart(wish) => {
                self.note(id, |connection| connection.waits_for_start = true);
                self.restart(wish);
            }
            // Of two who ask at the same time, one hears that it was done already.
            Control::Pause if self.run.paused => self.refuse(id, "already paused", "unpause"),
            Control::Pause => self.freeze(id, true),
            Control::Hold => self.hold(id),
            Control::Unpause if self.holds(id) => {
                let outcome = self.let_go(id);
                self.done(id, outcome);
            }
            Control::Unpause if !self.run.paused => self.refuse(id, "not paused", "pause"),
            Control::Unpause => self.freeze(id, false),
            // It would change what is being read.
            Control::Exec { .. } if self.connections.hold() => self.put_off.push((id, control, cargo)),
            Control::Exec { unfiltered, detached } => {
                let confinement = if unfiltered { Confinement::Unfiltered } else { Confinement::Filtered };
                let bond = if detached { Bond::Free } else { Bond::Owned };
                let begun =
                    Order::read(cargo, confinement, bond).and_then(|order| self.exec(Owner::Caller(id), &order));
                if let Err(error) = begun {
                    self.connections.tell(id, &error.event(), &[]);
                }
            }
            Control::Release => self.execs.release(Owner::Caller(id)),
            Control::Update { restart } => {
                self.start.restart = restart;
                self.connections.tell(id, &Event::Done, &[]);
            }
            Control::Limit { settings } => {
                let outcome = self.limit(settings);
                self.done(id, outcome);
            }
            Control::Networks { plugs } => {
                let outcome = self.be_on(plugs);
                self.done(id, outcome);
            }
            Control::Rename { name } => {
                self.start.subject.name = name;
                self.connections.tell(id, &Event::Done, &[]);
            }
        }
    }

    fn refuse(&mut self, id: Id, state: &str, verb: &str) {
        let name = &self.start.subject.name;
        let (message, hint) = (format!("container {name} is {state}"), format!("pybox {verb} {name}"));
        self.fail(id, &message, Some(hint));
    }

    pub(super) fn note(&mut self, id: Id, change: impl FnOnce(&mut super::connections::Connection)) {
        if let Some(connection) = self.connections.get(id) {
            change(connection);
        }
    }

    pub(super) fn fail(&mut self, id: Id, message: &str, hint: Option<String>) {
        self.connections.tell(id, &Event::Failed { message: message.to_owned(), hint, exit_code: 125 }, &[]);
    }

    /// A connection has gone: killed, or satisfied.
    fn left(&mut self, id: Id) {
        let attached = self.connections.get(id).is_some_and(|connection| connection.attached);
        self.put_off.retain(|(of, ..)| *of != id);
        if self.holds(id) {
            // Nobody is left who could be told.
            let _ = self.let_go(id);
        }
        if let Some((_, caller)) = self.callers.iter().find(|(caller, _)| *caller == id) {
            caller.restore_terminal();
        }
        if attached {
            self.detach(id);
        }
        self.execs.left(Owner::Caller(id));
        self.connections.close(id);
    }

    fn signal(&mut self, number: i32) {
        let Some(now) = &self.now else { return };
        now.running.child.signal(number);
        // As docker: who kills it, or sends the signal that stops it, wants it to end.
        if number == KILL || number == self.start.stop.signal {
            self.by_user = true;
        }
        self.tell_happening("kill", &[("signal", number.to_string())]);
    }

    /// Asks it to stop, because a user wants that.
    pub(super) fn stop(&mut self, wish: StopWish) {
        self.host_goes = false;
        self.end(wish);
    }

    /// Ends it, because we were told to end: by a logout, by a reboot, or by somebody's `kill`. It ends as by `pybox stop`,
    /// and is due again when the user is back, if it was not the user who had stopped it.
    pub(super) fn go(&mut self) {
        self.host_goes |= !self.by_user;
        self.end(StopWish::default());
    }

    /// Asks it to stop, and sees to it that it does.
    fn end(&mut self, wish: StopWish) {
        let Some(now) = &self.now else {
            self.start_at = None;
            return self.over_between();
        };
        self.by_user = true;
        self.notify_stopping();
        let signal = wish.signal.unwrap_or(self.start.stop.signal);
        let deadline = timers::after(wish.grace.unwrap_or(self.start.stop.grace));
        now.running.child.signal(signal);
        self.tell_happening("kill", &[("signal", signal.to_string())]);
        if self.is_frozen() && signal != KILL {
            // Frozen, it could not obey. With an end in sight it stays what it was to those who look.
            if deadline.is_none() && self.run.paused {
                let _ = self.set_paused(false);
            }
            let _ = self.thaw();
        }
        // Of two who ask, the less patient one decides.
        self.kill_at = match (self.kill_at, deadline) {
            (Some(earlier), Some(later)) => Some(earlier.min(later)),
            (one, other) => one.or(other),
        };
    }

    fn restart(&mut self, wish: StopWish) {
        if self.now.is_some() {
            self.again = true;
            self.stop(wish);
        } else {
            self.start_again(true);
        }
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Some(terminal) = self.now.as_ref().and_then(|now| now.running.terminal.as_ref()) {
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    fn wait_words(&mut self, id: Id) {
        match (&self.now, &self.run.last) {
            (None, Some(exit)) => {
                let event = Event::Exited { exit_code: exit.exit_code };
                self.connections.tell(id, &event, &[]);
            }
            _ => self.note(id, |connection| connection.waits_for_end = true),
        }
    }

    fn attach_words(&mut self, id: Id, input: bool, keys: &[u8], cargo: Cargo) {
        let [Some(stdin), Some(stdout), Some(stderr), _] = cargo else {
            return self.fail(id, "no streams came along", None);
        };
        if self.now.is_none() {
            return self.fail(id, "the container is between an end and its next start", Some("try again".to_owned()));
        }
        match self.attach(id, Caller::new(stdin, stdout, stderr), input, keys) {
            Ok(()) => {
                self.note(id, |connection| connection.attached = true);
                self.connections.tell(id, &Event::Done, &[]);
            }
            Err(error) => self.fail(id, &format!("connect the streams: {error}"), None),
        }
    }

    /// Connects a caller's streams.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(super) fn attach(&mut self, id: Id, caller: Caller, input: bool, keys: &[u8]) -> Result<(), Errno> {
        let Some(now) = &mut self.now else { return Ok(()) };
        let (output, error) = caller.sinks()?;
        now.output.attach(id, output, error);
        if input && now.input.is_open() {
            now.input.attach(id, caller.source()?, keys)?;
        }
        self.callers.push((id, caller));
        Ok(())
    }

    /// Lets go of a caller's streams; the container lives on.
    pub(super) fn detach(&mut self, id: Id) {
        self.note(id, |connection| connection.attached = false);
        self.callers.retain(|(caller, _)| *caller != id);
        if let Some(now) = &mut self.now {
            now.output.detach(id);
            now.input.detach(id);
        }
    }

    /// Begins an exec; what comes of it is told later.
    ///
    /// # Errors
    /// With what kept it from beginning.
    pub(super) fn exec(&mut self, owner: Owner, order: &Order) -> Result<(), MonitorError> {
        let now = self.now.as_ref().ok_or(MonitorError::Between)?;
        let place = Place {
            target: now.running.target(),
            facts: &now.facts,
            filter: self.filter.as_ref().map(AsFd::as_fd),
            cgroup: self.group.as_ref().map(Group::as_fd),
            keyring: &self.start.keyring,
            emulator: now.emulator.as_ref().map(Emulator::line),
        };
        self.execs.start(owner, order, &place)
    }
}
