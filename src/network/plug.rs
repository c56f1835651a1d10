//! Puts a container on its networks: a pair of interfaces for each, one end at the bridge.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sched::CloneFlags;
use pybox_netns_helper::Error;
use pybox_netns_helper::links::Links;

use super::segment::Plug;

/// Connects the network namespace of the process `pid`. To be called in a process of one thread that has all rights in
/// the user namespace that owns `networks`, and in the one that owns the process's; it is in the latter's network
/// namespace afterwards.
///
/// # Errors
/// With the sentence that says what failed.
pub fn plug(plugs: &[Plug], networks: BorrowedFd<'_>, pid: u32) -> Result<(), String> {
    let path = format!("/proc/{pid}/ns/net");
    let container = File::open(&path).map_err(|error| format!("open {path}: {error}"))?;
    let enter = |namespace: BorrowedFd<'_>| {
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("enter the namespace of a network: {error}"))
    };
    enter(networks)?;
    let mut links = Links::open().map_err(|error| error.to_string())?;
    for plug in plugs {
        let failed = failed(plug);
        let (bridge, inside) = (&plug.segment.bridge, &plug.interface);
        // One of the same name is what a start before this one has left.
        links.remove(&plug.outside).map_err(&failed)?;
        links.add_veth(&plug.outside, bridge, inside, container.as_fd(), Some(plug.mac)).map_err(&failed)?;
    }
    enter(container.as_fd())?;
    let mut links = Links::open().map_err(|error| error.to_string())?;
    links.set_up("lo").map_err(|error| error.to_string())?;
    for (metric, plug) in (100_u32..).step_by(100).zip(plugs) {
        let failed = failed(plug);
        for (address, prefix) in &plug.addresses {
            links.add_address(&plug.interface, *address, *prefix).map_err(&failed)?;
        }
        links.set_up(&plug.interface).map_err(&failed)?;
        if plug.leads_out {
            for (gateway, _) in &plug.segment.gateways {
                links.add_default_route(*gateway, metric).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

/// Puts the process's network namespace on the networks of `wanted` that it is not on, and takes it off those of
/// `present` that are not wanted; see [`plug`].
///
/// # Errors
/// With the sentence that says what failed.
pub fn change(present: &[Plug], wanted: &[Plug], networks: BorrowedFd<'_>, pid: u32) -> Result<(), String> {
    let path = format!("/proc/{pid}/ns/net");
    let container = File::open(&path).map_err(|error| format!("open {path}: {error}"))?;
    let has = |plugs: &[Plug], one: &Plug| {
        plugs.iter().any(|plug| plug.outside == one.outside && plug.segment.bridge == one.segment.bridge)
    };
    let enter = |namespace: BorrowedFd<'_>| {
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("enter the namespace of a network: {error}"))
    };
    enter(networks)?;
    let mut links = Links::open().map_err(|error| error.to_string())?;
    for gone in present.iter().filter(|plug| !has(wanted, plug)) {
        links.remove(&gone.outside).map_err(failed(gone))?;
    }
    let new: Vec<Plug> = wanted.iter().filter(|plug| !has(present, plug)).cloned().collect();
    plug(&new, networks, pid)?;
    // The way out may have gone with a network, and another one takes its place.
    enter(container.as_fd())?;
    let mut links = Links::open().map_err(|error| error.to_string())?;
    let led_out = |outside: &str| present.iter().any(|plug| plug.outside == outside && plug.leads_out);
    for next in wanted.iter().filter(|plug| plug.leads_out && has(present, plug) && !led_out(&plug.outside)) {
        for (gateway, _) in &next.segment.gateways {
            links.add_default_route(*gateway, 100).map_err(failed(next))?;
        }
    }
    Ok(())
}

fn failed(plug: &Plug) -> impl Fn(Error) -> String + '_ {
    |error| format!("connect to network {}: {error}", plug.segment.name)
}
