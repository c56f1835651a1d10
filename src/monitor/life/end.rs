//! The end of a container, written down and told.

use std::os::fd::AsFd as _;
use std::time::Duration;

use super::Life;
use crate::monitor::connections::BORN;
use crate::monitor::error::MonitorError;
use crate::monitor::protocol::{Event, SOCKET};
use crate::monitor::record::{self, Exit};
use crate::sys::failpoint;

impl Life {
    /// Writes down the end, lets go of the bundle, and tells everybody, in this order: who hears of the end can
    /// start it again at once.
    pub(super) fn finish(mut self, exit: &Exit) -> Result<u8, MonitorError> {
        failpoint::reach!("monitor.over");
        let mut written = record::write(self.bundle.as_fd(), record::EXIT, exit);
        failpoint::reach!("monitor.exit_written");
        for _ in 0..50 {
            if written.is_ok() {
                break;
            }
            // The disk is full: the exit code is worth a while of waiting.
            std::thread::sleep(Duration::from_millis(100));
            written = record::write(self.bundle.as_fd(), record::EXIT, exit);
        }
        if self.by_user {
            self.tell_happening("stop", &[]);
        }
        let _ = rustix::fs::unlinkat(&self.bundle, SOCKET, rustix::fs::AtFlags::empty());
        // Whoever gets the lock next makes one of the same name.
        drop(self.group.take());
        let removed_by_engine = self.start.attached && self.connections.has(BORN);
        let _ = rustix::fs::flock(&self.bundle, rustix::fs::FlockOperation::Unlock);
        failpoint::reach!("monitor.unlocked");
        let event = Event::Exited { exit_code: exit.exit_code };
        self.connections.tell_all(&event, |connection| {
            connection.id == BORN
                || connection.waits_for_end
                || connection.waits_for_last_end
                || connection.waits_for_start
                || connection.attached
        });
        failpoint::reach!("monitor.end_told");
        if !removed_by_engine {
            crate::monitor::finish::run(&self.start.finish);
        }
        written.map_err(|error| MonitorError::System("write exit.json of the container", error))?;
        let is_main = self.notifier.is_some_and(|notifier| notifier.is_main);
        Ok(if is_main { u8::try_from(exit.exit_code).unwrap_or(255) } else { 0 })
    }
}
