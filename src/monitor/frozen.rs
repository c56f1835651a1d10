//! Frozen containers: paused by whoever wants it, until somebody lets them go on; and held by those who read their files,
//! as long as these are there.
//!
//! A container with a cgroup is frozen by that; where there is none, its processes are stopped one and all.
//!
//! Neither knows of the other. What is paused stays so when the last reader goes, and who pauses a container that is
//! held finds it paused afterwards. A container that is held counts as running.

use super::connections::Id;
use super::error::MonitorError;
use super::life::Life;
use super::protocol::Event;
use crate::launch::join::signal_all;

/// SIGCONT and SIGSTOP.
const CONT: i32 = 18;
const STOP: i32 = 19;

impl Life {
    /// Whether nothing of it runs just now.
    pub(super) fn is_frozen(&self) -> bool {
        self.run.paused || self.connections.hold()
    }

    /// Whether it is held by this one.
    pub(super) fn holds(&mut self, id: Id) -> bool {
        self.connections.get(id).is_some_and(|connection| connection.holds)
    }

    /// Pauses it or ends its pause, for one who hears of it.
    pub(super) fn freeze(&mut self, id: Id, freeze: bool) {
        let outcome = self.set_paused(freeze);
        if outcome.is_ok() {
            self.tell_happening(if freeze { "pause" } else { "unpause" }, &[]);
        }
        self.done(id, outcome);
    }

    /// Tells one what has come of it.
    pub(super) fn done(&mut self, id: Id, outcome: Result<(), MonitorError>) {
        let event = outcome.map_or_else(|error| error.event(), |()| Event::Done);
        self.connections.tell(id, &event, &[]);
    }

    /// Holds it for as long as this one is there.
    pub(super) fn hold(&mut self, id: Id) {
        let outcome = self.halt();
        if outcome.is_ok() {
            if !self.is_frozen() {
                self.tell_happening("pause", &[]);
            }
            self.note(id, |connection| connection.holds = true);
        }
        self.done(id, outcome);
    }

    /// This one holds it no longer. What others have asked for meanwhile is done when nobody does.
    ///
    /// # Errors
    /// With what keeps it from going on.
    pub(super) fn let_go(&mut self, id: Id) -> Result<(), MonitorError> {
        self.note(id, |connection| connection.holds = false);
        if !self.is_frozen() {
            self.thaw()?;
            self.tell_happening("unpause", &[]);
        }
        if !self.connections.hold() {
            for (id, control, cargo) in std::mem::take(&mut self.put_off) {
                self.obey(id, control, cargo);
            }
        }
        Ok(())
    }

    /// Pauses it or ends its pause, and writes that down.
    ///
    /// # Errors
    /// With what kept it from that.
    pub(super) fn set_paused(&mut self, paused: bool) -> Result<(), MonitorError> {
        if self.now.is_none() {
            return Ok(());
        }
        if paused {
            self.halt()?;
        } else if !self.connections.hold() {
            self.thaw()?;
        }
        self.run.paused = paused;
        let written = self.write_run();
        if paused && written.is_err() {
            // Nobody would know that it is frozen.
            let _ = self.set_paused(false);
        }
        written.map_err(|error| MonitorError::System("write run.json of the container", error))
    }

    /// Stops all processes, and notes nothing.
    fn halt(&self) -> Result<(), MonitorError> {
        let Some(now) = &self.now else { return Ok(()) };
        if let Some(group) = &self.group {
            return Ok(group.freeze(true)?);
        }
        let first = &now.running.child;
        // The first process first, so that it makes no other meanwhile.
        first.signal(STOP);
        if let Err(error) = signal_all(now.running.target(), &now.facts, STOP) {
            first.signal(CONT);
            return Err(error.into());
        }
        Ok(())
    }

    /// Lets all processes go on, and notes nothing.
    pub(super) fn thaw(&self) -> Result<(), MonitorError> {
        let Some(now) = &self.now else { return Ok(()) };
        if let Some(group) = &self.group {
            return Ok(group.freeze(false)?);
        }
        signal_all(now.running.target(), &now.facts, CONT)?;
        now.running.child.signal(CONT);
        Ok(())
    }
}
