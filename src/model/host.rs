//! Facts about the machine and the user, as the engine found them by trying.

use serde::{Deserialize, Serialize};

/// One line of a user namespace's map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id outside of it.
    pub outside: u32,
    /// How many ids follow one another; at least 1.
    pub count: u32,
}

/// A user namespace's maps of user and group ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMap {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
}

impl IdMap {
    /// The map of a namespace in which root is this user, and there is nobody else.
    pub fn of_one(uid: u32, gid: u32) -> Self {
        let one = |outside| vec![IdRange { inside: 0, outside, count: 1 }];
        Self { uids: one(uid), gids: one(gid) }
    }

    /// Whether it has one user and one group. Every other id is then a matter of records.
    pub fn is_of_one(&self) -> bool {
        let one = |ranges: &[IdRange]| matches!(ranges, [range] if range.count == 1);
        one(&self.uids) && one(&self.gids)
    }

    /// Ranges as the kernel has them: the first id inside, the first outside, how many.
    pub fn lines(ranges: &[IdRange]) -> Vec<(u32, u32, u32)> {
        ranges.iter().map(|range| (range.inside, range.outside, range.count)).collect()
    }

    /// Whether `id` inside the namespace is mapped by `ranges`.
    pub fn maps(ranges: &[IdRange], id: u32) -> bool {
        Self::outside(ranges, id).is_some()
    }

    /// The id outside that `id` inside means.
    pub fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
        ranges.iter().find_map(|range| {
            let offset = id.checked_sub(range.inside)?;
            (offset < range.count).then(|| range.outside.checked_add(offset)).flatten()
        })
    }

    /// The highest id inside, or 0 for an empty map.
    pub fn highest(ranges: &[IdRange]) -> u32 {
        ranges.iter().map(|range| range.inside.saturating_add(range.count.saturating_sub(1))).max().unwrap_or(0)
    }
}

impl HostFacts {
    /// Whether a container has one id on disk, and root inside is made believe in the others.
    pub fn pretends(&self) -> bool {
        self.user_namespace && self.id_map.is_of_one()
    }
}

/// What `spec` needs to know of the machine.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Our effective user id in the namespace we run in.
    pub uid: u32,
    /// Our effective group id.
    pub gid: u32,
    /// Whether the container gets a user namespace of its own (always, without root).
    pub user_namespace: bool,
    /// The map of that namespace.
    pub id_map: IdMap,
    /// `uname -r` as (major, minor).
    pub kernel: (u32, u32),
    /// Our own hard limits, by name as in `RLIMIT_NOFILE`; soft and hard limits
    /// above them cannot be given to a container. What is not named has none.
    pub hard_limits: Vec<(String, u64)>,
    /// The host's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The host's `/etc/hosts`, for `--network host`.
    pub hosts: String,
    /// An address by which the container reaches the host, if its network has one.
    pub gateway: Option<String>,
    /// The host's name.
    pub hostname: String,
    /// Whether a fresh procfs can be mounted in a new pid namespace (not so
    /// where the host's own is over-mounted, as inside another container).
    pub fresh_proc: bool,
    /// Whether AppArmor is enabled and its profiles can be switched to.
    pub apparmor: bool,
}
