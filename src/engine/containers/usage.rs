//! `stats`: what containers use, from the files that the kernel has on each process.
//!
//! A cgroup would know better: it also counts processes that ended without being
//! waited for, and shared memory once. There is none of ours yet.

use super::reconcile::{Look, look};
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
        let snapshot = Snapshot::take();
        Ok(containers.iter().map(|container| usage(container, &snapshot)).collect())
    }
}

fn usage(container: &Container, snapshot: &Snapshot) -> Usage {
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
