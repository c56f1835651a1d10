//! How this network namespace reaches the world, and the same for an interface elsewhere, as messages that somebody
//! else sends: whoever may not allocate, or has no crate for them.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::Error;
use crate::links::{Links, family, packed};
use crate::netlink::{ACK, CREATE, EXCLUSIVE, REQUEST};

/// Addresses of the interface that packets to everywhere leave by, and where they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Each with the length of its subnet's prefix; those that others may be told, no link-local ones.
    pub addresses: Vec<(IpAddr, u8)>,
    /// One for each kind of address.
    pub ways: Vec<Way>,
}

/// A way to everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether it is that of IPv6.
    pub v6: bool,
    /// The next machine on it; none on a line that has only one other end.
    pub gateway: Option<IpAddr>,
}

/// An interface that is there, and is to lead to the world.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Its index.
    pub index: u32,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Its hardware address, if it is not to be the one that it has.
    pub mac: Option<[u8; 6]>,
    /// Its addresses, and the ways out by it.
    pub uplink: &'a Uplink,
}

impl Links {
    /// How this namespace reaches the world: by the default route with the lowest metric of each kind of address. What
    /// has several next machines at once is left out.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn uplink(&mut self) -> Result<Uplink, Error> {
        let mut uplink = Uplink::default();
        for v6 in [false, true] {
            let Some((way, index)) = self.way(v6)? else { continue };
            let addresses = self.addresses(v6, index)?;
            // What has no address of its own to answer to leads nowhere.
            if !addresses.is_empty() {
                uplink.addresses.extend(addresses);
                uplink.ways.push(way);
            }
        }
        Ok(uplink)
    }

    fn way(&mut self, v6: bool) -> Result<Option<(Way, u32)>, Error> {
        let question = || {
            let mut question = RouteMessage::default();
            question.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
            RouteNetlinkMessage::GetRoute(question)
        };
        let routes = self.list(question, "routes")?.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) => default_way(&route, v6),
            _ => None,
        });
        Ok(routes.min_by_key(|(metric, ..)| *metric).map(|(_, way, index)| (way, index)))
    }

    fn addresses(&mut self, v6: bool, index: u32) -> Result<Vec<(IpAddr, u8)>, Error> {
        let all = self.list(|| RouteNetlinkMessage::GetAddress(AddressMessage::default()), "addresses")?;
        let of = |message| match message {
            RouteNetlinkMessage::NewAddress(address) if address.header.index == index => usable(&address),
            _ => None,
        };
        Ok(all.into_iter().filter_map(of).filter(|(address, _)| address.is_ipv6() == v6).collect())
    }
}

/// Metric, way and interface of a route of the main table to everywhere.
fn default_way(route: &RouteMessage, v6: bool) -> Option<(u32, Way, u32)> {
    let header = &route.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut table, mut metric, mut gateway, mut index) = (u32::from(header.table), 0, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(IpAddr::V4(*address)),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => gateway = Some(IpAddr::V6(*address)),
            RouteAttribute::Oif(number) => index = Some(*number),
            _ => {}
        }
    }
    let leads_out = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    leads_out.then_some(()).and(index).map(|index| (metric, Way { v6, gateway }, index))
}

/// An address that others may be told and that is known to be ours alone.
fn usable(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let not_yet =
        AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated | AddressFlags::Secondary;
    let (mut flags, mut local, mut near) = (AddressFlags::empty(), None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => near = Some(*address),
            _ => {}
        }
    }
    let is_global = message.header.scope == AddressScope::Universe;
    (is_global && !flags.intersects(not_yet)).then_some(())?;
    local.or(near).map(|address| (address, message.header.prefix_len))
}

