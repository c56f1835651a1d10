//! The process in the namespaces: it has what it is ordered to have, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use landlock::{ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, path_beneath_rules};
use nix::sched::CloneFlags;
use pybox_netns_helper::links::Links;
use pybox_netns_helper::names::{Entry, Server};
use pybox_netns_helper::rules::{self, Zone};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::wire::{self, Order, Present, Said};
use crate::network::pasta;
use crate::network::segment::Segment;
use crate::sys::call_filter;
use crate::sys::worker_limits::close_from;

/// How long it waits for another process outside.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where name servers may be named; /etc/resolv.conf is often a link.
const PLACES: [&str; 3] = ["/etc", "/run", "/mnt/wsl"];
/// Set in every network namespace that forwards.
const SETTINGS: [(&str, &str); 2] =
    [("/proc/sys/net/ipv4/ip_forward", "1"), ("/proc/sys/net/ipv6/conf/all/forwarding", "1")];

pub(super) fn main() -> u8 {
    if close_from(3).is_err() {
        return 2;
    }
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let _ = rustix::thread::set_name(c"pybox-networks");
    let mut builder = match enter(socket) {
        Ok(Some(server)) => Builder { server, table: "pybox".to_owned(), present: BTreeMap::new(), uplink: None },
        Ok(None) => return 2,
        Err(sentence) => {
            let _ = wire::send(socket, &Said::Failed(sentence), &[]);
            return 1;
        }
    };
    if wire::send(socket, &Said::Done, &[]).is_err() {
        return 1;
    }
    loop {
        let said = match wire::receive::<Order>(socket) {
            Ok(Some((Order::Have(present), _))) => builder.have(&present).map_or_else(Said::Failed, |()| Said::Done),
            Ok(Some((Order::Know { table, left }, _))) => {
                builder.table = table;
                builder.present.extend(left.into_iter().map(|bridge| (bridge, None)));
                Said::Done
            }
            Ok(Some((Order::Uplink, fds))) => {
                builder.uplink = fds.into_iter().next();
                Said::Done
            }
            Ok(Some((Order::End, _))) => break,
            Ok(Some(_)) => Said::Failed("it is inside already".to_owned()),
            Ok(None) | Err(_) => {
                // The namespaces are ours to keep until somebody takes over, who kills us.
                std::thread::sleep(PATIENCE);
                break;
            }
        };
        // Whoever is not there any more is found out by the next turn.
        let _ = wire::send(socket, &said, &[]);
    }
    // The host's own namespace stays, and so would what is in it.
    let _ = builder.have(&[]);
    builder.cut();
    0
}

/// Makes the namespaces, or enters those on board, and becomes root there. None if there is no order.
fn enter(socket: BorrowedFd<'_>) -> Result<Option<Server>, String> {
    let failed = |what: &'static str| move |error: Errno| format!("{what}: {error}");
    let mut in_hosts = false;
    let made = |error: nix::errno::Errno| format!("make the namespaces of the networks: {error}");
    match wire::receive::<Order>(socket) {
        Ok(Some((Order::Stay, _))) => in_hosts = true,
        Ok(Some((Order::Make, _))) => {
            nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(made)?;
            wire::send(socket, &Said::Born, &[]).map_err(failed("speak"))?;
            match wire::receive::<Order>(socket) {
                Ok(Some((Order::Mapped, _))) => {}
                _ => return Ok(None),
            }
        }
        Ok(Some((Order::Enter, fds))) => {
            // A user's networks have a user namespace, too.
            in_hosts = fds.len() == 1;
            for fd in fds {
                nix::sched::setns(fd, CloneFlags::empty())
                    .map_err(|error| format!("enter the namespaces of the networks: {error}"))?;
            }
        }
        _ => return Ok(None),
    }
    rustix::thread::set_thread_gid(Gid::ROOT).map_err(failed("become root"))?;
    rustix::thread::set_thread_uid(Uid::ROOT).map_err(failed("become root"))?;
    for (file, value) in SETTINGS {
        // A kernel without IPv6 has no such file. A host that forwards IPv6 may lose its own way out, which it has been
        // told of by routers: root's networks have what the host has.
        if std::path::Path::new(file).exists() && !(in_hosts && file.contains("ipv6")) {
            std::fs::write(file, value).map_err(|error| format!("write {file}: {error}"))?;
        }
    }
    Links::open().and_then(|mut links| links.set_up("lo")).map_err(|error| error.to_string())?;
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE | CapabilitySet::KILL;
    let sets = CapabilitySets { effective: needed, permitted: needed, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed("give up rights"))?;
    confine().map_err(|error| format!("confine the keeper of networks: {error}"))?;
    Ok(Some(if in_hosts { Server::new(|| servers(&of_host())) } else { Server::new(through_pasta) }))
}

