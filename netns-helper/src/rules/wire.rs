//! Rules as messages of nfnetlink, after include/uapi/linux/netfilter/nf_tables.h.
//! Numbers in attributes are big-endian there, what is loaded into registers is
//! as the expression that loads it has it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::rule::{Chain, Hook, Match, Rule, Verdict};
use crate::Error;
use crate::netlink::{ACK, CREATE, Channel, Meaning, REQUEST};

/// `NFT_NAME_MAXLEN` without the zero.
const LONGEST_NAME: usize = 255;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u8 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const NEW_RULE: u8 = 6;
/// `NLM_F_APPEND`: a rule goes to the end of its chain.
const APPEND: u16 = 0x800;

/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// `NFT_REG_VERDICT`, and two registers of 16 bytes.
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// Bytes of a link's name in a register.
const NAME_BYTES: usize = 16;

/// A table has a name that the kernel takes.
pub(super) fn check_table(name: &str) -> Result<(), Error> {
    let wrong = name.is_empty() || name.len() > LONGEST_NAME || name.contains(|c: char| c.is_whitespace() || c == '\0');
    if wrong || name.contains('/') {
        return Err(Error::Name { name: name.to_owned(), longest: LONGEST_NAME });
    }
    Ok(())
}

/// Puts `chains` in place of what the table had.
pub(super) fn replace(table: &str, chains: &[Chain]) -> Result<(), Error> {
    let mut batch = Batch::new(table);
    batch.delete();
    batch.table();
    for chain in chains {
        batch.chain(chain);
    }
    for chain in chains {
        for rule in &chain.rules {
            batch.rule(chain, rule);
        }
    }
    batch.commit()
}

pub(super) fn remove(table: &str) -> Result<(), Error> {
    let mut batch = Batch::new(table);
    batch.delete();
    batch.commit()
}

/// Messages that hold together or not at all.
struct Batch<'a> {
    table: &'a str,
    bytes: Vec<u8>,
    /// What each message does, for errors; its number is its place here.
    deeds: Vec<String>,
    /// Where the last message begins.
    last: usize,
}

impl<'a> Batch<'a> {
    fn new(table: &'a str) -> Self {
        let mut batch = Self { table, bytes: Vec::new(), deeds: Vec::new(), last: 0 };
        // The two bytes behind the version name the subsystem here.
        batch.message((BATCH_BEGIN, REQUEST), [0, 0, 0, SUBSYSTEM], format!("of table inet {table}"), &[]);
        batch
    }

