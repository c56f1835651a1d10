//! Networks of many containers: what they are, who is on them, and which addresses they have.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::{ContainerId, ContainerName};

/// Where subnets are taken from if none is asked for: 256 of them, with 253 containers each.
const POOL: [u8; 2] = [10, 87];
/// The first byte of unique local addresses (RFC 4193).
const UNIQUE_LOCAL: u8 = 0xfd;
/// The longest prefixes that leave room for a gateway and a container.
const LONGEST: [u8; 2] = [30, 126];

/// What is known of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: ContainerName,
    /// Its identifier: 64 hexadecimal digits.
    pub id: ContainerId,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// Its subnets, IPv4 first, each with the address of its gateway.
    pub subnets: Vec<Range>,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Whether there is no name server on it.
    #[serde(default)]
    pub nameless: bool,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// The name of its bridge: at most 15 bytes, as interfaces have it.
    pub fn bridge(&self) -> String {
        format!("pb-{}", self.id.short())
    }

    /// Its gateways.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.subnets.iter().map(|range| range.gateway)
    }
}

/// A subnet and its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The subnet.
    pub subnet: Subnet,
    /// An address in it.
    pub gateway: IpAddr,
}

/// Addresses with a common beginning, as in `10.87.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid subnet {0:?}: expected an address and a prefix with room for containers, as in 10.87.0.0/24")]
pub struct InvalidSubnet(String);

/// A container on a network, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name.
    pub network: ContainerName,
    /// The addresses it has to have: one of IPv4, one of IPv6, or none.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// What others may call it there, beside its name and its short id.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its hardware address.
    #[serde(default)]
    pub mac: Option<Mac>,
}

