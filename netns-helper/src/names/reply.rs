//! What is answered to a query: decided from the query and the names alone.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};

/// Bytes of a DNS header.
const HEADER: usize = 12;

/// Containers come and go: who has asked asks again after this many seconds.
const SECONDS_TO_LIVE: u32 = 1;

/// What we take in one datagram: the size that crosses any network in one piece.
const OUR_PAYLOAD: u16 = 1232;

/// Somebody on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, its aliases, its short id; compared without regard to case. The first is the answer to who has an
    /// address.
    pub names: Vec<String>,
    /// Its addresses on this network.
    pub addresses: Vec<IpAddr>,
    /// Further networks that it is on, whose names it may ask for here.
    pub also: Vec<String>,
}

/// What is to be done with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this back. It may be longer than the asker takes in one datagram.
    Reply(Vec<u8>),
    /// Nobody here is meant: ask the outside.
    Forward,
    /// No query, or none that could be answered: say nothing.
    Drop,
}

/// What the names of one network answer to a query.
pub fn answer<'e>(query: &[u8], entries: impl IntoIterator<Item = &'e Entry>) -> Answer {
    let entries: Vec<&Entry> = entries.into_iter().collect();
    if query.len() < HEADER || is_response(query) {
        return Answer::Drop;
    }
    let Ok(message) = Message::from_bytes(query) else {
        return failed(query, ResponseCode::FormErr);
    };
    if message.metadata.op_code != OpCode::Query {
        return packed(&respond(&message, ResponseCode::NotImp));
    }
    let [question] = message.queries.as_slice() else {
        return packed(&respond(&message, ResponseCode::FormErr));
    };
    if message.version() != 0 {
        return packed(&respond(&message, ResponseCode::BADVERS));
    }
    if question.query_class != DNSClass::IN {
        return Answer::Forward;
    }
    let Some(mut records) = records(question, &entries) else { return Answer::Forward };
    // Whoever shares a name shares the work: many programs take the first address only.
    let first = usize::from(message.metadata.id).checked_rem(records.len()).unwrap_or(0);
    records.rotate_left(first);
    let mut reply = respond(&message, ResponseCode::NoError);
    reply.metadata.authoritative = true;
    reply.answers = records;
    packed(&reply)
}

/// An answer that says nothing but why there is none.
pub(super) fn failed(query: &[u8], code: ResponseCode) -> Answer {
    if let Ok(message) = Message::from_bytes(query) {
        return packed(&respond(&message, code));
    }
    let Some(&[id_high, id_low, flags, ..]) = query.first_chunk::<HEADER>() else { return Answer::Drop };
    // The four bits behind the first say what was asked for, the last one that others shall be asked.
    let operation = OpCode::from_u8(flags >> 3 & 0x0f);
    let mut reply = Message::error_msg(u16::from_be_bytes([id_high, id_low]), operation, code);
    reply.metadata.recursion_desired = flags & 1 == 1;
    packed(&reply)
}

/// A reply as it fits in one datagram for who asked: whole, or marked as cut off so that it is asked for over TCP.
pub(super) fn fitting(reply: Vec<u8>, query: &[u8]) -> Vec<u8> {
    let taken = Message::from_bytes(query).map_or(512, |query| query.max_payload());
    if reply.len() <= usize::from(taken) {
        return reply;
    }
    let cut = Message::from_bytes(&reply).ok().and_then(|reply| reply.truncate().to_bytes().ok());
    cut.unwrap_or(reply)
}

/// Whether the bit says that the message is an answer.
fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

fn respond(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_PAYLOAD);
        reply.edns = Some(edns);
    }
    reply
}

fn packed(message: &Message) -> Answer {
    message.to_bytes().map_or(Answer::Drop, Answer::Reply)
}

