//! Packet rules, seen from those whose packets they are about.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pybox_netns_helper::links::Links;
use pybox_netns_helper::rules::{Protocol, Published, Zone, remove, replace};

use crate::world::{Namespace, bridge, bridges_ask_nobody, connect, forward, guest, inside, ip, refused, settle};

/// As [`reach`], where nobody is expected.
fn closed(from: &Namespace, to: &Namespace, address: &str) -> bool {
    let at = SocketAddr::new(ip(address), 4000);
    refused(from, to, at, at)
}

/// A router with two zones, `br1` and `br2`, of two guests and of one, and an outside that is no zone, by `up9`.
struct World {
    router: Namespace,
    one: Namespace,
    neighbour: Namespace,
    two: Namespace,
    outside: Namespace,
}

impl World {
    fn new() -> Self {
        let mut links = Links::open().unwrap();
        links.set_up("lo").unwrap();
        forward();
        for (name, number) in [("br1", 1), ("br2", 2), ("up9", 9)] {
            bridge(&mut links, name, number);
        }
        let world = Self {
            router: Namespace::current(),
            one: guest(&mut links, "br1", 1, 2),
            neighbour: guest(&mut links, "br1", 1, 3),
            two: guest(&mut links, "br2", 2, 2),
            outside: guest(&mut links, "up9", 9, 2),
        };
        settle();
        world
    }
}

fn zone(number: u8, internal: bool) -> Zone {
    let subnets = vec![(ip(&format!("10.{number}.0.0")), 24), (ip(&format!("fd0{number}::")), 64)];
    Zone { bridge: format!("br{number}"), subnets, internal }
}

fn port(protocol: Protocol, host: Option<&str>, host_port: u16, to: &str) -> Published {
    Published { protocol, host_address: host.map(ip), host_port, to: to.parse().unwrap() }
}

/// Connects to an address at which `to` listens; whom that sees.
fn reach(from: &Namespace, to: &Namespace, address: &str) -> Option<IpAddr> {
    let at = SocketAddr::new(ip(address), 4000);
    connect(from, to, at, at)
}

#[test]
fn the_outside_sees_the_outside_address() {
    inside("rules::the_outside_sees_the_outside_address", || {
        let world = World::new();
        assert_eq!(reach(&world.one, &world.outside, "10.9.0.2"), Some(ip("10.1.0.2")), "without rules");
        replace("pybox", &[zone(1, false), zone(2, false)], &[]).unwrap();
        assert_eq!(reach(&world.one, &world.outside, "10.9.0.2"), Some(ip("10.9.0.1")));
        assert_eq!(reach(&world.two, &world.outside, "fd09::2"), Some(ip("fd09::1")));
        assert_eq!(reach(&world.one, &world.neighbour, "10.1.0.3"), Some(ip("10.1.0.2")), "neighbours stay themselves");
        assert_eq!(reach(&world.one, &world.router, "10.1.0.1"), Some(ip("10.1.0.2")));
        assert_eq!(reach(&world.router, &world.one, "10.1.0.2"), Some(ip("10.1.0.1")));
        remove("pybox").unwrap();
        assert_eq!(reach(&world.one, &world.outside, "10.9.0.2"), Some(ip("10.1.0.2")), "without rules again");
    });
}

#[test]
fn zones_do_not_reach_each_other() {
    inside("rules::zones_do_not_reach_each_other", || {
        let world = World::new();
        assert_eq!(reach(&world.one, &world.two, "10.2.0.2"), Some(ip("10.1.0.2")), "without rules");
        replace("pybox", &[zone(1, false), zone(2, false)], &[]).unwrap();
        for address in ["10.2.0.2", "fd02::2"] {
            assert!(closed(&world.one, &world.two, address), "{address}");
        }
        assert!(closed(&world.two, &world.one, "10.1.0.2"));
        for address in ["10.2.0.1", "fd02::1"] {
            assert!(closed(&world.one, &world.router, address), "the other's gateway, {address}");
        }
        assert_eq!(reach(&world.one, &world.router, "fd01::1"), Some(ip("fd01::2")), "one's own gateway");
        assert_eq!(reach(&world.one, &world.router, "10.9.0.1"), Some(ip("10.1.0.2")), "the router itself");
        replace("pybox", &[zone(1, false)], &[]).unwrap();
        assert!(reach(&world.one, &world.two, "10.2.0.2").is_some(), "the second is no zone any more");
        replace("pybox", &[], &[]).unwrap();
        assert!(reach(&world.two, &world.one, "10.1.0.2").is_some(), "no zones, no rules");
    });
}