    fn message(&mut self, (kind, flags): (u16, u16), family: [u8; 4], deed: String, attributes: &[u8]) {
        self.last = self.bytes.len();
        let sequence = u32::try_from(self.deeds.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(family);
        self.bytes.extend(attributes);
        self.deeds.push(deed);
    }

    fn order(&mut self, order: u8, flags: u16, deed: String, attributes: &[u8]) {
        let kind = u16::from(SUBSYSTEM) << 8 | u16::from(order);
        self.message((kind, REQUEST | flags), [INET, 0, 0, 0], deed, attributes);
    }

    fn table(&mut self) {
        let name = text(1, self.table);
        self.order(NEW_TABLE, CREATE, format!("add table inet {}", self.table), &name);
    }

    /// Removes the table whether it is there or not: who deletes what is not there is refused, so it is made first.
    fn delete(&mut self) {
        self.table();
        let name = text(1, self.table);
        self.order(DELETE_TABLE, 0, format!("delete table inet {}", self.table), &name);
    }

    fn chain(&mut self, chain: &Chain) {
        let mut attributes = [text(1, self.table), text(3, chain.name)].concat();
        if let Some(Hook { kind, number, priority }) = chain.hook {
            const ACCEPT: u32 = 1;
            attributes.extend(nested(4, &[word(1, number), attribute(2, &priority.to_be_bytes())]));
            attributes.extend(word(5, ACCEPT));
            attributes.extend(text(7, kind.name()));
        }
        self.order(NEW_CHAIN, CREATE, format!("add chain inet {} {}", self.table, chain.name), &attributes);
    }

    fn rule(&mut self, chain: &Chain, rule: &Rule) {
        let mut expressions: Vec<Vec<u8>> = Vec::new();
        for one in &rule.matches {
            expressions.extend(matching(one));
        }
        expressions.extend(verdict(&rule.then));
        let elements: Vec<_> = expressions.iter().map(|expression| attribute(1 | NESTED, expression)).collect();
        let attributes = [text(1, self.table), text(2, chain.name), nested(4, &elements)].concat();
        let deed = format!("add rule inet {} {} {rule}", self.table, chain.name);
        self.order(NEW_RULE, CREATE | APPEND, deed, &attributes);
    }

    /// Sends all of it and waits until the kernel has put it in force.
    fn commit(mut self) -> Result<(), Error> {
        // The one message whose success is reported: only what went wrong is, else. Flags are behind length and kind.
        let place = self.bytes.get_mut(self.last + 6..).and_then(|bytes| bytes.first_chunk_mut::<2>());
        if let Some(flags) = place {
            *flags = (u16::from_ne_bytes(*flags) | ACK).to_ne_bytes();
        }
        let last = self.deeds.len() - 1;
        self.message((BATCH_END, REQUEST), [0, 0, 0, SUBSYSTEM], String::new(), &[]);
        let mut channel = Channel::open(Some(rustix::net::netlink::NETFILTER))
            .map_err(|source| Error::Open { purpose: "packet rules", source })?;
        let whole = |source| self.refused(0, source);
        channel.make_room(self.bytes.len()).map_err(whole)?;
        channel.send(&self.bytes).map_err(whole)?;
        loop {
            for frame in channel.receive().map_err(whole)? {
                let at = frame.sequence as usize;
                match frame.meaning().map_err(whole)? {
                    Meaning::Refused(errno) => return Err(self.refused(at, io::Error::from_raw_os_error(errno))),
                    // Errors come in the order of the messages: before this one there was none.
                    Meaning::Done if at == last => return Ok(()),
                    Meaning::Done | Meaning::End | Meaning::Object => {}
                }
            }
        }
    }

    fn refused(&self, at: usize, source: io::Error) -> Error {
        let object = self.deeds.get(at).cloned().unwrap_or_default();
        // The kernel means that it does not know the expression, not that a file is missing.
        let unknown = source.raw_os_error() == Some(Errno::NOENT.raw_os_error()) && object.starts_with("add rule");
        let source = if unknown { io::Error::new(io::ErrorKind::Unsupported, "the kernel lacks it") } else { source };
        Error::Refused { operation: "change packet rules:", object, source }
    }
}

/// Expressions that let a packet pass on to the next only if it fits.
fn matching(one: &Match) -> Vec<Vec<u8>> {
    match one {
        Match::From(link) => vec![meta(6), compare(true, &padded(link))],
        Match::To(link) => vec![meta(7), compare(true, &padded(link))],
        Match::Source(net, prefix) => address(*net, *prefix, End::Source, true),
        Match::Destination(net, prefix) => address(*net, *prefix, End::Destination, true),
        Match::NotDestination(net, prefix) => address(*net, *prefix, End::Destination, false),
        Match::ForUs => {
            // `NFT_FIB_RESULT_ADDRTYPE` of `NFTA_FIB_F_DADDR` is `RTN_LOCAL`.
            let fib = expression("fib", &[word(1, FIRST), word(2, 3), word(3, 2)]);
            vec![fib, compare(true, &2_u32.to_ne_bytes())]
        }
        Match::Port(protocol, port) => {
            let number = match protocol {
                super::Protocol::Tcp => 6,
                super::Protocol::Udp => 17,
            };
            vec![meta(16), compare(true, &[number]), payload(2, 2, 2), compare(true, &port.to_be_bytes())]
        }
        Match::Translated => {
            const DESTINATION_CHANGED: u32 = 1 << 5;
            let status = expression("ct", &[word(1, FIRST), word(2, 2)]);
            let bit = mask(&DESTINATION_CHANGED.to_ne_bytes());
            vec![status, bit, compare(false, &0_u32.to_ne_bytes())]
        }
    }
}

/// One of the two ends of a packet's way.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// The packet is of the family of `net`, and one of its addresses is in it, or is not.
fn address(net: IpAddr, prefix: u8, end: End, within: bool) -> Vec<Vec<u8>> {
    let (family, bytes, offset) = match (net, end) {
        (IpAddr::V4(net), End::Source) => (IPV4, net.octets().to_vec(), 12),
        (IpAddr::V4(net), End::Destination) => (IPV4, net.octets().to_vec(), 16),
        (IpAddr::V6(net), End::Source) => (IPV6, net.octets().to_vec(), 8),
        (IpAddr::V6(net), End::Destination) => (IPV6, net.octets().to_vec(), 24),
    };
    let mut all = vec![meta(15), compare(true, &[family]), payload(1, offset, bytes.len())];
    let ones = mask_bytes(prefix, bytes.len());
    if ones.iter().any(|byte| *byte != 0xff) {
        all.push(mask(&ones));
    }
    all.push(compare(within, &bytes));
    all
}

fn verdict(verdict: &Verdict) -> Vec<Vec<u8>> {
    const DROP: u32 = 0;
    const ACCEPT: u32 = 1;
    const GOTO: i32 = -4;
    let decide = |parts: &[Vec<u8>]| vec![expression("immediate", &[word(1, VERDICT), nested(2, &[nested(2, parts)])])];
    match verdict {
        Verdict::Accept => decide(&[word(1, ACCEPT)]),
        Verdict::Drop => decide(&[word(1, DROP)]),
        Verdict::Goto(chain) => decide(&[attribute(1, &GOTO.to_be_bytes()), text(2, chain)]),
        Verdict::Masquerade => vec![expression("masq", &[])],
        Verdict::Translate(to) => translate(*to),
    }
}

fn translate(to: SocketAddr) -> Vec<Vec<u8>> {
    const DESTINATION: u32 = 1;
    let (family, bytes) = match to.ip() {
        IpAddr::V4(address) => (IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (IPV6, address.octets().to_vec()),
    };
    let load =
        |register, bytes: &[u8]| expression("immediate", &[word(1, register), nested(2, &[attribute(1, bytes)])]);
    let nat = [word(1, DESTINATION), word(2, family.into()), word(3, FIRST), word(5, SECOND)];
    vec![load(FIRST, &bytes), load(SECOND, &to.port().to_be_bytes()), expression("nat", &nat)]
}

/// Loads a fact about the packet: a key of `enum nft_meta_keys`.
fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[word(1, FIRST), word(2, key)])
}

