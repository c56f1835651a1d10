//! Links, addresses and routes.

use std::net::SocketAddr;

use pybox_netns_helper::Error;
use pybox_netns_helper::links::Links;

use crate::world::{Namespace, bridge, connect, guest, inside, ip};

#[test]
fn two_guests_of_a_bridge_reach_each_other() {
    inside("links::two_guests_of_a_bridge_reach_each_other", || {
        let mut links = Links::open().unwrap();
        bridge(&mut links, "br1", 1);
        let (one, two) = (guest(&mut links, "br1", 1, 2), guest(&mut links, "br1", 1, 3));
        for (here, there) in [("10.1.0.2", "10.1.0.3"), ("fd01::2", "fd01::3")] {
            let target = SocketAddr::new(ip(there), 4000);
            assert_eq!(connect(&one, &two, target, target), Some(ip(here)), "{there}");
        }
    });
}

#[test]
fn what_is_there_is_left_and_what_is_not_is_said() {
    inside("links::what_is_there_is_left_and_what_is_not_is_said", || {
        let mut links = Links::open().unwrap();
        assert_eq!(links.names().unwrap(), ["lo"]);
        bridge(&mut links, "br1", 1);
        let mac = links.mac("br1").unwrap().unwrap();
        bridge(&mut links, "br1", 1);
        assert_eq!(links.mac("br1").unwrap(), Some(mac));
        let lo = links.add_bridge("lo").unwrap_err();
        assert!(matches!(lo, Error::NotABridge { .. }), "{lo}");
        assert_eq!(links.mac("none").unwrap(), None);
        let none = links.set_up("none").unwrap_err();
        assert_eq!(none.to_string(), "switch on link none: there is no such link");
        let none = links.add_address("none", ip("10.9.0.1"), 24).unwrap_err();
        assert_eq!(none.to_string(), "add address to link none: there is no such link");
        let far = links.add_default_route(ip("192.0.2.1"), 5).unwrap_err();
        assert_eq!(far.to_string(), "add default route by 192.0.2.1 with metric 5");
        links.remove("none").unwrap();
        links.remove("br1").unwrap();
        links.remove("br1").unwrap();
        assert_eq!(links.names().unwrap(), ["lo"]);
    });
}

#[test]
fn a_pair_is_whole_or_not_there() {
    inside("links::a_pair_is_whole_or_not_there", || {
        let mut links = Links::open().unwrap();
        let other = Namespace::new();
        let error = links.add_veth("here", "none", "eth0", other.fd(), None).unwrap_err();
        assert_eq!(error.to_string(), "add a port to bridge none: there is no such link");
        assert_eq!(links.names().unwrap(), ["lo"]);

        links.add_bridge("br1").unwrap();
        let bridge_mac = links.mac("br1").unwrap();
        let mac = [0x02, 0, 0, 0, 0, 0x01];
        links.add_veth("here", "br1", "eth0", other.fd(), Some(mac)).unwrap();
        assert_eq!(links.names().unwrap(), ["lo", "br1", "here"]);
        assert_eq!(links.mac("br1").unwrap(), bridge_mac, "the bridge's address stays as ports come");
        other.run(|| {
            let mut links = Links::open().unwrap();
            assert_eq!(links.names().unwrap(), ["lo", "eth0"]);
            assert_eq!(links.mac("eth0").unwrap(), Some(mac));
        });
        let twice = links.add_veth("here2", "br1", "eth0", other.fd(), None).unwrap_err();
        assert_eq!(twice.to_string(), "add pair of links here2 and eth0");
        links.remove("here").unwrap();
        other.run(|| assert_eq!(Links::open().unwrap().names().unwrap(), ["lo"]));
    });
}

#[test]
fn subnets_are_those_of_addresses_and_routes() {
    inside("links::subnets_are_those_of_addresses_and_routes", || {
        let mut links = Links::open().unwrap();
        assert_eq!(links.subnets().unwrap(), []);
        bridge(&mut links, "br1", 1);
        links.add_default_route(ip("10.1.0.7"), 7).unwrap();
        let subnets = links.subnets().unwrap();
        assert!(subnets.contains(&(ip("10.1.0.0"), 24)), "{subnets:?}");
        assert!(subnets.contains(&(ip("fd01::"), 64)), "{subnets:?}");
        assert!(subnets.iter().all(|(_, prefix)| *prefix > 0), "{subnets:?}");
    });
}

#[test]
fn a_hundred_links_are_all_listed() {
    inside("links::a_hundred_links_are_all_listed", || {
        let mut links = Links::open().unwrap();
        for number in 0..100 {
            links.add_bridge(&format!("br{number}")).unwrap();
        }
        assert_eq!(links.names().unwrap().len(), 101);
    });
}
