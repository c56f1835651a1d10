//! Links, addresses and routes of the current network namespace, over rtnetlink.
//!
//! An operation is one message to the kernel wherever the kernel lets it be,
//! so that nobody sees it half done: a pair of links appears with its bridge,
//! its namespace and its address in place.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::Error;
use crate::netlink::{ACK, CREATE, Channel, DUMP, EXCLUSIVE, INTERRUPTED, Meaning, REQUEST};

/// The longest name of a link, without the zero at its end.
const LONGEST_NAME: usize = 15;

/// How often a list is begun anew that changed while it was read.
const LISTINGS: usize = 8;

/// A socket to the links of the network namespace that the thread was in when
/// it opened it.
#[derive(Debug)]
pub struct Links {
    channel: Channel,
}

/// What is being done and with what, for errors.
#[derive(Clone, Copy)]
struct Act<'a> {
    operation: &'static str,
    object: &'a str,
}

impl Act<'_> {
    fn refused(self, source: io::Error) -> Error {
        let object = self.object.to_owned();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NODEV) => Error::NoLink { operation: self.operation, object },
            _ => Error::Refused { operation: self.operation, object, source },
        }
    }

    fn unreadable(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let source = io::Error::new(io::ErrorKind::InvalidData, source);
        Error::Answer { operation: self.operation, object: self.object.to_owned(), source }
    }
}

