//! The processes of containers, as the host's /proc shows them: for `top` and `stats`.
//!
//! To a container belong all processes in the pid namespace of its first one,
//! wherever they were started, and what descends from them into namespaces of
//! their own. Looking at the host's /proc needs no program in the container, and
//! nothing that it could have put in the way.

pub(super) mod stat;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::lifecycle::ProcessIdentity;
use stat::Stat;

/// All processes of the machine that we may look at, at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    processes: BTreeMap<u32, Stat>,
}

impl Snapshot {
    /// Looks at /proc once.
    pub(super) fn take() -> Self {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        Self { processes: pids.filter_map(|pid| Some((pid, stat::read(pid)?))).collect() }
    }

    /// The processes of the container whose first process is `init`, by pid; none if that has gone.
    pub(super) fn of(&self, init: &ProcessIdentity) -> Vec<&Stat> {
        let is_init = |process: &&Stat| process.started_ticks == init.started_ticks;
        if self.processes.get(&init.pid).filter(is_init).is_none() {
            return Vec::new();
        }
        let namespace = pid_namespace(init.pid);
        let mut members: BTreeSet<u32> = self
            .processes
            .keys()
            .copied()
            .filter(|pid| *pid == init.pid || (namespace.is_some() && pid_namespace(*pid) == namespace))
            .collect();
        self.add_descendants(&mut members);
        members.iter().filter_map(|pid| self.processes.get(pid)).collect()
    }

    fn add_descendants(&self, members: &mut BTreeSet<u32>) {
        loop {
            let children = self.processes.values().filter(|process| members.contains(&process.parent));
            let new: Vec<u32> = children.map(|process| process.pid).filter(|pid| !members.contains(pid)).collect();
            if new.is_empty() {
                return;
            }
            members.extend(new);
        }
    }
}

/// Which pid namespace a process is in; none where we may not know, which is the case for other people's.
fn pid_namespace(pid: u32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_children_of_a_process_belong_to_it_and_a_recycled_pid_to_nobody() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let us = std::process::id();
        let ticks = crate::sys::identity::started_ticks(us).expect("we live");
        let init = ProcessIdentity { pid: us, started_ticks: ticks, boot_id: String::new() };
        let snapshot = Snapshot::take();
        let pids: Vec<u32> = snapshot.of(&init).iter().map(|process| process.pid).collect();
        assert!(pids.contains(&us) && pids.contains(&child.id()), "{pids:?}");
        let other = ProcessIdentity { started_ticks: ticks + 1, ..init };
        assert!(snapshot.of(&other).is_empty());
        child.kill().expect("kill");
        child.wait().expect("reap");
    }
}
