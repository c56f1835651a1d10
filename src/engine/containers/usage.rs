//! `stats`: what containers use, from the files that the kernel has on each process.
//!
//! The container's cgroup goes before them: it also counts processes that ended
//! without being waited for, and shared memory once.

use super::cgroup;
use super::reconcile::{Look, look};
use crate::cgroup::placement::Seat;
use crate::cgroup::usage::{self, Usage as Known};
use crate::engine::Engine;
use crate::engine::api::{Failure, ReadUsage, Usage};
use crate::engine::host;
use crate::engine::processes::{Snapshot, stat};
use crate::store::Access;
use crate::store::containers::Container;

impl Engine {
    /// What each container has used up to now.
    ///
    /// # Errors
    /// If one that is named is not there.
    pub(in crate::engine) fn read_usage(&self, read: &ReadUsage) -> Result<Vec<Usage>, Failure> {
        let store = self.store(Access::Read)?;
        let containers: Vec<Container> = if read.names.is_empty() {
            let here = |container| match look(&store, container) {
                Look::Here(container) => Some(container),
                Look::Over(_) => None,
            };
            let alive = |container: &Container| read.all || container.lifecycle.is_alive();
            store.list_containers()?.into_iter().filter_map(here).filter(alive).collect()
        } else {
            read.names.iter().map(|name| self.find_container(&store, name)).collect::<Result<_, _>>()?
        };
        let looked = containers.iter().map(|container| (container, cgroup::seat(&store, &container.id)));
        let looked: Vec<_> = looked.map(|(container, seat)| (container, known(container, seat))).collect();
        // All of /proc, for those that have no cgroup that tells enough.
        let lacking = looked.iter().any(|(_, known)| !is_enough(known));
        let snapshot = if lacking { Snapshot::take() } else { Snapshot::default() };
        Ok(looked.into_iter().map(|(container, known)| usage(container, &snapshot, known)).collect())
    }
}

/// What the cgroup of a container knows, if that runs and has one.
fn known(container: &Container, seat: Option<Seat>) -> Known {
    let seat = seat.filter(|_| container.lifecycle.init().is_some());
    seat.map(|seat| usage::read(&seat.container)).unwrap_or_default()
}

fn is_enough(known: &Known) -> bool {
    known.processor.is_some() && known.memory.is_some() && known.pids.is_some() && known.disk.is_some()
}

fn usage(container: &Container, snapshot: &Snapshot, known: Known) -> Usage {
    let mut usage = Usage {
        id: container.id.clone(),
        name: container.name.clone(),
        state: container.lifecycle.word().to_owned(),
        processor: 0,
        memory: 0,
        memory_limit: host::memory(),
        threads: 0,
        read: 0,
        written: 0,
        received: 0,
        sent: 0,
        at: forward_clock(),
    };
    let Some(init) = container.lifecycle.init() else { return usage };
    let (ticks, page) = (rustix::param::clock_ticks_per_second().max(1), rustix::param::page_size() as u64);
    for process in snapshot.of(init) {
        let ran = (process.ran + process.children_ran).saturating_mul(1_000_000_000 / ticks);
        usage.processor = usage.processor.saturating_add(ran);
        usage.memory = usage.memory.saturating_add(process.resident_pages.saturating_mul(page));
        usage.threads += process.threads;
        if let Some((read, written)) = stat::disk_bytes(process.pid) {
            usage.read = usage.read.saturating_add(read);
            usage.written = usage.written.saturating_add(written);
        }
    }
    usage.processor = known.processor.unwrap_or(usage.processor);
    usage.memory = known.memory.unwrap_or(usage.memory);
    usage.memory_limit = known.memory_limit.map_or(usage.memory_limit, |limit| limit.min(usage.memory_limit));
    usage.threads = known.pids.unwrap_or(usage.threads);
    (usage.read, usage.written) = known.disk.unwrap_or((usage.read, usage.written));
    // In the host's network everybody's traffic would count.
    if container.request.network.is_own()
        && let Some((received, sent)) = stat::network_bytes(init.pid)
    {
        (usage.received, usage.sent) = (received, sent);
    }
    usage
}

fn forward_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