impl Links {
    /// Opens a socket in the current network namespace.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(None).map_err(|source| Error::Open { purpose: "links", source })?;
        Ok(Self { channel })
    }

    /// Makes a bridge, down and without an address. One that is there is left as it is.
    pub fn add_bridge(&mut self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let act = Act { operation: "add bridge", object: name };
        let mut bridge = LinkMessage::default();
        bridge.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        // Without one of its own a bridge takes the lowest address of its ports, and changes it as they come and go.
        bridge.attributes.push(LinkAttribute::Address(local_mac().map_err(|source| act.refused(source))?.to_vec()));
        match self.change(RouteNetlinkMessage::NewLink(bridge), CREATE | EXCLUSIVE) {
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => self.expect_bridge(act),
            other => other.map_err(|source| act.refused(source)),
        }
    }

    /// Makes a pair of links: `name` here, up and a port of `bridge`; `peer` in `peer_namespace`, down.
    pub fn add_veth(
        &mut self,
        name: &str,
        bridge: &str,
        peer: &str,
        peer_namespace: BorrowedFd<'_>,
        peer_mac: Option<[u8; 6]>,
    ) -> Result<(), Error> {
        check_name(name)?;
        check_name(peer)?;
        let port_of = self.index(Act { operation: "add a port to bridge", object: bridge })?;
        let mut other = LinkMessage::default();
        other.attributes =
            vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::NetNsFd(peer_namespace.as_raw_fd())];
        other.attributes.extend(peer_mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        let mut own = LinkMessage::default();
        own.header.flags = LinkFlags::Up;
        own.header.change_mask = LinkFlags::Up;
        own.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Controller(port_of),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        let act = Act { operation: "add pair of links", object: &format!("{name} and {peer}") };
        self.change(RouteNetlinkMessage::NewLink(own), CREATE | EXCLUSIVE).map_err(|source| act.refused(source))
    }

    /// Switches a link on.
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut link = named(name);
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        let act = Act { operation: "switch on link", object: name };
        self.change(RouteNetlinkMessage::SetLink(link), 0).map_err(|source| act.refused(source))
    }

    /// Removes a link, and with it the other of a pair. One that is not there is as good as removed.
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        match self.change(RouteNetlinkMessage::DelLink(named(name)), 0) {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            other => other.map_err(|source| Act { operation: "remove link", object: name }.refused(source)),
        }
    }

    /// Gives a link an address. One that it has is left as it is.
    pub fn add_address(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<(), Error> {
        let text = format!("{address}/{prefix} to link {name}");
        let act = Act { operation: "add address", object: &text };
        let index = self.index(Act { operation: "add address to link", object: name })?;
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        match address {
            IpAddr::V4(own) if prefix < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(broadcast(own, prefix)));
            }
            IpAddr::V4(_) => {}
            // We chose the address and know that nobody else has it: no second of waiting before it can be used.
            IpAddr::V6(_) => message.header.flags |= AddressHeaderFlags::Nodad,
        }
        match self.change(RouteNetlinkMessage::NewAddress(message), CREATE | EXCLUSIVE) {
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => Ok(()),
            other => other.map_err(|source| act.refused(source)),
        }
    }

    /// Sends what goes nowhere else to `gateway`, which a link's subnet has to hold already. The route with the lowest
    /// metric is taken; there is one for each metric.
    pub fn add_default_route(&mut self, gateway: IpAddr, metric: u32) -> Result<(), Error> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(gateway);
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes = vec![RouteAttribute::Gateway(RouteAddress::from(gateway)), RouteAttribute::Priority(metric)];
        let text = format!("{gateway} with metric {metric}");
        let act = Act { operation: "add default route by", object: &text };
        self.change(RouteNetlinkMessage::NewRoute(route), CREATE | EXCLUSIVE).map_err(|source| act.refused(source))
    }

    /// The names of all links.
    pub fn names(&mut self) -> Result<Vec<String>, Error> {
        let links = self.list(|| RouteNetlinkMessage::GetLink(LinkMessage::default()), "links")?;
        let links = links.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        let name = |link: LinkMessage| {
            link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            })
        };
        Ok(links.filter_map(name).collect())
    }

    /// The hardware address of a link; none if it has none, or is not there.
    pub fn mac(&mut self, name: &str) -> Result<Option<[u8; 6]>, Error> {
        let link = match self.link(Act { operation: "look up the hardware address of link", object: name }) {
            Err(Error::NoLink { .. }) => return Ok(None),
            other => other?,
        };
        Ok(link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        }))
    }

    /// The subnets that are in use here: of all addresses, and the destinations of all routes of the main table. Default
    /// routes are not among them, for they overlap with everything. Bits behind the prefix are zero; none comes twice.
    pub fn subnets(&mut self) -> Result<Vec<(IpAddr, u8)>, Error> {
        let mut all = BTreeSet::new();
        for message in self.list(|| RouteNetlinkMessage::GetAddress(AddressMessage::default()), "addresses")? {
            if let RouteNetlinkMessage::NewAddress(address) = message {
                all.extend(subnet_of_address(&address));
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let question = || {
                let mut question = RouteMessage::default();
                question.header.address_family = family;
                RouteNetlinkMessage::GetRoute(question)
            };
            for message in self.list(question, "routes")? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    all.extend(destination(&route));
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    fn index(&mut self, act: Act<'_>) -> Result<u32, Error> {
        self.link(act).map(|link| link.header.index)
    }

    fn expect_bridge(&mut self, act: Act<'_>) -> Result<(), Error> {
        let is_bridge = |info: &LinkInfo| matches!(info, LinkInfo::Kind(InfoKind::Bridge));
        let bridge = self.link(act)?.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos.iter().any(is_bridge),
            _ => false,
        });
        if bridge { Ok(()) } else { Err(Error::NotABridge { name: act.object.to_owned() }) }
    }

    /// All that the kernel knows of one link.
    fn link(&mut self, act: Act<'_>) -> Result<LinkMessage, Error> {
        check_name(act.object)?;
        let sequence = self.channel.next_sequence();
        let question = packed(REQUEST, sequence, RouteNetlinkMessage::GetLink(named(act.object)));
        self.channel.send(&question).map_err(|source| act.refused(source))?;
        loop {
            let frames = self.channel.receive().map_err(|source| act.refused(source))?;
            let Some(frame) = frames.iter().find(|frame| frame.sequence == sequence) else { continue };
            return match frame.meaning().map_err(|source| act.unreadable(source))? {
                Meaning::Refused(errno) => Err(act.refused(io::Error::from_raw_os_error(errno))),
                Meaning::Object => match unpacked(frame.bytes).map_err(|source| act.unreadable(source))? {
                    Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
                    _ => Err(act.unreadable("an answer to another question")),
                },
                Meaning::Done | Meaning::End => Err(act.unreadable("no link and no error")),
            };
        }
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let sequence = self.channel.next_sequence();
        self.channel.transact(&packed(REQUEST | ACK | flags, sequence, message), sequence)
    }

    pub(crate) fn list(
        &mut self,
        question: impl Fn() -> RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let act = Act { operation: "list", object: what };
        for _ in 0..LISTINGS {
            if let Some(whole) = self.list_once(question(), act)? {
                return Ok(whole);
            }
        }
        Err(act.refused(io::Error::other("they change all the time")))
    }

    /// One list; none if it changed meanwhile.
    fn list_once(
        &mut self,
        question: RouteNetlinkMessage,
        act: Act<'_>,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, Error> {
        let sequence = self.channel.next_sequence();
        self.channel.send(&packed(REQUEST | DUMP, sequence, question)).map_err(|source| act.refused(source))?;
        let (mut all, mut whole) = (Vec::new(), true);
        loop {
            let frames = self.channel.receive().map_err(|source| act.refused(source))?;
            for frame in frames.iter().filter(|frame| frame.sequence == sequence) {
                whole &= frame.flags & INTERRUPTED == 0;
                match frame.meaning().map_err(|source| act.unreadable(source))? {
                    Meaning::Refused(errno) => return Err(act.refused(io::Error::from_raw_os_error(errno))),
                    Meaning::Done | Meaning::End => return Ok(whole.then_some(all)),
                    Meaning::Object => {
                        all.extend(unpacked(frame.bytes).map_err(|source| act.unreadable(source))?);
                    }
                }
            }
        }
    }
}

