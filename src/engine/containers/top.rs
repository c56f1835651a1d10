//! `top`.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind, ListProcesses, Process, Processes};
use crate::engine::processes::Snapshot;
use crate::engine::processes::stat::{self, Stat};
use crate::monitor::record;
use crate::store::Access;

impl Engine {
    /// The processes of a container.
    ///
    /// # Errors
    /// If there is no such container, or it does not run.
    pub(in crate::engine) fn list_processes(&self, list: &ListProcesses) -> Result<Processes, Failure> {
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &list.name)?;
        let not_running = || {
            Failure::say(FailureKind::Conflict, format!("container {} is not running", container.name))
                .hint(format!("pybox start {}", container.name))
        };
        let init = container.lifecycle.init().ok_or_else(not_running)?;
        let snapshot = Snapshot::take();
        let found = snapshot.of(init);
        if found.is_empty() {
            return Err(not_running());
        }
        let (uids, gids) = (map(init.pid, "uid_map"), map(init.pid, "gid_map"));
        let clock = Clock::read();
        let mut processes: Vec<Process> =
            found.into_iter().filter_map(|stat| describe(stat, &clock, (&uids, &gids))).collect();
        name_parents(&mut processes);
        Ok(Processes { list: processes, at: record::now() })
    }
}

/// What ticks and pages are.
struct Clock {
    per_second: u64,
    /// Milliseconds since the epoch.
    boot: i64,
    page: u64,
}

impl Clock {
    fn read() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
        Self {
            per_second: rustix::param::clock_ticks_per_second().max(1),
            boot: boot.unwrap_or_default().saturating_mul(1000),
            page: rustix::param::page_size() as u64,
        }
    }

    fn millis(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1000) / self.per_second
    }
}

fn describe(stat: &Stat, clock: &Clock, (uids, gids): (&[Range], &[Range])) -> Option<Process> {
    // One that has ended since is not there.
    let status = stat::status(stat.pid)?;
    Some(Process {
        host_pid: stat.pid,
        host_parent: stat.parent,
        // A process in a namespace further down is known there by its last number; here by the second.
        pid: status.pids.get(1).or(status.pids.first()).copied()?,
        parent: 0,
        group: stat.group,
        uid: inside(uids, status.uid),
        gid: inside(gids, status.gid),
        host_uid: status.uid,
        host_gid: status.gid,
        state: stat.state,
        started: clock.boot.saturating_add_unsigned(clock.millis(stat.started_ticks)),
        ran: clock.millis(stat.ran),
        nice: stat.nice,
        threads: stat.threads,
        virtual_bytes: stat.virtual_bytes,
        resident: stat.resident_pages.saturating_mul(clock.page),
        terminal: terminal(stat.terminal),
        command: stat.command.clone(),
        arguments: stat::arguments(stat.pid),
    })
}

/// A parent that is no process of the container has no pid there.
fn name_parents(processes: &mut [Process]) {
    let pids: BTreeMap<u32, u32> = processes.iter().map(|process| (process.host_pid, process.pid)).collect();
    for process in processes {
        process.parent = pids.get(&process.host_parent).copied().unwrap_or(0);
    }
}

/// A line of user_namespaces(7): inside, outside, count.
type Range = (u32, u32, u32);

fn map(pid: u32, name: &str) -> Vec<Range> {
    parse_map(&std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default())
}

fn parse_map(text: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(range).collect()
}

/// What the host's id is called inside; the map is told in ids of the namespace that we are in.
fn inside(map: &[Range], outside: u32) -> Option<u32> {
    map.iter().find_map(|(inside, from, count)| {
        let offset = outside.checked_sub(*from).filter(|offset| offset < count)?;
        inside.checked_add(offset)
    })
}

/// The name of a terminal by its device number: of a pseudo-terminal, or of the console.
fn terminal(device: u32) -> Option<String> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        0 => None,
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        4 => Some(format!("tty{minor}")),
        _ => Some(format!("{major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_container() {
        let map = parse_map("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(inside(&map, 1000), Some(0));
        assert_eq!(inside(&map, 100_032), Some(33));
        assert_eq!(inside(&map, 165_536), None);
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(34816), Some("pts/0".into()));
        assert_eq!(terminal(34818), Some("pts/2".into()));
        assert_eq!(terminal(1025), Some("tty1".into()));
    }

    #[test]
    fn a_parent_outside_is_nobody() {
        let process = |host_pid, host_parent, pid| Process { host_pid, host_parent, pid, ..Process::default() };
        let mut processes = vec![process(100, 50, 1), process(101, 100, 2), process(102, 50, 7)];
        name_parents(&mut processes);
        assert_eq!(processes.iter().map(|process| process.parent).collect::<Vec<_>>(), [0, 1, 0]);
    }
}
