//! The vocabulary of rules, and how they read: as `nft` would print them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Protocol;

/// A list of rules, and where packets come to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// None for one that is only gone to.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// Where the kernel brings packets to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) kind: Kind,
    /// `enum nf_inet_hooks`.
    pub(super) number: u32,
    /// Lower ones come first.
    pub(super) priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Filter,
    Nat,
}

/// What is done with packets that fit all of the matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) matches: Vec<Match>,
    pub(super) then: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// The link that the packet came by.
    From(String),
    /// The link that it leaves by.
    To(String),
    /// It is from within a subnet.
    Source(IpAddr, u8),
    /// It is for within a subnet.
    Destination(IpAddr, u8),
    /// It is not.
    NotDestination(IpAddr, u8),
    /// It is for one of this namespace's own addresses.
    ForUs,
    /// Its port.
    Port(Protocol, u16),
    /// Its flow was sent elsewhere by a [`Verdict::Translate`].
    Translated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No further rule of the hook's chain; chains of others are not bound by it.
    Accept,
    Drop,
    Goto(&'static str),
    /// It leaves with the address of the link that it leaves by.
    Masquerade,
    /// It goes there instead.
    Translate(SocketAddr),
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.matches {
            write!(formatter, "{one} ")?;
        }
        self.then.fmt(formatter)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |address: &IpAddr| if address.is_ipv4() { "ip" } else { "ip6" };
        match self {
            Self::From(link) => write!(formatter, "iifname {link}"),
            Self::To(link) => write!(formatter, "oifname {link}"),
            Self::Source(net, prefix) => write!(formatter, "{} saddr {net}/{prefix}", family(net)),
            Self::Destination(net, prefix) => write!(formatter, "{} daddr {net}/{prefix}", family(net)),
            Self::NotDestination(net, prefix) => write!(formatter, "{} daddr != {net}/{prefix}", family(net)),
            Self::ForUs => write!(formatter, "fib daddr type local"),
            Self::Port(Protocol::Tcp, port) => write!(formatter, "tcp dport {port}"),
            Self::Port(Protocol::Udp, port) => write!(formatter, "udp dport {port}"),
            Self::Translated => write!(formatter, "ct status dnat"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => write!(formatter, "accept"),
            Self::Drop => write!(formatter, "drop"),
            Self::Goto(chain) => write!(formatter, "goto {chain}"),
            Self::Masquerade => write!(formatter, "masquerade"),
            Self::Translate(to) => write!(formatter, "dnat to {to}"),
        }
    }
}