/// The records for a question; none if nobody here is meant, an empty list if somebody is who has no such record.
fn records(question: &Query, entries: &[&Entry]) -> Option<Vec<Record>> {
    if let Some(address) = reverse(&question.name) {
        let entry = entries.iter().find(|entry| entry.addresses.contains(&address))?;
        return Some(pointer(question, entry).into_iter().collect());
    }
    let name = plain(&question.name)?;
    let mut known = entries.iter().filter(|entry| entry.names.iter().any(|own| own.eq_ignore_ascii_case(&name)));
    let first = known.next()?;
    let mut found = Vec::new();
    for address in std::iter::once(first).chain(known).flat_map(|entry| &entry.addresses) {
        let (kind, data) = match *address {
            IpAddr::V4(address) => (RecordType::A, RData::A(A(address))),
            IpAddr::V6(address) => (RecordType::AAAA, RData::AAAA(AAAA(address))),
        };
        if question.query_type == kind || question.query_type == RecordType::ANY {
            found.push(Record::from_rdata(question.name.clone(), SECONDS_TO_LIVE, data));
        }
    }
    Some(found)
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` spells, if it spells a whole one.
fn reverse(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

fn pointer(question: &Query, entry: &Entry) -> Option<Record> {
    if !matches!(question.query_type, RecordType::PTR | RecordType::ANY) {
        return None;
    }
    let mut name = entry.names.iter().find_map(|name| Name::from_ascii(name).ok())?;
    name.set_fqdn(true);
    Some(Record::from_rdata(question.name.clone(), SECONDS_TO_LIVE, RData::PTR(PTR(name))))
}

/// A name as people write it; none if it has bytes that nobody here has in a name.
fn plain(name: &Name) -> Option<String> {
    let mut text = String::new();
    for label in name.iter() {
        if label.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |names: &[&str], addresses: &[&str]| Entry {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            also: Vec::new(),
        };
        vec![
            entry(&["web", "www", "0a1b2c3d4e5f"], &["10.1.0.2", "fd01::2"]),
            entry(&["Db", "store.internal"], &["10.1.0.3"]),
            entry(&["twin-1", "twin"], &["10.1.0.4"]),
            entry(&["twin-2", "TWIN"], &["10.1.0.5"]),
            entry(&["idle"], &[]),
        ]
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(6, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn reply(message: &Message) -> Option<Message> {
        match answer(&message.to_bytes().unwrap(), &entries()) {
            Answer::Reply(bytes) => Some(Message::from_bytes(&bytes).unwrap()),
            Answer::Forward => None,
            Answer::Drop => panic!("dropped"),
        }
    }

    /// What is answered, as words; none if it goes elsewhere.
    fn asked(name: &str, kind: RecordType) -> Option<Vec<String>> {
        let reply = reply(&query(name, kind))?;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.authoritative && reply.metadata.recursion_available && reply.metadata.recursion_desired);
        assert_eq!((reply.metadata.id, reply.queries.len()), (6, 1));
        assert!(reply.answers.iter().all(|record| record.ttl == 1));
        Some(reply.answers.iter().map(|record| record.data.to_string()).collect())
    }

    #[test]
    fn names_of_the_network_are_answered() {
        let table: &[(&str, RecordType, &[&str])] = &[
            ("web.", RecordType::A, &["10.1.0.2"]),
            ("WEB.", RecordType::A, &["10.1.0.2"]),
            ("www.", RecordType::AAAA, &["fd01::2"]),
            ("0a1b2c3d4e5f.", RecordType::A, &["10.1.0.2"]),
            ("db.", RecordType::A, &["10.1.0.3"]),
            ("store.internal.", RecordType::A, &["10.1.0.3"]),
            ("db.", RecordType::AAAA, &[]),
            ("db.", RecordType::MX, &[]),
            ("idle.", RecordType::A, &[]),
            ("web.", RecordType::ANY, &["10.1.0.2", "fd01::2"]),
            ("twin.", RecordType::A, &["10.1.0.4", "10.1.0.5"]),
            ("2.0.1.10.in-addr.arpa.", RecordType::PTR, &["web."]),
            ("3.0.1.10.IN-ADDR.arpa.", RecordType::PTR, &["Db."]),
            ("3.0.1.10.in-addr.arpa.", RecordType::A, &[]),
            ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.", RecordType::PTR, &["web."]),
        ];
        for (name, kind, expected) in table {
            let expected = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(asked(name, *kind), Some(expected), "{name} {kind}");
        }
    }

    #[test]
    fn all_else_goes_elsewhere() {
        let table = [
            ("nobody.", RecordType::A),
            ("web.example.org.", RecordType::A),
            ("internal.", RecordType::A),
            (".", RecordType::NS),
            ("9.0.1.10.in-addr.arpa.", RecordType::PTR),
            ("0.1.10.in-addr.arpa.", RecordType::PTR),
            ("300.0.1.10.in-addr.arpa.", RecordType::PTR),
        ];
        for (name, kind) in table {
            assert_eq!(asked(name, kind), None, "{name} {kind}");
        }
        let mut chaos = query("web.", RecordType::TXT);
        chaos.queries[0].query_class = DNSClass::CH;
        assert_eq!(reply(&chaos), None);
    }

    #[test]
    fn who_shares_a_name_takes_turns() {
        let mut firsts: Vec<_> = (0..2)
            .map(|id| {
                let mut query = query("twin.", RecordType::A);
                query.metadata.id = id;
                reply(&query).unwrap().answers[0].data.to_string()
            })
            .collect();
        firsts.sort();
        assert_eq!(firsts, ["10.1.0.4", "10.1.0.5"]);
    }

    #[test]
    fn queries_that_are_wrong_are_told_so() {
        let code = |message: &Message| reply(message).unwrap().metadata.response_code;
        let mut two = query("web.", RecordType::A);
        two.add_query(two.queries[0].clone());
        assert_eq!(code(&two), ResponseCode::FormErr);
        let mut none = query("web.", RecordType::A);
        none.queries.clear();
        assert_eq!(code(&none), ResponseCode::FormErr);
        let mut update = query("web.", RecordType::A);
        update.metadata.op_code = OpCode::Notify;
        assert_eq!(code(&update), ResponseCode::NotImp);
        let mut later = query("web.", RecordType::A);
        later.edns = Some(Edns::new());
        later.edns.as_mut().unwrap().set_version(1);
        // 16 has two names: in TSIG records it is BADSIG.
        assert_eq!(u16::from(code(&later)), u16::from(ResponseCode::BADVERS));

        let mut cut = query("web.", RecordType::A).to_bytes().unwrap();
        cut.truncate(15);
        let Answer::Reply(bytes) = answer(&cut, &entries()) else { panic!("a cut query has an id to answer to") };
        let error = Message::from_bytes(&bytes).unwrap();
        assert_eq!((error.metadata.id, error.metadata.response_code), (6, ResponseCode::FormErr));
    }

    #[test]
    fn answers_and_scraps_are_dropped() {
        let mut response = query("web.", RecordType::A);
        response.metadata.message_type = MessageType::Response;
        assert_eq!(answer(&response.to_bytes().unwrap(), &entries()), Answer::Drop);
        for length in 0..HEADER {
            assert_eq!(answer(&vec![0; length], &entries()), Answer::Drop, "{length}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_to_what_the_asker_takes() {
        let crowd = Entry {
            names: vec!["crowd".to_owned()],
            addresses: (0..100).map(|host| IpAddr::from([10, 2, 0, host])).collect(),
            also: Vec::new(),
        };
        let mut small = query("crowd.", RecordType::A);
        let bytes = small.to_bytes().unwrap();
        let Answer::Reply(reply) = answer(&bytes, std::slice::from_ref(&crowd)) else { panic!("known") };
        let cut = fitting(reply.clone(), &bytes);
        assert!(cut.len() <= 512);
        let cut = Message::from_bytes(&cut).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.queries == small.queries);

        small.edns = Some(Edns::new());
        small.edns.as_mut().unwrap().set_max_payload(4096);
        assert_eq!(fitting(reply.clone(), &small.to_bytes().unwrap()), reply);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = answer(&bytes, &entries());
            let _ = failed(&bytes, ResponseCode::ServFail);
            let _ = fitting(bytes.clone(), &bytes);
        }

        #[test]
        fn no_damaged_query_makes_it_panic(at in 0_usize..60, value in any::<u8>(), cut in 0_usize..80) {
            let mut message = query("2.0.1.10.in-addr.arpa.", RecordType::PTR);
            message.edns = Some(Edns::new());
            let mut bytes = message.to_bytes().unwrap();
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            let _ = answer(&bytes, &entries());
        }
    }
}
