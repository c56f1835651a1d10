//! What a container is held to, and what the kernel does when it wants more memory.

use std::os::fd::{AsRawFd as _, RawFd};

use super::Life;
use crate::cgroup::Group;
use crate::cgroup::settings::Setting;
use crate::monitor::error::MonitorError;

/// 128 + SIGKILL.
const KILLED: i32 = 137;

impl Life {
    /// Looks whether the kernel has killed something, if one of `ready` says that it may have.
    pub(super) fn hear_of_memory(&mut self, ready: &[RawFd]) {
        let alarm = self.group.as_ref().and_then(Group::alarm);
        if alarm.is_some_and(|alarm| ready.contains(&alarm.as_raw_fd())) {
            self.look_at_memory();
        }
    }

    fn look_at_memory(&mut self) {
        if self.group.as_mut().map_or(0, Group::newly_killed) > 0 {
            self.out_of_memory = true;
            self.tell_happening("oom", &[]);
        }
    }

    /// Says so, if the first process has ended for want of memory.
    pub(super) fn judge_memory(&mut self, exit_code: i32) {
        // The end may be heard of before its cause.
        self.look_at_memory();
        if self.out_of_memory && exit_code == KILLED && self.reason.is_none() && !self.by_user {
            let limit = self.start.cgroup.iter().flat_map(|placement| &placement.settings);
            let limit = limit.rev().find(|setting| setting.file == "memory.max");
            let limit = limit.map(|limit| format!(" of {} bytes", limit.value)).unwrap_or_default();
            self.reason = Some(format!("the kernel killed it: it needed more than its memory{limit}"));
        }
    }

    /// Holds it to this from now on, also when it is started again.
    ///
    /// # Errors
    /// If it has no cgroup, or the kernel refuses one of them.
    pub(in crate::monitor) fn limit(&mut self, settings: Vec<Setting>) -> Result<(), MonitorError> {
        let group = self.group.as_ref().ok_or(MonitorError::NoCgroup)?;
        group.apply(&settings)?;
        if let Some(placement) = &mut self.start.cgroup {
            placement.settings.retain(|known| settings.iter().all(|newer| newer.file != known.file));
            placement.settings.extend(settings);
        }
        Ok(())
    }
}
