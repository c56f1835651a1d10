//! Packet rules of the networks: a table of nftables that is ours alone.
//!
//! The rules are decided as data (`plan`), and written as one batch (`wire`),
//! which the kernel takes whole or not at all: there is no moment at which a
//! network is half open. Tables of others are not looked at; a packet that one
//! of them drops stays dropped.

mod plan;
mod rule;
mod wire;

use std::net::{IpAddr, SocketAddr};

use crate::Error;

/// One network, as far as packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The link that its members are ports of.
    pub bridge: String,
    /// Where its members have addresses, with the length of the prefix.
    pub subnets: Vec<(IpAddr, u8)>,
    /// Whether it reaches nothing but itself.
    pub internal: bool,
}

/// What a published port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of this network namespace that leads to a member of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// What it carries.
    pub protocol: Protocol,
    /// The address that it is open at; all but those of loopback if none is named. For one of `127.0.0.0/8`, which only
    /// the host itself reaches, the kernel needs `route_localnet` of the bridge; `::1` it sends nowhere.
    pub host_address: Option<IpAddr>,
    /// The port there.
    pub host_port: u16,
    /// Where it leads.
    pub to: SocketAddr,
}

/// Makes the table `inet <table>` anew, at one stroke, so that
///
/// - what goes from a zone's subnet to the outside has the outside's address,
/// - zones do not reach each other, nor each other's gateways, except by published ports,
/// - an internal zone and the outside do not reach each other; of this namespace it reaches the addresses in its own
///   subnets,
/// - published ports lead where they should, for the outside, for zones that are not internal, and from here.
///
/// Where bridges ask the rules of the namespace (`bridge-nf-call-iptables`, which is on wherever `br_netfilter` is), a
/// member does not reach itself by its own published port.
///
/// Without zones the table is removed.
pub fn replace(table: &str, zones: &[Zone], published: &[Published]) -> Result<(), Error> {
    if zones.is_empty() {
        return remove(table);
    }
    wire::check_table(table)?;
    for zone in zones {
        crate::links::check_name(&zone.bridge)?;
    }
    let chains = plan::plan(zones, published)?;
    wire::replace(table, &chains)
}

/// Removes the table. One that is not there is as good as removed.
pub fn remove(table: &str) -> Result<(), Error> {
    wire::check_table(table)?;
    wire::remove(table)
}