/// What a container has on a network while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The container.
    pub container: ContainerId,
    /// Its addresses, one of each subnet.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Mac,
    /// The number of its interface.
    #[serde(default)]
    pub interface: u8,
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one of whoever has that address on that network: locally administered, of one station.
    ///
    /// It does not follow from the container: others keep for half a minute which machine an address is, and send what is
    /// meant for the next one that has it (the same service, started again) to the one that has gone.
    pub fn of(address: IpAddr, network: &ContainerId) -> Self {
        let digest = super::digest::Digest::of(format!("{address} {network}").as_bytes());
        let byte = |at: usize| digest.hex().get(at * 2..at * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let [a, b, c, d, e] = std::array::from_fn(|at| byte(at).unwrap_or_default());
        Self([0x02, a, b, c, d, e])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || format!("invalid hardware address {text:?}: expected six bytes, as in 02:42:ac:11:00:02");
        let bytes: Option<Vec<u8>> = text
            .split([':', '-'])
            .map(|two| if two.len() == 2 { u8::from_str_radix(two, 16).ok() } else { None })
            .collect();
        let bytes: [u8; 6] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(refuse)?;
        // A group of stations has no member of that address.
        if bytes.first().is_some_and(|first| first & 1 == 1) || bytes == [0; 6] {
            Err(refuse())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl Subnet {
    /// The subnet of `prefix` bits that `address` is in.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & mask(32, prefix) as u32).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & mask(128, prefix)).into(),
        };
        Self { first, prefix }
    }

    /// How many bits its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(self) -> bool {
        self.first.is_ipv6()
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6() && Self::of(address, self.prefix) == self
    }

    /// Whether `address` is in it and can be somebody's: the first and the last of IPv4 mean all.
    pub fn is_of_one(self, address: IpAddr) -> bool {
        let last = match self.first {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) | !(mask(32, self.prefix) as u32)).into(),
            IpAddr::V6(_) => self.first,
        };
        self.contains(address) && address != self.first && address != last
    }

    /// Whether some address is in both.
    pub fn meets(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Its address of this number; none if it has not so many. The first and the last of IPv4 are no one's.
    pub fn address(self, number: u64) -> Option<IpAddr> {
        let room = u32::from(width(self.first) - self.prefix);
        let most = if room >= 64 { u64::MAX } else { (1 << room) - if self.is_ipv6() { 0 } else { 1 } };
        if number == 0 || number >= most {
            return None;
        }
        match self.first {
            IpAddr::V4(first) => Some(Ipv4Addr::from(u32::from(first).checked_add(number.try_into().ok()?)?).into()),
            IpAddr::V6(first) => Some(Ipv6Addr::from(u128::from(first).checked_add(number.into())?).into()),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn mask(width: u32, prefix: u8) -> u128 {
    let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    let host = width - u32::from(prefix);
    if host >= 128 { 0 } else { all >> host << host }
}

impl fmt::Display for Subnet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        let longest = LONGEST[usize::from(address.is_ipv6())];
        if prefix == 0 || prefix > longest || address.is_multicast() || address.is_loopback() {
            return Err(invalid());
        }
        Ok(Self::of(address, prefix))
    }
}

impl TryFrom<String> for Subnet {
    type Error = InvalidSubnet;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// A subnet of IPv4 that meets none of `taken`.
pub fn free_subnet(taken: &[Subnet]) -> Option<Subnet> {
    let [a, b] = POOL;
    let candidates = (0..=255).map(|third| Subnet::of(Ipv4Addr::new(a, b, third, 0).into(), 24));
    let mut free = candidates.filter(|candidate| !taken.iter().any(|taken| taken.meets(*candidate)));
    free.next()
}

/// The subnet of IPv6 of a network: as good as nobody else has the 40 bits of its identifier.
pub fn unique_subnet(id: &ContainerId) -> Subnet {
    let digits = id.as_str();
    let group = |at: usize| digits.get(at..at + 4).and_then(|four| u16::from_str_radix(four, 16).ok()).unwrap_or(0);
    let first = u16::from(UNIQUE_LOCAL) << 8 | group(0) >> 8;
    Subnet::of(Ipv6Addr::new(first, group(4), group(8), 0, 0, 0, 0, 0).into(), 64)
}

/// Addresses for a container, one of each subnet: those that were `asked` for, else those that it had before, else the
/// first that are free.
///
/// # Errors
/// With the sentence that says which one cannot be had.
pub fn addresses(
    network: &Network,
    asked: &[IpAddr],
    before: &[IpAddr],
    leased: &[IpAddr],
) -> Result<Vec<IpAddr>, String> {
    let name = &network.name;
    if let Some(stray) = asked.iter().find(|one| !network.subnets.iter().any(|range| range.subnet.is_of_one(**one))) {
        return Err(format!("network {name} has no address {stray}"));
    }
    let is_free = |address: &IpAddr| !leased.contains(address) && network.gateways().all(|gateway| gateway != *address);
    let of = |range: &Range| {
        let inside = |address: &&IpAddr| range.subnet.contains(**address);
        if let Some(wanted) = asked.iter().find(inside) {
            return if is_free(wanted) {
                Ok(*wanted)
            } else {
                Err(format!("address {wanted} of network {name} is in use"))
            };
        }
        let kept = before.iter().find(inside).filter(|address| is_free(address)).copied();
        // Not more than there are containers on any machine.
        let first = || (1..1 << 16).map_while(|number| range.subnet.address(number)).find(is_free);
        kept.or_else(first).ok_or_else(|| format!("all addresses of network {name} are in use"))
    };
    network.subnets.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a subnet")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn network(subnets: &[(&str, &str)]) -> Network {
        let range = |(net, gateway): &(&str, &str)| Range { subnet: subnet(net), gateway: address(gateway) };
        Network {
            name: "net".parse().expect("a name"),
            id: ContainerId::from_random(&[7; 32]),
            created: 0,
            subnets: subnets.iter().map(range).collect(),
            internal: false,
            nameless: false,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn subnets_are_read_and_shown() {
        for (text, shown) in
            [("10.0.0.7/8", "10.0.0.0/8"), ("192.0.2.129/25", "192.0.2.128/25"), ("fd00::1/64", "fd00::/64")]
        {
            assert_eq!(subnet(text).to_string(), shown);
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/31",
            "10.0.0.0/33",
            "10.0.0.0/0",
            "224.0.0.0/8",
            "127.0.0.0/8",
            "fd00::/127",
            "x/8",
        ] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn subnets_meet_where_addresses_are_in_both() {
        for (one, other, meets) in [
            ("10.0.0.0/8", "10.87.3.0/24", true),
            ("10.87.3.0/24", "10.0.0.0/8", true),
            ("10.87.3.0/24", "10.87.4.0/24", false),
            ("fd00::/64", "10.0.0.0/8", false),
        ] {
            assert_eq!(subnet(one).meets(subnet(other)), meets, "{one} {other}");
        }
    }

    #[test]
    fn the_first_and_the_last_address_are_no_ones() {
        let small = subnet("192.0.2.0/30");
        assert_eq!(
            (0..5).map(|number| small.address(number)).collect::<Vec<_>>(),
            [None, Some(address("192.0.2.1")), Some(address("192.0.2.2")), None, None]
        );
        assert_eq!(subnet("fd00::/64").address(u64::MAX - 1), Some(address("fd00::ffff:ffff:ffff:fffe")));
    }

    #[test]
    fn what_means_all_is_nobodys() {
        for (net, one, is) in [
            ("10.87.0.0/24", "10.87.0.0", false),
            ("10.87.0.0/24", "10.87.0.255", false),
            ("10.87.0.0/24", "10.87.0.254", true),
            ("10.87.0.0/24", "10.87.1.1", false),
            ("fd00::/64", "fd00::", false),
            ("fd00::/64", "fd00::1", true),
        ] {
            assert_eq!(subnet(net).is_of_one(address(one)), is, "{one}");
        }
    }

    #[test]
    fn a_free_subnet_meets_no_other() {
        assert_eq!(free_subnet(&[]), Some(subnet("10.87.0.0/24")));
        assert_eq!(free_subnet(&[subnet("10.87.0.0/23"), subnet("10.87.3.0/24")]), Some(subnet("10.87.2.0/24")));
        assert_eq!(free_subnet(&[subnet("10.0.0.0/8")]), None);
    }

    #[test]
    fn addresses_are_given_once() {
        let net = network(&[("10.87.0.0/29", "10.87.0.1"), ("fd00::/64", "fd00::1")]);
        let mut leased = Vec::new();
        for last in 2..=6 {
            let got = addresses(&net, &[], &[], &leased).expect("addresses");
            assert_eq!(got, [address(&format!("10.87.0.{last}")), address(&format!("fd00::{last}"))]);
            leased.extend(got);
        }
        let full = addresses(&net, &[], &[], &leased);
        assert_eq!(full, Err("all addresses of network net are in use".to_owned()));
    }

    #[test]
    fn what_was_asked_for_or_had_before_comes_first() {
        let net = network(&[("10.87.0.0/24", "10.87.0.1")]);
        let given = |asked: &[&str], before: &[&str], leased: &[&str]| {
            let list = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
            addresses(&net, &list(asked), &list(before), &list(leased)).map(|given| given[0].to_string())
        };
        assert_eq!(given(&["10.87.0.9"], &["10.87.0.5"], &[]), Ok("10.87.0.9".to_owned()));
        assert_eq!(given(&[], &["10.87.0.5"], &[]), Ok("10.87.0.5".to_owned()));
        assert_eq!(given(&[], &["10.87.0.5"], &["10.87.0.5"]), Ok("10.87.0.2".to_owned()));
        assert_eq!(
            given(&["10.87.0.9"], &[], &["10.87.0.9"]),
            Err("address 10.87.0.9 of network net is in use".to_owned())
        );
        assert_eq!(given(&["10.87.0.1"], &[], &[]), Err("address 10.87.0.1 of network net is in use".to_owned()));
        assert_eq!(given(&["10.88.0.1"], &[], &[]), Err("network net has no address 10.88.0.1".to_owned()));
    }

    #[test]
    fn hardware_addresses_follow_from_the_address_and_its_network() {
        let (one, other) = (ContainerId::from_random(&[1; 32]), ContainerId::from_random(&[2; 32]));
        let (two, three) = (address("10.87.0.2"), address("10.87.0.3"));
        assert_eq!(Mac::of(two, &one), Mac::of(two, &one));
        assert_ne!(Mac::of(two, &one), Mac::of(three, &one));
        assert_ne!(Mac::of(two, &one), Mac::of(two, &other));
        assert_eq!("02:42:ac:11:00:02".parse::<Mac>().expect("an address").to_string(), "02:42:ac:11:00:02");
        for text in
            ["", "02:42:ac:11:00", "01:00:00:00:00:00", "00:00:00:00:00:00", "02:42:ac:11:00:2", "02:42:ac:11:00:zz"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
