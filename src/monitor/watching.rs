//! How the life of a container and its health check go together.

use std::os::fd::AsFd as _;

use super::error::MonitorError;
use super::health::Due;
use super::life::{Life, Owner};
use super::protocol::Event;
use super::record;

impl Life {
    /// The container runs: it is checked from now on.
    pub(super) fn begin_checks(&mut self) {
        if let Some(health) = &mut self.health {
            health.begin();
            self.write_health();
        }
    }

    /// It has ended.
    pub(super) fn end_checks(&mut self) {
        if let Some(health) = &mut self.health {
            health.end();
            self.execs.left(Owner::Check);
        }
    }

    /// Does what is due by the clock.
    pub(super) fn check_health(&mut self) {
        let frozen = self.is_frozen();
        let Some(health) = &mut self.health else { return };
        match health.due() {
            Some(Due::Kill) => {
                let told = self.execs.kill(Owner::Check);
                if !told {
                    self.checked(&Event::Exited { exit_code: 137 });
                }
            }
            // Frozen, it could not answer, and that is no failure.
            Some(Due::Begin) if frozen => health.put_off(),
            Some(Due::Begin) => {
                let order = health.order(self.bundle.as_fd());
                if let Err(error) = order.and_then(|order| self.exec(Owner::Check, &order)) {
                    self.not_checked(&error);
                }
            }
            None => {}
        }
    }

    /// Hears what came of a check.
    pub(super) fn checked(&mut self, event: &Event) {
        let Some(health) = &mut self.health else { return };
        let changed = match event {
            Event::Exited { exit_code } => health.ended(*exit_code),
            Event::Failed { message, .. } => health.failed(message),
            _ => return,
        };
        self.note_health(changed);
    }

    fn not_checked(&mut self, error: &MonitorError) {
        let Some(health) = &mut self.health else { return };
        let changed = health.failed(&error.sentence());
        self.note_health(changed);
    }

    fn note_health(&mut self, changed: bool) {
        if let (Some(health), true) = (&self.health, changed) {
            let action = format!("health_status: {}", health.state().status.word());
            self.tell_happening(&action, &[]);
        }
        // After the event: who sees the new state finds what has happened.
        self.write_health();
        self.notify_up();
    }

    /// For `ps` and `inspect`; what cannot be written is written after the next check.
    fn write_health(&self) {
        if let Some(health) = &self.health {
            let _ = record::write(self.bundle.as_fd(), record::HEALTH, health.state());
        }
    }
}
