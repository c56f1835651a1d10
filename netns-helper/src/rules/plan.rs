//! From networks to rules, without the kernel. The number of rules grows with
//! the number of networks, not with its square: what holds between each two of
//! them is said once for what comes from one of ours, and once for what goes to
//! one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rule::{Chain, Hook, Kind, Match, Rule, Verdict};
use super::{Published, Zone};
use crate::Error;
use crate::links::masked;

/// Every loopback address of IPv4.
const LOOPBACK: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);

/// The loopback address of IPv6.
const LOOPBACK_6: (IpAddr, u8) = (IpAddr::V6(Ipv6Addr::LOCALHOST), 128);

/// Where neighbours of IPv6 find each other, without which they reach nobody: groups, and addresses of one link.
const NEIGHBOURS: [(IpAddr, u8); 2] = [
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// The chain for what goes on from a zone that may reach the outside.
const OUTWARD: &str = "outward";
/// The chain for what comes to this namespace from a zone that may reach the outside.
const GATEWAYS: &str = "gateways";

/// All chains; those that others go to come first.
pub(super) fn plan(zones: &[Zone], published: &[Published]) -> Result<Vec<Chain>, Error> {
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    let mut before = Vec::new();
    let mut from_here = Vec::new();
    for port in published {
        let (coming, leaving) = translate(port)?;
        before.extend(coming);
        from_here.push(leaving);
    }
    let all = vec![
        Chain { name: OUTWARD, hook: None, rules: outward(zones) },
        Chain { name: GATEWAYS, hook: None, rules: gateways(zones) },
        // Numbers of `enum nf_inet_hooks`; priorities as everybody has them: 0 to filter, -100 and 100 to translate.
        Chain { name: "prerouting", hook: hook(Kind::Nat, 0, -100), rules: before },
        Chain { name: "input", hook: hook(Kind::Filter, 1, 0), rules: input(zones, published) },
        Chain { name: "forward", hook: hook(Kind::Filter, 2, 0), rules: forward(zones) },
        Chain { name: "output", hook: hook(Kind::Nat, 3, -100), rules: from_here },
        Chain { name: "postrouting", hook: hook(Kind::Nat, 4, 100), rules: postrouting(zones, published) },
    ];
    Ok(all)
}

/// What comes to this namespace itself.
fn input(zones: &[Zone], published: &[Published]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for zone in zones {
        let from = || Match::From(zone.bridge.clone());
        if on_loopback(published) {
            let answer = [from(), Match::Destination(LOOPBACK.0, LOOPBACK.1), Match::Translated];
            rules.push(rule(answer, Verdict::Accept));
        }
        // With `route_localnet`, which published ports may need, loopback would be open to the bridge's neighbours.
        rules.push(rule([from(), Match::Destination(LOOPBACK.0, LOOPBACK.1)], Verdict::Drop));
        for (net, prefix) in subnets(zone) {
            rules.push(rule([from(), Match::Destination(net, prefix)], Verdict::Accept));
        }
        if zone.internal {
            for (net, prefix) in NEIGHBOURS {
                rules.push(rule([from(), Match::Destination(net, prefix)], Verdict::Accept));
            }
            rules.push(rule([from()], Verdict::Drop));
        } else {
            rules.push(rule([from()], Verdict::Goto(GATEWAYS)));
        }
    }
    rules
}

/// The gateways of the others answer for the others, and are none of a zone's business.
fn gateways(zones: &[Zone]) -> Vec<Rule> {
    let all = zones.iter().flat_map(subnets);
    all.map(|(net, prefix)| rule([Match::Destination(net, prefix)], Verdict::Drop)).collect()
}

/// What passes through.
fn forward(zones: &[Zone]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for zone in zones {
        let (from, to) = (Match::From(zone.bridge.clone()), Match::To(zone.bridge.clone()));
        // Where bridges ask the rules too (`bridge-nf-call-iptables`), neighbours pass here; and a published port of a
        // neighbour leads back to where one came from.
        rules.push(rule([from, to], Verdict::Accept));
    }
    for zone in zones.iter().filter(|zone| zone.internal) {
        rules.push(rule([Match::From(zone.bridge.clone())], Verdict::Drop));
        rules.push(rule([Match::To(zone.bridge.clone())], Verdict::Drop));
    }
    for zone in zones.iter().filter(|zone| !zone.internal) {
        rules.push(rule([Match::From(zone.bridge.clone())], Verdict::Goto(OUTWARD)));
    }
    rules
}

fn outward(zones: &[Zone]) -> Vec<Rule> {
    // A published port is open to all who reach the host, another zone among them.
    let mut rules = vec![rule([Match::Translated], Verdict::Accept)];
    rules.extend(zones.iter().map(|zone| rule([Match::To(zone.bridge.clone())], Verdict::Drop)));
    rules
}

/// Under which address packets leave.
fn postrouting(zones: &[Zone], published: &[Published]) -> Vec<Rule> {
    // What we send to ourselves stays as it is: the name server's own address is in a zone's subnet.
    let mut rules = vec![rule([Match::To("lo".to_owned())], Verdict::Accept)];
    for zone in zones {
        let to = || Match::To(zone.bridge.clone());
        for (net, prefix) in subnets(zone).filter(|_| !published.is_empty()) {
            // Else the answer would go straight to the neighbour, who has asked somebody else.
            rules.push(rule([to(), Match::Source(net, prefix), Match::Translated], Verdict::Masquerade));
        }
        if on_loopback(published) {
            rules.push(rule([to(), Match::Source(LOOPBACK.0, LOOPBACK.1)], Verdict::Masquerade));
        }
        rules.push(rule([to()], Verdict::Accept));
    }
    for (net, prefix) in zones.iter().filter(|zone| !zone.internal).flat_map(subnets) {
        rules.push(rule([Match::Source(net, prefix)], Verdict::Masquerade));
    }
    rules
}

/// The rules of a published port: for what comes in, unless only we ourselves reach it, and for what we send.
fn translate(port: &Published) -> Result<(Option<Rule>, Rule), Error> {
    let then = || Verdict::Translate(port.to);
    let at = Match::Port(port.protocol, port.host_port);
    let (any, loopback): (IpAddr, _) = match port.to {
        std::net::SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), LOOPBACK),
        std::net::SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), LOOPBACK_6),
    };
    let host = port.host_address.unwrap_or(any);
    if host.is_ipv4() != port.to.is_ipv4() {
        return Err(Error::Families { host, to: port.to });
    }
    if host.is_unspecified() {
        let matches = [Match::NotDestination(loopback.0, loopback.1), Match::ForUs, at];
        return Ok((Some(rule(matches.clone(), then())), rule(matches, then())));
    }
    let matches = [Match::Destination(host, if host.is_ipv4() { 32 } else { 128 }), at];
    let coming = (!host.is_loopback()).then(|| rule(matches.clone(), then()));
    Ok((coming, rule(matches, then())))
}