/// A name as `dev_valid_name` of the kernel takes it.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let odd = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    let wrong = name.is_empty() || name.len() > LONGEST_NAME || name == "." || name == ".." || name.bytes().any(odd);
    if wrong { Err(Error::Name { name: name.to_owned(), longest: LONGEST_NAME }) } else { Ok(()) }
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    link
}

pub(crate) fn packed(flags: u16, sequence: u32, message: RouteNetlinkMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<Option<RouteNetlinkMessage>, netlink_packet_core::DecodeError> {
    Ok(match NetlinkMessage::deserialize(bytes)?.payload {
        NetlinkPayload::InnerMessage(message) => Some(message),
        _ => None,
    })
}

/// A hardware address for one machine: the bit for "given here" set, the one for "many" not.
fn local_mac() -> io::Result<[u8; 6]> {
    let mut mac = [0; 6];
    rustix::rand::getrandom(&mut mac, rustix::rand::GetRandomFlags::empty())?;
    let [first, ..] = &mut mac;
    *first = *first & !0x01 | 0x02;
    Ok(mac)
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
}

/// An address with the bits behind its prefix zero.
pub(crate) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = !u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = !u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

fn subnet_of_address(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let prefix = message.header.prefix_len;
    // Where both are there and differ, the first is the far end of a line between two.
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some((masked(*address, prefix), prefix)),
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<(IpAddr, u8)> {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    if table.unwrap_or_else(|| route.header.table.into()) != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let prefix = route.header.destination_prefix_length;
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    (prefix > 0).then(|| (masked(to, prefix), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for name in ["a", "pybox0", "with-dash.dot", "fifteen-bytes-x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a:b", "a\0b", "sixteen-bytes-xx"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn masks_and_broadcasts() {
        let table = [
            ("10.1.2.3", 24, "10.1.2.0"),
            ("10.1.2.3", 32, "10.1.2.3"),
            ("10.1.2.3", 0, "0.0.0.0"),
            ("fd00:1::5", 64, "fd00:1::"),
            ("fd00:1::5", 128, "fd00:1::5"),
            ("fd00:1::5", 0, "::"),
        ];
        for (address, prefix, expected) in table {
            assert_eq!(masked(address.parse().unwrap(), prefix).to_string(), expected, "{address}/{prefix}");
        }
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 24), Ipv4Addr::new(10, 1, 2, 255));
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 0), Ipv4Addr::BROADCAST);
    }

    #[test]
    fn a_route_of_another_table_or_to_everywhere_is_no_subnet() {
        let mut route = RouteMessage::default();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        assert_eq!(destination(&route), None);
        route.header.destination_prefix_length = 8;
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, 0))));
        assert_eq!(destination(&route), Some((IpAddr::from([10, 0, 0, 0]), 8)));
        route.attributes.push(RouteAttribute::Table(255));
        assert_eq!(destination(&route), None);
    }

    #[test]
    fn a_made_up_hardware_address_is_local_and_single() {
        for _ in 0..32 {
            assert_eq!(local_mac().unwrap()[0] & 0x03, 0x02);
        }
    }
}
