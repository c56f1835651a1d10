//! A netlink socket and the frames on it: what rtnetlink and nfnetlink have in
//! common. Knows no message's contents.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{
    Timeout, set_socket_send_buffer_size, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLM_F_REQUEST` of linux/netlink.h; the kernel ignores what lacks it.
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even if all went well.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all objects of the kind.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: refuse what is there already.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`: make what is not there.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_DUMP_INTR`: the objects changed while they were listed.
pub(crate) const INTERRUPTED: u16 = 0x10;

/// `NLMSG_ERROR`, which an acknowledgement is too (with the number 0).
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;

/// Bytes of a `struct nlmsghdr`.
const HEADER: usize = 16;

/// The kernel sends no more than 32 KiB at a time to whoever offers more room.
const ROOM: usize = 64 * 1024;

/// The kernel answers at once; a wait is a fault, and a caller that waits for ever is worse than an error.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    sequence: u32,
    room: Vec<u8>,
}

/// One netlink message as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// All of it, header too.
    pub(crate) bytes: &'a [u8],
}

/// What a frame means for the request that it answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An object.
    Object,
    /// The last frame of an answer in several.
    End,
    /// The request was carried out.
    Done,
    /// It was not.
    Refused(i32),
}

impl Channel {
    /// Opens a socket for `NETLINK_NETFILTER` and so on; none is `NETLINK_ROUTE`, whose number is 0.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        // Who is connected to the kernel gets nothing from anybody else.
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0, room: vec![0; ROOM] })
    }

    /// A number for a request that no earlier one on this socket had.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Lets so many bytes be sent at once; what a socket has from the start may be less.
    pub(crate) fn make_room(&self, bytes: usize) -> io::Result<()> {
        const USUAL: usize = 64 * 1024;
        if bytes > USUAL && set_socket_send_buffer_size_force(&self.socket, bytes * 2).is_err() {
            // Without the right to have more than the system's limit, as much as that is.
            set_socket_send_buffer_size(&self.socket, bytes)?;
        }
        Ok(())
    }

    /// Sends requests that are whole messages.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, bytes, SendFlags::empty()))?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next few messages of the kernel.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Frame<'_>>> {
        let room = &mut self.room;
        let length = loop {
            match rustix::net::recv(&self.socket, &mut room[..], RecvFlags::TRUNC) {
                Ok((_, length)) => break length,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(errno) => return Err(errno.into()),
            }
        };
        let bytes = self.room.get(..length).ok_or_else(|| malformed("the answer is cut off"))?;
        frames(bytes)
    }

    /// Sends one request with [`ACK`] and waits until it is carried out or refused.
    pub(crate) fn transact(&mut self, bytes: &[u8], sequence: u32) -> io::Result<()> {
        self.send(bytes)?;
        loop {
            for frame in self.receive()?.iter().filter(|frame| frame.sequence == sequence) {
                match frame.meaning()? {
                    Meaning::Done | Meaning::End => return Ok(()),
                    Meaning::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Meaning::Object => {}
                }
            }
        }
    }
}

impl Frame<'_> {
    /// What the frame means for its request.
    pub(crate) fn meaning(&self) -> io::Result<Meaning> {
        match self.kind {
            DONE => Ok(Meaning::End),
            ERROR => {
                let number = self.bytes.get(HEADER..).and_then(|bytes| bytes.first_chunk());
                let number = number.ok_or_else(|| malformed("an error without a number"))?;
                match i32::from_ne_bytes(*number) {
                    0 => Ok(Meaning::Done),
                    number => Ok(Meaning::Refused(number.saturating_neg())),
                }
            }
            _ => Ok(Meaning::Object),
        }
    }
}

/// Cuts what was received into messages.
fn frames(mut bytes: &[u8]) -> io::Result<Vec<Frame<'_>>> {
    let mut all = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let own = bytes.get(..length).filter(|own| own.len() >= HEADER);
        let own = own.ok_or_else(|| malformed("a message of an impossible length"))?;
        all.push(Frame {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            bytes: own,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(all)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32, kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_are_cut_at_multiples_of_four() {
        let mut bytes = message(17, 30, 7, &[1, 0, 0, 0]);
        bytes.extend(message(20, ERROR, 8, &(-17_i32).to_ne_bytes()));
        let frames = frames(&bytes).unwrap();
        assert_eq!(frames.iter().map(|frame| (frame.kind, frame.sequence)).collect::<Vec<_>>(), [(30, 7), (2, 8)]);
        assert_eq!(frames[0].bytes.len(), 17);
        assert_eq!(frames[0].meaning().unwrap(), Meaning::Object);
        assert_eq!(frames[1].meaning().unwrap(), Meaning::Refused(17));
    }

    #[test]
    fn an_acknowledgement_is_an_error_with_the_number_zero() {
        let bytes = message(20, ERROR, 1, &[0; 4]);
        assert_eq!(frames(&bytes).unwrap()[0].meaning().unwrap(), Meaning::Done);
        let short = message(16, ERROR, 1, &[]);
        assert!(frames(&short).unwrap()[0].meaning().is_err());
    }

    #[test]
    fn impossible_lengths_are_no_frames() {
        for length in [0, 15, 21, u32::MAX] {
            assert!(frames(&message(length, 30, 1, &[0; 4])).is_err(), "{length}");
        }
    }
}