/// Whether a port is published for us alone.
fn on_loopback(published: &[Published]) -> bool {
    published.iter().any(|port| port.host_address.is_some_and(|host| host.is_loopback()))
}

fn subnets(zone: &Zone) -> impl Iterator<Item = (IpAddr, u8)> {
    zone.subnets.iter().map(|(net, prefix)| (masked(*net, *prefix), *prefix))
}

fn rule(matches: impl Into<Vec<Match>>, then: Verdict) -> Rule {
    Rule { matches: matches.into(), then }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Protocol;

    fn zone(bridge: &str, subnets: &[(&str, u8)], internal: bool) -> Zone {
        let subnets = subnets.iter().map(|(net, prefix)| (net.parse().unwrap(), *prefix)).collect();
        Zone { bridge: bridge.to_owned(), subnets, internal }
    }

    fn port(protocol: Protocol, host: Option<&str>, host_port: u16, to: &str) -> Published {
        let host_address = host.map(|host| host.parse().unwrap());
        Published { protocol, host_address, host_port, to: to.parse().unwrap() }
    }

    fn text(chains: &[Chain]) -> String {
        let mut text = String::new();
        for chain in chains {
            text.push_str(&format!("{}\n", chain.name));
            chain.rules.iter().for_each(|rule| text.push_str(&format!("  {rule}\n")));
        }
        text
    }

    #[test]
    fn two_zones_one_of_them_internal() {
        let zones = [zone("one", &[("10.1.0.1", 24), ("fd01::", 64)], false), zone("two", &[("10.2.0.0", 24)], true)];
        let expected = "\
outward
  ct status dnat accept
  oifname one drop
  oifname two drop
gateways
  ip daddr 10.1.0.0/24 drop
  ip6 daddr fd01::/64 drop
  ip daddr 10.2.0.0/24 drop
prerouting
input
  iifname one ip daddr 127.0.0.0/8 drop
  iifname one ip daddr 10.1.0.0/24 accept
  iifname one ip6 daddr fd01::/64 accept
  iifname one goto gateways
  iifname two ip daddr 127.0.0.0/8 drop
  iifname two ip daddr 10.2.0.0/24 accept
  iifname two ip6 daddr ff00::/8 accept
  iifname two ip6 daddr fe80::/10 accept
  iifname two drop
forward
  iifname one oifname one accept
  iifname two oifname two accept
  iifname two drop
  oifname two drop
  iifname one goto outward
output
postrouting
  oifname lo accept
  oifname one accept
  oifname two accept
  ip saddr 10.1.0.0/24 masquerade
  ip6 saddr fd01::/64 masquerade
";
        assert_eq!(text(&plan(&zones, &[]).unwrap()), expected);
    }

    #[test]
    fn published_ports() {
        let zones = [zone("one", &[("10.1.0.0", 24)], false)];
        let ports = [
            port(Protocol::Tcp, None, 8080, "10.1.0.2:80"),
            port(Protocol::Udp, Some("192.0.2.7"), 53, "10.1.0.2:5353"),
            port(Protocol::Tcp, Some("127.0.0.1"), 81, "10.1.0.2:80"),
            port(Protocol::Tcp, Some("::"), 8080, "[fd01::2]:80"),
        ];
        let expected = "\
prerouting
  ip daddr != 127.0.0.0/8 fib daddr type local tcp dport 8080 dnat to 10.1.0.2:80
  ip daddr 192.0.2.7/32 udp dport 53 dnat to 10.1.0.2:5353
  ip6 daddr != ::1/128 fib daddr type local tcp dport 8080 dnat to [fd01::2]:80
output
  ip daddr != 127.0.0.0/8 fib daddr type local tcp dport 8080 dnat to 10.1.0.2:80
  ip daddr 192.0.2.7/32 udp dport 53 dnat to 10.1.0.2:5353
  ip daddr 127.0.0.1/32 tcp dport 81 dnat to 10.1.0.2:80
  ip6 daddr != ::1/128 fib daddr type local tcp dport 8080 dnat to [fd01::2]:80
postrouting
  oifname lo accept
  oifname one ip saddr 10.1.0.0/24 ct status dnat masquerade
  oifname one ip saddr 127.0.0.0/8 masquerade
  oifname one accept
  ip saddr 10.1.0.0/24 masquerade
";
        let chains = plan(&zones, &ports).unwrap();
        let nat: Vec<_> = chains.into_iter().filter(|chain| chain.hook.is_some_and(|h| h.kind == Kind::Nat)).collect();
        assert_eq!(text(&nat), expected);
        let input = text(&[Chain { name: "input", hook: None, rules: input(&zones, &ports) }]);
        let answers_first = "\
input
  iifname one ip daddr 127.0.0.0/8 ct status dnat accept
  iifname one ip daddr 127.0.0.0/8 drop
";
        assert!(input.starts_with(answers_first), "{input}");
    }

    #[test]
    fn a_port_leads_to_its_own_family() {
        let error = plan(&[], &[port(Protocol::Tcp, Some("127.0.0.1"), 1, "[fd01::2]:80")]).unwrap_err();
        assert_eq!(error.to_string(), "publish 127.0.0.1 to [fd01::2]:80: the addresses are of two families");
    }

    #[test]
    fn rules_grow_with_zones_not_with_their_square() {
        let count = |number: u8| {
            let zones: Vec<_> =
                (0..number).map(|n| zone(&format!("br{n}"), &[(&format!("10.{n}.0.0"), 24)], n % 2 == 0)).collect();
            plan(&zones, &[]).unwrap().iter().map(|chain| chain.rules.len()).sum::<usize>()
        };
        assert!(count(40) < 2 * count(20) + 5);
    }
}