#[test]
fn an_internal_zone_reaches_itself_alone() {
    inside("rules::an_internal_zone_reaches_itself_alone", || {
        let world = World::new();
        replace("pybox", &[zone(1, true), zone(2, false)], &[]).unwrap();
        for (neighbour, gateway) in [("10.1.0.3", "10.1.0.1"), ("fd01::3", "fd01::1")] {
            assert!(reach(&world.one, &world.neighbour, neighbour).is_some(), "{neighbour}");
            assert!(reach(&world.one, &world.router, gateway).is_some(), "{gateway}");
        }
        for address in ["10.9.0.2", "fd09::2"] {
            assert!(closed(&world.one, &world.outside, address), "{address}");
        }
        assert!(closed(&world.one, &world.router, "10.9.0.1"), "the router beyond the gateway");
        assert!(closed(&world.one, &world.two, "10.2.0.2"));
        assert!(closed(&world.two, &world.one, "10.1.0.2"));
        assert!(closed(&world.outside, &world.one, "10.1.0.2"));
        assert_eq!(reach(&world.router, &world.one, "10.1.0.2"), Some(ip("10.1.0.1")));
        assert_eq!(reach(&world.two, &world.outside, "10.9.0.2"), Some(ip("10.9.0.1")), "the other one is not");
    });
}

#[test]
fn published_ports_lead_to_their_guest() {
    inside("rules::published_ports_lead_to_their_guest", || {
        let world = World::new();
        let zones = [zone(1, false), zone(2, false)];
        let ports = [
            port(Protocol::Tcp, None, 8080, "10.1.0.2:80"),
            port(Protocol::Tcp, None, 8080, "[fd01::2]:80"),
            port(Protocol::Tcp, Some("10.9.0.1"), 8081, "10.1.0.2:80"),
            port(Protocol::Tcp, Some("127.0.0.1"), 8082, "10.1.0.2:80"),
        ];
        replace("pybox", &zones, &ports).unwrap();
        let four: SocketAddr = "10.1.0.2:80".parse().unwrap();
        let six: SocketAddr = "[fd01::2]:80".parse().unwrap();
        let come =
            |from: &Namespace, to: SocketAddr, target: &str| connect(from, &world.one, to, target.parse().unwrap());
        let stay =
            |from: &Namespace, to: SocketAddr, target: &str| refused(from, &world.one, to, target.parse().unwrap());
        assert_eq!(come(&world.outside, four, "10.9.0.1:8080"), Some(ip("10.9.0.2")));
        assert_eq!(come(&world.outside, six, "[fd09::1]:8080"), Some(ip("fd09::2")));
        assert_eq!(come(&world.outside, four, "10.9.0.1:8081"), Some(ip("10.9.0.2")));
        assert!(stay(&world.outside, four, "10.9.0.1:8082"), "that one is on loopback");
        assert_eq!(come(&world.two, four, "10.9.0.1:8080"), Some(ip("10.2.0.2")), "another zone, by the host's port");
        assert_eq!(come(&world.neighbour, four, "10.1.0.1:8080"), Some(ip("10.1.0.1")), "a neighbour, by the gateway");
        assert!(come(&world.router, four, "10.9.0.1:8080").is_some(), "the host itself");
        // A bridge that asks the rules has translated the address before it chooses the port, and sends nothing back by
        // the one that it came from.
        bridges_ask_nobody();
        assert_eq!(come(&world.one, four, "10.9.0.1:8080"), Some(ip("10.1.0.1")), "the guest itself");
        assert!(stay(&world.two, four, "10.1.0.2:80"), "but not past the host's port");

        assert!(stay(&world.router, four, "127.0.0.1:8080"), "loopback is not meant");
        assert!(stay(&world.router, four, "127.0.0.1:8082"), "the kernel sends no loopback address out");
        std::fs::write("/proc/sys/net/ipv4/conf/br1/route_localnet", "1").unwrap();
        assert_eq!(come(&world.router, four, "127.0.0.1:8082"), Some(ip("10.1.0.1")), "unless it is told to");

        let elsewhere: SocketAddr = "10.9.0.2:8080".parse().unwrap();
        assert!(connect(&world.two, &world.outside, elsewhere, elsewhere).is_some(), "others' ports are theirs");

        replace("pybox", &[zone(1, true), zone(2, false)], &ports).unwrap();
        assert!(stay(&world.outside, four, "10.9.0.1:8080"), "an internal zone stays closed");
    });
}

