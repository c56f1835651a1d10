//! The name server: asked by guests of its networks, with servers of the
//! outside that answer, keep silent or lie.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use pybox_netns_helper::Error;
use pybox_netns_helper::links::Links;
use pybox_netns_helper::names::{Entry, Server};

use crate::world::{bridge, guest, inside, ip};

/// What servers of the outside answer, to tell them apart.
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn entry(names: &[&str], addresses: &[&str]) -> Entry {
    Entry {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        also: Vec::new(),
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// The first word of an answer, or why there is none.
fn word(reply: &[u8]) -> String {
    let reply = Message::from_bytes(reply).unwrap();
    assert_eq!(reply.metadata.id, 0x1234);
    match (reply.answers.first(), reply.metadata.response_code) {
        (Some(record), ResponseCode::NoError) => record.data.to_string(),
        (_, code) => format!("{code:?}"),
    }
}

fn over_udp(server: IpAddr, name: &str, kind: RecordType) -> String {
    let socket = UdpSocket::bind((if server.is_ipv4() { ip("0.0.0.0") } else { ip("::") }, 0)).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    socket.send(&query(name, kind).to_bytes().unwrap()).unwrap();
    let mut room = [0; 4096];
    match socket.recv(&mut room) {
        Ok(length) => word(&room[..length]),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn over_tcp(server: IpAddr, name: &str, kind: RecordType) -> String {
    let mut stream = TcpStream::connect((server, 53)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    exchange(&mut stream, &query(name, kind))
}

fn exchange(stream: &mut TcpStream, query: &Message) -> String {
    let query = query.to_bytes().unwrap();
    stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&query).unwrap();
    match read(stream) {
        Some(reply) => word(&reply),
        None => "end".to_owned(),
    }
}

fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// What a server of the outside says to a query.
fn outside_says(query: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let query = Message::from_bytes(query).unwrap();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.queries.clone_from(&query.queries);
    let name = query.queries[0].name.clone();
    match name.to_ascii().as_str() {
        "refused." if address == FIRST => reply.metadata.response_code = ResponseCode::Refused,
        "missing." => reply.metadata.response_code = ResponseCode::NXDomain,
        _ => reply.answers.push(Record::from_rdata(name, 60, RData::A(A(address)))),
    }
    reply.to_bytes().unwrap()
}

/// A server of the outside on loopback, whose answer is `address`.
fn outside(port: u16, address: Ipv4Addr) -> SocketAddr {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let socket = UdpSocket::bind(at).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    std::thread::spawn(move || {
        let mut room = [0; 4096];
        loop {
            let (length, asker) = socket.recv_from(&mut room).unwrap();
            let reply = outside_says(&room[..length], address);
            let silent = reply.windows(7).any(|bytes| bytes == b"\x06silent");
            let lied = reply.windows(5).any(|bytes| bytes == b"\x04lied");
            if silent {
                continue;
            }
            if lied {
                let lie = outside_says(&room[..length], Ipv4Addr::new(6, 6, 6, 6));
                stranger.send_to(&lie, asker).unwrap();
                let mut wrong_number = lie.clone();
                wrong_number[0] ^= 1;
                socket.send_to(&wrong_number, asker).unwrap();
                let mut wrong_name = lie;
                wrong_name[13] = b'x';
                socket.send_to(&wrong_name, asker).unwrap();
            }
            socket.send_to(&reply, asker).unwrap();
        }
    });
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(query) = read(&mut stream) else { continue };
            let reply = outside_says(&query, address);
            stream.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    at
}

/// One network with one guest, `10.1.0.2`, and a server at both addresses of its bridge.
fn network(links: &mut Links, server: &mut Server) -> crate::world::Namespace {
    links.set_up("lo").unwrap();
    bridge(links, "br1", 1);
    let guest = guest(links, "br1", 1, 2);
    server.set("one", vec![entry(&["web", "www"], &["10.1.0.2", "fd01::2"]), entry(&["db"], &["10.1.0.3"])]);
    server.listen("one", ip("10.1.0.1")).unwrap();
    server.listen("one", ip("fd01::1")).unwrap();
    guest
}

#[test]
fn names_are_answered_over_udp_and_tcp() {
    inside("names::names_are_answered_over_udp_and_tcp", || {
        let mut links = Links::open().unwrap();
        let mut server = Server::new(Vec::new);
        let guest = network(&mut links, &mut server);
        guest.run(|| {
            for at in [ip("10.1.0.1"), ip("fd01::1")] {
                for ask in [over_udp, over_tcp] {
                    assert_eq!(ask(at, "web.", RecordType::A), "10.1.0.2");
                    assert_eq!(ask(at, "WWW.", RecordType::AAAA), "fd01::2");
                    assert_eq!(ask(at, "db.", RecordType::AAAA), "NoError");
                    assert_eq!(ask(at, "3.0.1.10.in-addr.arpa.", RecordType::PTR), "db.");
                    assert_eq!(ask(at, "example.org.", RecordType::A), "ServFail");
                }
            }
            let mut stream = TcpStream::connect("10.1.0.1:53").unwrap();
            for _ in 0..3 {
                assert_eq!(exchange(&mut stream, &query("db.", RecordType::A)), "10.1.0.3");
            }
        });
        server.set("one", vec![entry(&["db"], &["10.1.0.9"])]);
        guest.run(|| {
            assert_eq!(over_udp(ip("10.1.0.1"), "db.", RecordType::A), "10.1.0.9");
            assert_eq!(over_udp(ip("10.1.0.1"), "web.", RecordType::A), "ServFail");
        });
    });
}

#[test]
fn what_nobody_is_called_is_asked_of_the_outside() {
    inside("names::what_nobody_is_called_is_asked_of_the_outside", || {
        let mut links = Links::open().unwrap();
        links.set_up("lo").unwrap();
        let servers = [outside(5301, FIRST), outside(5302, SECOND)];
        // An address of ours among the servers is left out: its question would come back to us for ever.
        let mut server =
            Server::new(move || [SocketAddr::from(([10, 1, 0, 1], 53))].into_iter().chain(servers).collect());
        let guest = network(&mut links, &mut server);
        guest.run(|| {
            let at = ip("10.1.0.1");
            for ask in [over_udp, over_tcp] {
                assert_eq!(ask(at, "example.org.", RecordType::A), "192.0.2.1");
                assert_eq!(ask(at, "single.", RecordType::A), "192.0.2.1");
                assert_eq!(ask(at, "missing.", RecordType::A), "NXDomain");
                assert_eq!(ask(at, "refused.", RecordType::A), "192.0.2.2", "the second is asked if the first refuses");
            }
            assert_eq!(over_udp(ip("fd01::1"), "example.org.", RecordType::A), "192.0.2.1");
            assert_eq!(over_udp(at, "lied.", RecordType::A), "192.0.2.1", "a stranger's answer is no answer");
            let began = Instant::now();
            assert_eq!(over_udp(at, "silent.", RecordType::A), "ServFail");
            let waited = began.elapsed();
            assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&waited), "two servers: {waited:?}");
        });
    });
}

#[test]
fn one_who_asks_too_much_blocks_nobody() {
    inside("names::one_who_asks_too_much_blocks_nobody", || {
        let mut links = Links::open().unwrap();
        links.set_up("lo").unwrap();
        let first = outside(5301, FIRST);
        let mut server = Server::new(move || vec![first]);
        let bad = network(&mut links, &mut server);
        let good = guest(&mut links, "br1", 1, 4);
        let at = ip("10.1.0.1");
        let _held: Vec<TcpStream> = bad.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let query = query("silent.", RecordType::A).to_bytes().unwrap();
            for _ in 0..3000 {
                socket.send_to(&query, (at, 53)).unwrap();
            }
            let mut streams: Vec<_> = (0..200).map(|_| TcpStream::connect((at, 53)).unwrap()).collect();
            for stream in &mut streams {
                // Half a query, and then nothing.
                let _ = stream.write_all(&[0, 30, 1]);
            }
            streams
        });
        good.run(|| {
            let began = Instant::now();
            for ask in [over_udp, over_tcp] {
                assert_eq!(ask(at, "web.", RecordType::A), "10.1.0.2");
                assert_eq!(ask(at, "example.org.", RecordType::A), "192.0.2.1");
            }
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        });
    });
}

