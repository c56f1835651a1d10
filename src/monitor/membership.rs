//! Networks of many: the monitor joins them before its container is born, below their user namespace, and stays on them
//! for as long as it runs.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::error::MonitorError;
use crate::launch::parent::{self, Below, Held, Stdio};
use crate::launch::{LaunchError, Mapping, Plan};
use crate::model::lifecycle::ProcessIdentity;
use crate::network::holder::client::{self, Joined};
use crate::network::plug;
use crate::network::segment::{Membership, Plug, translate};
use crate::sys::clone::{Namespaces, clone3};
use crate::sys::identity;
use crate::sys::idmap::{self, Line};

/// Joins the networks; waits until they are there.
///
/// # Errors
/// With what failed.
pub fn join(membership: &Membership) -> Result<Joined, MonitorError> {
    client::join(&membership.keeper, &membership.plugs).map_err(MonitorError::Network)
}

/// Makes the first process of a container on networks, and puts it on them.
///
/// # Errors
/// With what failed; nothing is left behind.
pub fn born(
    plan: &Plan,
    mapping: &Mapping,
    (membership, joined): (&Membership, &Joined),
    stdio: Stdio<'_>,
) -> Result<Held, MonitorError> {
    let connect = |pid| plug::plug(&membership.plugs, joined.network.as_fd(), pid);
    let Some(user) = &joined.user else {
        let held = parent::start(plan, mapping, stdio, None)?;
        beside(|| connect(held.pid())).map_err(LaunchError::Below)?;
        return Ok(held);
    };
    let then = |pid| {
        map(plan, pid)?;
        connect(pid)
    };
    let below = Below { user: Some(user.as_fd()), network: None, then: &then };
    Ok(parent::start_below(plan, &below, stdio, None)?)
}

/// Makes the first process of a container in the network namespace of the process `other`.
///
/// # Errors
/// With what failed, or that the process has ended; nothing is left behind.
pub fn born_beside(plan: &Plan, other: &ProcessIdentity, stdio: Stdio<'_>) -> Result<Held, MonitorError> {
    let ended = || MonitorError::Network("the container that it belongs to has ended".to_owned());
    let open = |kind: &str| {
        let path = format!("/proc/{}/ns/{kind}", other.pid);
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|_| ended())
    };
    let own_user = plan.namespaces.contains(Namespaces::USER);
    let (network, user) = (open("net")?, own_user.then(|| open("user")).transpose()?);
    // Opened first, compared after: they stay with the process they were opened of.
    if identity::started_ticks(other.pid) != Ok(other.started_ticks) {
        return Err(ended());
    }
    let then = |pid| if own_user { map(plan, pid) } else { Ok(()) };
    let below = Below { user: user.as_ref().map(AsFd::as_fd), network: Some(network.as_fd()), then: &then };
    Ok(parent::start_below(plan, &below, stdio, None)?)
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

/// Writes the maps of `pid`, whose user namespace is a child of ours.
fn map(plan: &Plan, pid: u32) -> Result<(), String> {
    let in_ours = |lines: &[Line], file: &str| {
        let ours = std::fs::read_to_string(file).map_err(|error| format!("read {file}: {error}"))?;
        let ours = idmap::parse(&ours).ok_or_else(|| format!("read {file}: it is no map"))?;
        translate(lines, &ours).ok_or_else(|| "an id of the container is not mapped where its network is".to_owned())
    };
    let (uids, gids) = (in_ours(&plan.uid_map, "/proc/self/uid_map")?, in_ours(&plan.gid_map, "/proc/self/gid_map")?);
    idmap::write_directly(pid, &uids, &gids, false).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("map the container's ids: {error}{cause}")
    })
}

/// Does `work` in another process, whose namespaces do not matter afterwards.
fn beside(work: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (read, write) = pipe.map_err(|error| format!("make a pipe: {error}"))?;
    let child = clone3(Namespaces::empty(), None, |_| {
        let sentence = work().err().unwrap_or_default();
        let _ = rustix::io::write(&write, sentence.as_bytes());
        0
    });
    let child = child.map_err(|error| format!("make a process: {error}"))?;
    drop(write);
    let mut said = String::new();
    let heard = std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut said);
    let _ = child.wait();
    heard.map_err(|error| format!("hear of the network: {error}"))?;
    if said.is_empty() { Ok(()) } else { Err(said) }
}