#[test]
fn datagrams_are_published_too() {
    inside("rules::datagrams_are_published_too", || {
        let world = World::new();
        replace("pybox", &[zone(1, false)], &[port(Protocol::Udp, None, 5000, "10.1.0.2:50")]).unwrap();
        let server = world.one.run(|| UdpSocket::bind("10.1.0.2:50").unwrap());
        let client = world.outside.run(|| UdpSocket::bind("10.9.0.2:0").unwrap());
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        }
        client.send_to(b"hello", "10.9.0.1:5000").unwrap();
        let mut room = [0; 8];
        let (length, from) = server.recv_from(&mut room).unwrap();
        assert_eq!((&room[..length], from), (&b"hello"[..], client.local_addr().unwrap()));
        server.send_to(b"there", from).unwrap();
        let (_, from) = client.recv_from(&mut room).unwrap();
        assert_eq!(from, "10.9.0.1:5000".parse().unwrap());
    });
}

#[test]
fn tables_of_others_are_left_alone() {
    inside("rules::tables_of_others_are_left_alone", || {
        let world = World::new();
        replace("other", &[zone(1, true)], &[]).unwrap();
        replace("pybox", &[zone(1, false)], &[]).unwrap();
        assert!(closed(&world.one, &world.outside, "10.9.0.2"), "what one drops stays dropped");
        remove("pybox").unwrap();
        remove("pybox").unwrap();
        assert!(closed(&world.one, &world.outside, "10.9.0.2"), "the other one is there");
        remove("other").unwrap();
        assert!(reach(&world.one, &world.outside, "10.9.0.2").is_some());
    });
}

#[test]
fn many_networks_and_ports_are_one_batch() {
    inside("rules::many_networks_and_ports_are_one_batch", || {
        let zones: Vec<_> = (0..50)
            .map(|number| Zone {
                bridge: format!("br{number}"),
                subnets: vec![(IpAddr::from([10, number, 0, 0]), 24)],
                internal: number % 5 == 0,
            })
            .collect();
        let ports: Vec<_> = (0..100).map(|n| port(Protocol::Tcp, None, 8000 + n, "10.1.0.2:80")).collect();
        replace("pybox", &zones, &ports).unwrap();
        replace("pybox", &zones, &ports).unwrap();
        replace("pybox", &zones[..1], &[]).unwrap();
    });
}

#[test]
fn what_the_kernel_refuses_is_named() {
    inside("rules::what_the_kernel_refuses_is_named", || {
        let long = Zone { bridge: "a-name-of-16-byte".to_owned(), subnets: Vec::new(), internal: false };
        assert!(replace("pybox", &[long], &[]).is_err());
        assert!(replace("", &[zone(1, false)], &[]).is_err());
        let nowhere = port(Protocol::Tcp, Some("10.9.0.1"), 80, "[fd01::2]:80");
        assert!(replace("pybox", &[zone(1, false)], &[nowhere]).is_err());
    });
}

#[test]
fn nothing_slips_through_while_rules_are_replaced() {
    inside("rules::nothing_slips_through_while_rules_are_replaced", || {
        let world = World::new();
        let zones = [zone(1, false), zone(2, false)];
        assert!(reach(&world.one, &world.two, "10.2.0.2").is_some(), "without rules");
        replace("pybox", &zones, &[]).unwrap();
        let server = world.two.run(|| UdpSocket::bind("10.2.0.2:5000").unwrap());
        let client = world.one.run(|| UdpSocket::bind("10.1.0.2:0").unwrap());
        let over = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    sent += usize::from(client.send_to(b"hello", "10.2.0.2:5000").is_ok());
                }
                sent
            });
            for _ in 0..100 {
                replace("pybox", &zones, &[]).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            sender.join().unwrap()
        });
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let seen = server.recv(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(seen, Err(std::io::ErrorKind::WouldBlock), "one of {sent} came through");
        assert!(sent > 100, "{sent} were sent");
    });
}