#[test]
fn zones_know_their_own_names_and_are_forgotten() {
    inside("names::zones_know_their_own_names_and_are_forgotten", || {
        let mut links = Links::open().unwrap();
        links.set_up("lo").unwrap();
        let first = outside(5301, FIRST);
        let mut server = Server::new(move || vec![first]);
        let guest_of_one = network(&mut links, &mut server);
        bridge(&mut links, "br2", 2);
        let guest_of_two = guest(&mut links, "br2", 2, 2);
        server.set("two", vec![entry(&["web"], &["10.2.0.7"])]);
        server.keep_inside("two");
        server.listen("two", ip("10.2.0.1")).unwrap();
        let error = server.listen("two", ip("10.2.0.1")).unwrap_err();
        assert!(matches!(error, Error::Listen { .. }), "{error}");
        assert_eq!(error.to_string(), "listen for names at 10.2.0.1:53");
        assert!(server.listen("two", ip("10.9.0.1")).is_err());
        guest_of_one.run(|| assert_eq!(over_udp(ip("10.1.0.1"), "web.", RecordType::A), "10.1.0.2"));
        guest_of_two.run(|| {
            assert_eq!(over_udp(ip("10.2.0.1"), "web.", RecordType::A), "10.2.0.7");
            for ask in [over_udp, over_tcp] {
                assert_eq!(ask(ip("10.2.0.1"), "example.org.", RecordType::A), "NXDomain", "nothing leaves the zone");
            }
        });
        server.forget("two");
        guest_of_two.run(|| assert_eq!(over_udp(ip("10.2.0.1"), "web.", RecordType::A), "ConnectionRefused"));
        guest_of_one.run(|| assert_eq!(over_udp(ip("10.1.0.1"), "web.", RecordType::A), "10.1.0.2"));
        server.listen("two", ip("10.2.0.1")).unwrap();
        guest_of_two.run(|| assert_eq!(over_udp(ip("10.2.0.1"), "web.", RecordType::A), "192.0.2.1"));
        drop(server);
        guest_of_one.run(|| assert_eq!(over_udp(ip("10.1.0.1"), "web.", RecordType::A), "ConnectionRefused"));
    });
}