/// Loads bytes of a header: 1 is that of the network, 2 that of the transport.
fn payload(base: u32, offset: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    expression("payload", &[word(1, FIRST), word(2, base), word(3, offset), word(4, length)])
}

/// Goes on if what is loaded is this, or is not this.
fn compare(equal: bool, bytes: &[u8]) -> Vec<u8> {
    expression("cmp", &[word(1, FIRST), word(2, u32::from(!equal)), nested(3, &[attribute(1, bytes)])])
}

/// Keeps of what is loaded the bits that are set here.
fn mask(bits: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bits.len()).unwrap_or(u32::MAX);
    let none = vec![0; bits.len()];
    let operands = [nested(4, &[attribute(1, bits)]), nested(5, &[attribute(1, &none)])].concat();
    expression("bitwise", &[word(1, FIRST), word(2, FIRST), word(3, length), operands])
}

fn mask_bytes(prefix: u8, length: usize) -> Vec<u8> {
    let bits = |at: usize| usize::from(prefix).saturating_sub(at * 8).min(8);
    (0..length).map(|at| !(0xff_u16 >> bits(at)) as u8).collect()
}

fn padded(link: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    bytes.iter_mut().zip(link.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

fn expression(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    [text(1, name), nested(2, parts)].concat()
}

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &parts.concat())
}

fn word(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// An attribute: its length with the header and its kind, what it holds, and zeros up to a multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_their_length_and_are_padded() {
        let mut expected = [6_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
        expected.extend(b"a\0\0\0");
        assert_eq!(text(1, "a"), expected);
        assert_eq!(word(2, 258).get(4..), Some(&[0, 0, 1, 2][..]));
    }

    #[test]
    fn masks_of_all_lengths() {
        let table: [(u8, [u8; 4]); 6] = [
            (0, [0, 0, 0, 0]),
            (1, [0x80, 0, 0, 0]),
            (8, [0xff, 0, 0, 0]),
            (20, [0xff, 0xff, 0xf0, 0]),
            (32, [0xff; 4]),
            (200, [0xff; 4]),
        ];
        for (prefix, expected) in table {
            assert_eq!(mask_bytes(prefix, 4), expected, "{prefix}");
        }
    }

    #[test]
    fn names_of_tables() {
        for name in ["pybox", "pybox-1.test", &"x".repeat(255)] {
            assert!(check_table(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a\0b", "a/b", &"x".repeat(256)] {
            assert!(check_table(name).is_err(), "{name}");
        }
    }
}
