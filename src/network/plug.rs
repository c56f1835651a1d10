//! Puts a container on its networks: a pair of interfaces for each, one end at the bridge.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sched::CloneFlags;
use pybox_netns_helper::Error;
use pybox_netns_helper::links::Links;

use super::segment::Plug;

/// Of the way out through a container's first network; others are tried after it.
const METRIC: u32 = 100;

/// Connects the network namespace of the process `pid`. To be called in a process of one thread that has all rights in
/// the user namespace that owns `networks`, and in the one that owns the process's; it is in the latter's network
/// namespace afterwards.
///
/// # Errors
/// With the sentence that says what failed.
pub fn plug(plugs: &[Plug], networks: BorrowedFd<'_>, pid: u32) -> Result<(), String> {
    let container = namespace_of(pid)?;
    let mut links = links_in(networks)?;
    for plug in plugs {
        let failed = failed(plug);
        let (bridge, inside) = (&plug.segment.bridge, &plug.interface);
        // One of the same name is what a start before this one has left.
        links.remove(&plug.outside).map_err(&failed)?;
        links.add_veth(&plug.outside, bridge, inside, container.as_fd(), Some(plug.mac)).map_err(&failed)?;
    }
    let mut links = links_in(container.as_fd())?;
    links.set_up("lo").map_err(|error| error.to_string())?;
    for (metric, plug) in (METRIC..).step_by(100).zip(plugs) {
        let failed = failed(plug);
        for (address, prefix) in &plug.addresses {
            links.add_address(&plug.interface, *address, *prefix).map_err(&failed)?;
        }
        links.set_up(&plug.interface).map_err(&failed)?;
        if plug.leads_out {
            lead_out(&mut links, plug, metric)?;
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
    let container = namespace_of(pid)?;
    let has = |plugs: &[Plug], one: &Plug| {
        plugs.iter().any(|plug| plug.outside == one.outside && plug.segment.bridge == one.segment.bridge)
    };
    let mut links = links_in(networks)?;
    for gone in present.iter().filter(|plug| !has(wanted, plug)) {
        links.remove(&gone.outside).map_err(failed(gone))?;
    }
    let new: Vec<Plug> = wanted.iter().filter(|plug| !has(present, plug)).cloned().collect();
    plug(&new, networks, pid)?;
    // The way out may have gone with a network, and another one takes its place.
    let mut links = links_in(container.as_fd())?;
    let led_out = |outside: &str| present.iter().any(|plug| plug.outside == outside && plug.leads_out);
    for next in wanted.iter().filter(|plug| plug.leads_out && has(present, plug) && !led_out(&plug.outside)) {
        lead_out(&mut links, next, METRIC)?;
    }
    Ok(())
}

fn namespace_of(pid: u32) -> Result<File, String> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).map_err(|error| format!("open {path}: {error}"))
}

/// Enters the namespace, and speaks to the kernel about its links.
fn links_in(namespace: BorrowedFd<'_>) -> Result<Links, String> {
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("enter the namespace of a network: {error}"))?;
    Links::open().map_err(|error| error.to_string())
}

/// What is addressed to nobody near goes this way.
fn lead_out(links: &mut Links, plug: &Plug, metric: u32) -> Result<(), String> {
    let gateways = plug.segment.gateways.iter();
    gateways
        .map(|(gateway, _)| *gateway)
        .try_for_each(|gateway| links.add_default_route(gateway, metric))
        .map_err(failed(plug))
}

fn failed(plug: &Plug) -> impl Fn(Error) -> String + '_ {
    |error| format!("connect to network {}: {error}", plug.segment.name)
}
