//! Packets between two processes of ours: a SOCK_SEQPACKET pair, with file
//! descriptors on board. One packet is one message; an empty read is the end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

/// The most descriptors that one packet carries.
pub const MAX_FDS: usize = 4;

/// A connected pair, both ends close-on-exec.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one packet; `fds` (four at most) arrive as copies. Does not allocate.
///
/// # Errors
/// EPIPE if nobody holds the other end, else those of sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)).map(drop)
}

/// A packet as it was received.
#[derive(Debug, Default)]
pub struct Received {
    /// How many bytes of the buffer it filled; 0 is the end of the connection.
    pub len: usize,
    /// The descriptors on board, in order.
    pub fds: [Option<OwnedFd>; MAX_FDS],
}

/// Waits for one packet. Does not allocate; descriptors are close-on-exec.
///
/// # Errors
/// EMSGSIZE if the packet was larger than `buffer`, else those of recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let result = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if result.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let mut received = Received { len: result.bytes, ..Received::default() };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.fds.iter_mut().zip(fds).for_each(|(slot, fd)| *slot = Some(fd));
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn packets_keep_their_borders_and_carry_descriptors() {
        let (left, right) = pair().expect("a pair");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        send(left.as_fd(), b"one", &[writer.as_fd()]).expect("send");
        send(left.as_fd(), b"second", &[]).expect("send");
        drop((left, writer));
        let mut buffer = [0; 16];
        let first = receive(right.as_fd(), &mut buffer).expect("receive");
        assert_eq!(&buffer[..first.len], b"one");
        rustix::io::write(first.fds[0].as_ref().expect("a descriptor"), b"x").expect("write through the copy");
        assert_eq!(rustix::io::read(reader, &mut buffer[..1]), Ok(1));
        let mut small = [0; 3];
        assert_eq!(receive(right.as_fd(), &mut small).map(|packet| packet.len), Err(Errno::MSGSIZE));
        assert_eq!(receive(right.as_fd(), &mut buffer).map(|packet| packet.len), Ok(0));
    }
}
