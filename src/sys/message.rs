//! Packets between two processes of ours: a SOCK_SEQPACKET pair, with file
//! descriptors on board. One packet is one message; an empty read is the end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
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

/// Listens as `name` in `directory`, for processes of any user who may enter it.
/// The path goes by the descriptor, so a deep directory does not matter (unix(7): 108 bytes).
///
/// # Errors
/// Those of bind(2) and listen(2); EADDRINUSE if there is such a file.
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &address(directory, name)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// How long one waits to be let in.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to who listens as `name` in `directory`.
///
/// # Errors
/// ENOENT if there is no such file, ECONNREFUSED if nobody listens, EAGAIN if so many wait to be let in that one more
/// would wait for too long, else those of connect(2).
pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let address = address(directory, name)?;
    let limit = |limit| set_socket_timeout(&socket, Timeout::Send, limit);
    limit(Some(PATIENCE))?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    limit(None)?;
    Ok(socket)
}

/// Takes the next connection, if one waits and its process is of our user or of root.
///
/// # Errors
/// EAGAIN if none waits, EPERM for one of somebody else, else those of accept4(2).
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    let peer = rustix::net::sockopt::socket_peercred(&socket)?.uid;
    if peer == rustix::process::geteuid() || peer.is_root() { Ok(socket) } else { Err(Errno::PERM) }
}

fn address(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Sends one packet; `fds` (four at most) arrive as copies. Does not allocate.
///
/// # Errors
/// EPIPE if nobody holds the other end, else those of sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    send_with(SendFlags::NOSIGNAL, socket, bytes, fds)
}

/// The same, without waiting for room.
///
/// # Errors
/// EAGAIN if the other end has left so much unread that there is none, else as of [`send`].
pub fn send_at_once(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    send_with(SendFlags::NOSIGNAL | SendFlags::DONTWAIT, socket, bytes, fds)
}

fn send_with(flags: SendFlags, socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
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

/// Receives again where the other end has closed with packets of ours unread: the kernel tells of that once, and before
/// the packets that the other end had sent (unix_release_sock and __skb_try_recv_datagram of Linux). These, and then the
/// end of the connection, come with the next call.
///
/// # Errors
/// Those of `receive`, but for ECONNRESET and EINTR.
pub fn retry<T>(mut receive: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match receive() {
            Err(Errno::CONNRESET | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Waits for one packet. Does not allocate; descriptors are close-on-exec.
///
/// # Errors
/// EMSGSIZE if the packet was larger than `buffer`, else those of recvmsg(2); never ECONNRESET, see [`retry`].
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let result = retry(|| rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
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
    #[test]
    fn last_words_arrive_though_ours_were_not_read() {
        let (left, right) = pair().expect("a pair");
        send(right.as_fd(), b"never read", &[]).expect("send");
        send(left.as_fd(), b"last words", &[]).expect("send");
        drop(left);
        let mut buffer = [0; 16];
        let last = receive(right.as_fd(), &mut buffer).expect("receive");
        assert_eq!(&buffer[..last.len], b"last words");
        assert_eq!(receive(right.as_fd(), &mut buffer).map(|packet| packet.len), Ok(0));
    }
}