/// What it hears on networks is said by containers: from here on it executes nothing, enters nothing, and reads what name
/// servers the host has. Its threads are made later, and have the same.
fn confine() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let rules = path_beneath_rules(PLACES, read);
    // A kernel without landlock has the other confinement.
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5)).and_then(|ruleset| ruleset.create());
    let confined = ruleset.and_then(|ruleset| ruleset.add_rules(rules)).and_then(|ruleset| ruleset.restrict_self());
    confined.map_err(std::io::Error::other)?;
    Ok(call_filter::keep_networks_only()?)
}

/// What the host says of its name servers.
pub(super) fn of_host() -> String {
    std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// The host's name servers; those of its loopback are reached through pasta.
fn through_pasta() -> Vec<std::net::SocketAddr> {
    servers(&pasta::name_servers(&of_host()))
}

fn servers(text: &str) -> Vec<std::net::SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        address.parse::<IpAddr>().ok().map(|address| (address, 53).into())
    };
    text.lines().filter_map(server).collect()
}

struct Builder {
    server: Server,
    /// The name of our table of rules.
    table: String,
    /// By bridge; none for what somebody before us has made.
    present: BTreeMap<String, Option<Segment>>,
    /// The process that leads out; it ends with us.
    uplink: Option<OwnedFd>,
}

impl Builder {
    /// Makes what is missing, removes what is too much, and tells the name server who is there.
    fn have(&mut self, wanted: &[Present]) -> Result<(), String> {
        let mut links = Links::open().map_err(|error| error.to_string())?;
        let gone: Vec<String> = self
            .present
            .keys()
            .filter(|bridge| wanted.iter().all(|present| present.segment.bridge != **bridge))
            .cloned()
            .collect();
        let mut changed = !gone.is_empty();
        for bridge in gone {
            self.server.forget(&bridge);
            links.remove(&bridge).map_err(|error| error.to_string())?;
            self.present.remove(&bridge);
        }
        for Present { segment, .. } in wanted {
            if !matches!(self.present.get(&segment.bridge), Some(Some(_))) {
                self.add(&mut links, segment).inspect_err(|_| drop(links.remove(&segment.bridge)))?;
                self.present.insert(segment.bridge.clone(), Some(segment.clone()));
                changed = true;
            }
        }
        if changed {
            let zones: Vec<Zone> = self.present.values().flatten().map(zone).collect();
            rules::replace(&self.table, &zones, &[]).map_err(|error| error.to_string())?;
        }
        for Present { segment, people } in wanted {
            let entry = |person: &wire::Person| Entry {
                names: person.names.clone(),
                addresses: person.addresses.clone(),
                also: person.also.clone(),
            };
            self.server.set(&segment.bridge, people.iter().map(entry).collect());
        }
        Ok(())
    }

    fn add(&mut self, links: &mut Links, segment: &Segment) -> Result<(), String> {
        let bridge = &segment.bridge;
        let failed = |error: pybox_netns_helper::Error| format!("make network {}: {error}", segment.name);
        links.add_bridge(bridge).map_err(failed)?;
        for (address, prefix) in &segment.gateways {
            links.add_address(bridge, *address, *prefix).map_err(failed)?;
        }
        links.set_up(bridge).map_err(failed)?;
        if !segment.nameless {
            for (address, _) in &segment.gateways {
                self.server.listen(bridge, *address).map_err(failed)?;
            }
            if segment.internal {
                self.server.keep_inside(bridge);
            }
        }
        Ok(())
    }

    /// Ends the uplink.
    fn cut(&self) {
        if let Some(uplink) = &self.uplink {
            let _ = rustix::process::pidfd_send_signal(uplink, rustix::process::Signal::KILL);
        }
    }
}

fn zone(segment: &Segment) -> Zone {
    Zone { bridge: segment.bridge.clone(), subnets: segment.gateways.clone(), internal: segment.internal }
}