impl Settings<'_> {
    /// The requests, each a whole message that is to be acknowledged, in the order they are to be sent; numbered from 1.
    /// Those about IPv6 come last: where it is switched off they are refused, and that is as it should be.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        let (of_v4, of_v6): (Vec<_>, Vec<_>) = [false, true]
            .into_iter()
            .flat_map(|v6| self.addresses(v6).chain(self.ways(v6)).map(move |message| (v6, message)))
            .partition(|(v6, _)| !v6);
        let all = [self.link()].into_iter().chain(of_v4.into_iter().chain(of_v6).map(|(_, message)| message));
        let flags = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::SetLink(_) => REQUEST | ACK,
            _ => REQUEST | ACK | CREATE | EXCLUSIVE,
        };
        (1..).zip(all).map(|(number, message)| packed(flags(&message), number, message)).collect()
    }

    /// How many of [`Self::requests`] must not be refused.
    pub fn required(&self) -> usize {
        1 + self.addresses(false).count() + self.ways(false).count()
    }

    fn link(&self) -> RouteNetlinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![LinkAttribute::Mtu(self.mtu)];
        link.attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        RouteNetlinkMessage::SetLink(link)
    }

    fn addresses(&self, v6: bool) -> impl Iterator<Item = RouteNetlinkMessage> + '_ {
        let of = move |(address, _): &&(IpAddr, u8)| address.is_ipv6() == v6;
        self.uplink.addresses.iter().filter(of).map(|(address, prefix)| {
            let mut message = AddressMessage::default();
            message.header.family = family(*address);
            message.header.prefix_len = *prefix;
            message.header.index = self.index;
            message.attributes = vec![AddressAttribute::Local(*address), AddressAttribute::Address(*address)];
            if address.is_ipv6() {
                // Nobody else is on this line: no second of waiting before it can be used.
                message.header.flags |= AddressHeaderFlags::Nodad;
            }
            RouteNetlinkMessage::NewAddress(message)
        })
    }

    fn ways(&self, v6: bool) -> impl Iterator<Item = RouteNetlinkMessage> + '_ {
        self.uplink.ways.iter().filter(move |way| way.v6 == v6).map(|way| {
            let mut route = RouteMessage::default();
            route.header.address_family = if way.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
            route.header.table = RouteHeader::RT_TABLE_MAIN;
            route.header.protocol = RouteProtocol::Boot;
            route.header.scope = RouteScope::Universe;
            route.header.kind = RouteType::Unicast;
            route.attributes = vec![RouteAttribute::Oif(self.index)];
            match way.gateway {
                Some(gateway) => {
                    // A host may have it outside of all its subnets.
                    route.header.flags |= RouteFlags::Onlink;
                    route.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
                }
                None if !way.v6 => route.header.scope = RouteScope::Link,
                None => {}
            }
            RouteNetlinkMessage::NewRoute(route)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{NetlinkMessage, NetlinkPayload};

    fn route(attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        route
    }

    #[test]
    fn only_what_leads_everywhere_is_a_way() {
        let gateway = RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 2, 2].into()));
        let whole = route(vec![gateway.clone(), RouteAttribute::Oif(3), RouteAttribute::Priority(100)]);
        let way = Way { v6: false, gateway: Some([10, 0, 2, 2].into()) };
        assert_eq!(default_way(&whole, false), Some((100, way, 3)));
        let mut near = whole.clone();
        near.header.destination_prefix_length = 8;
        let mut nowhere = whole.clone();
        nowhere.header.kind = RouteType::Unreachable;
        let other = route(vec![gateway.clone(), RouteAttribute::Oif(3), RouteAttribute::Table(7)]);
        for refused in [near, nowhere, other, route(vec![gateway])] {
            assert_eq!(default_way(&refused, false), None);
        }
    }

    #[test]
    fn addresses_that_are_not_yet_or_no_longer_ours_are_left_out() {
        let address = |scope, flags| {
            let mut message = AddressMessage::default();
            message.header.scope = scope;
            message.header.prefix_len = 64;
            let own = AddressAttribute::Address("fd00::2".parse().unwrap());
            message.attributes = vec![own, AddressAttribute::Flags(flags)];
            usable(&message)
        };
        let universe = AddressScope::Universe;
        assert_eq!(address(universe, AddressFlags::Permanent), Some(("fd00::2".parse().unwrap(), 64)));
        assert_eq!(address(AddressScope::Link, AddressFlags::Permanent), None);
        assert_eq!(address(universe, AddressFlags::Tentative), None);
        assert_eq!(address(universe, AddressFlags::Deprecated), None);
    }

    #[test]
    fn ipv6_comes_last_and_may_be_refused() {
        let uplink = Uplink {
            addresses: vec![("fd00::2".parse().unwrap(), 64), ([10, 0, 2, 15].into(), 24)],
            ways: vec![
                Way { v6: true, gateway: Some("fe80::1".parse().unwrap()) },
                Way { v6: false, gateway: Some([10, 0, 2, 2].into()) },
            ],
        };
        let settings = Settings { index: 9, mtu: 1500, mac: None, uplink: &uplink };
        let requests = settings.requests();
        assert_eq!((requests.len(), settings.required()), (5, 3));
        let kinds: Vec<_> = requests
            .iter()
            .map(|bytes| NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).expect("a message"))
            .map(|message| match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::SetLink(_)) => (message.header.sequence_number, 'l'),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => (
                    message.header.sequence_number,
                    if address.header.family == AddressFamily::Inet { 'a' } else { 'A' },
                ),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => (
                    message.header.sequence_number,
                    if route.header.address_family == AddressFamily::Inet { 'r' } else { 'R' },
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [(1, 'l'), (2, 'a'), (3, 'r'), (4, 'A'), (5, 'R')]);
    }
}
