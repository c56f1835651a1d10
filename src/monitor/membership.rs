//! Networks of many: the monitor joins them before its container is born, below their user namespace, and stays on them
//! for as long as it runs.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::error::MonitorError;
use crate::launch::parent::{self, Below, Held, Stdio};
use crate::launch::{LaunchError, Mapping, Plan};
use crate::model::lifecycle::ProcessIdentity;
use crate::network::holder::client::{self, Joined};
use crate::network::plug;
use crate::network::segment::{Membership, Plug, translate};
use crate::sys::clone::{Namespaces, beside};
use crate::sys::identity;
use crate::sys::idmap::{self, Line};

/// Joins the networks; waits until they are there. `before` is what the membership was, if there was one.
///
/// # Errors
/// With what failed.
pub fn join(membership: &Membership, before: Option<&Joined>) -> Result<Joined, MonitorError> {
    client::join(&membership.keeper, &membership.plugs, before).map_err(MonitorError::Network)
}

/// Makes the first process of a container on networks, and puts it on them.
///
/// # Errors
/// With what failed; nothing is left behind.
pub fn born(
    plan: &Plan,
    mapping: &Mapping,
    (membership, joined): (&Membership, &Joined),
    (stdio, cgroup): (Stdio<'_>, Option<BorrowedFd<'_>>),
) -> Result<Held, MonitorError> {
    let connect = |pid| plug::plug(&membership.plugs, joined.network.as_fd(), pid);
    let Some(user) = &joined.user else {
        let held = parent::start(plan, mapping, stdio, cgroup)?;
        beside(|| connect(held.pid())).map_err(LaunchError::Below)?;
        return Ok(held);
    };
    let then = |pid| {
        // The networks' user namespace is a child of ours, so it has our words for what is outside.
        map(plan, pid, &ids("/proc/self")?)?;
        connect(pid)
    };
    let below = Below { user: Some(user.as_fd()), network: None, then: &then };
    Ok(parent::start_below(plan, &below, stdio, cgroup)?)
}

/// Makes the first process of a container in the network namespace of the process `other`.
///
/// # Errors
/// With what failed, or that the process has ended; nothing is left behind.
pub fn born_beside(
    plan: &Plan,
    other: &ProcessIdentity,
    (stdio, cgroup): (Stdio<'_>, Option<BorrowedFd<'_>>),
) -> Result<Held, MonitorError> {
    let ended = || MonitorError::Network("the container that it belongs to has ended".to_owned());
    let open = |kind: &str| {
        let path = format!("/proc/{}/ns/{kind}", other.pid);
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|_| ended())
    };
    let own_user = plan.namespaces.contains(Namespaces::USER);
    let (network, user) = (open("net")?, own_user.then(|| open("user")).transpose()?);
    // In our words for what is outside: inside they would be those of its parent, whoever that is.
    let theirs = if own_user { ids(&format!("/proc/{}", other.pid)).map_err(|_| ended())? } else { Ids::default() };
    // Opened first, compared after: they stay with the process they were opened of.
    if identity::started_ticks(other.pid) != Ok(other.started_ticks) {
        return Err(ended());
    }
    let then = |pid| if own_user { map(plan, pid, &theirs) } else { Ok(()) };
    let below = Below { user: user.as_ref().map(AsFd::as_fd), network: Some(network.as_fd()), then: &then };
    Ok(parent::start_below(plan, &below, stdio, cgroup)?)
}

/// Puts the container of the process `pid` on those networks of `wanted` that it is not on, and takes it off the others.
///
/// # Errors
/// With what failed.
pub fn change(joined: &Joined, pid: u32, present: &[Plug], wanted: &[Plug]) -> Result<(), MonitorError> {
    beside(|| {
        if let Some(user) = &joined.user {
            // Its rights are enough for both namespaces.
            let entered = nix::sched::setns(user, nix::sched::CloneFlags::CLONE_NEWUSER);
            entered.map_err(|error| format!("enter the namespace of the networks: {error}"))?;
        }
        plug::change(present, wanted, joined.network.as_fd(), pid)
    })
    .map_err(MonitorError::Network)
}

/// The maps of users and of groups of a user namespace.
#[derive(Debug, Default)]
struct Ids {
    uids: Vec<Line>,
    gids: Vec<Line>,
}

/// Those of the process of this directory in /proc.
fn ids(process: &str) -> Result<Ids, String> {
    let read = |file: &str| {
        let path = format!("{process}/{file}");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
        idmap::parse(&text).ok_or_else(|| format!("read {path}: it is no map"))
    };
    Ok(Ids { uids: read("uid_map")?, gids: read("gid_map")? })
}

/// Writes the maps of `pid`, whose user namespace is a child of one with the maps `parent`.
fn map(plan: &Plan, pid: u32, parent: &Ids) -> Result<(), String> {
    let in_theirs = |lines: &[Line], parent: &[Line]| {
        translate(lines, parent).ok_or_else(|| "an id of the container is not mapped where its network is".to_owned())
    };
    let (uids, gids) = (in_theirs(&plan.uid_map, &parent.uids)?, in_theirs(&plan.gid_map, &parent.gids)?);
    idmap::write_directly(pid, &uids, &gids, false).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("map the container's ids: {error}{cause}")
    })
}
