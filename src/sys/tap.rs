//! An Ethernet interface whose other end is a descriptor (Documentation/networking/tuntap.rst), and requests about it
//! that were written down before. For the child of a launch: nothing here allocates.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::clone::last_error;

/// Where such interfaces are made.
pub const DEVICE: &CStr = c"/dev/net/tun";

/// `TUNSETIFF`: makes an interface of a descriptor, or finds one that lasts.
pub const ATTACH: u32 = 0x4004_54ca;
/// `TUNSETPERSIST`: whether an interface lasts when nobody holds its other end.
const LAST: u32 = 0x4004_54cb;
/// `TUNSETIFINDEX`: which index the next one gets.
const NUMBER: u32 = 0x4004_54da;
/// `TUNATTACHFILTER`: what of the kernel's packets comes to the descriptor.
const FILTER: u32 = 0x4010_54d5;

/// `NLMSG_ERROR` of linux/netlink.h, which an acknowledgement is too.
const ERROR: u16 = 2;

/// Makes an interface of this name and index in our network namespace, down and without addresses. It goes with the
/// namespace, in a thread of the kernel: whoever closed the last copy of the descriptor would wait some 40 ms for it
/// otherwise. What the kernel says by itself to see whether there are others (multicast
/// listeners, routers, a second owner of an address) does not come: what is to be read is from a program.
///
/// # Errors
/// ENOENT or EACCES if there is no such device for us, EBUSY if there is one of that name or index.
pub fn make(name: &CStr, index: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let tap = rustix::fs::open(DEVICE, flags, Mode::empty())?;
    // SAFETY: ifreq is plain data, for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes().iter().take(room)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    let index = libc::c_int::try_from(index).map_err(|_| Errno::INVAL)?;
    let filter = Program { len: QUIET.len() as u16, instructions: QUIET.as_ptr() };
    control(&tap, NUMBER, &raw const index)?;
    control(&tap, ATTACH, &raw const request)?;
    control(&tap, FILTER, &raw const filter)?;
    set(&tap, LAST, 1)?;
    Ok(tap)
}

/// Takes an interface down while its namespace lasts, so that another one can have its name.
///
/// # Errors
/// Those of ioctl(2).
pub fn remove(tap: OwnedFd) -> Result<(), Errno> {
    let removed = set(&tap, LAST, 0);
    drop(tap);
    removed
}

/// A request whose argument is a number.
fn set(tap: &OwnedFd, request: u32, number: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: the kernel reads no memory for such a request.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::c_ulong::from(request) as _, number) };
    if result >= 0 { Ok(()) } else { Err(last_error()) }
}

/// `argument` is what `request` takes.
fn control<T>(tap: &OwnedFd, request: u32, argument: *const T) -> Result<(), Errno> {
    // SAFETY: callers hand in the structure of the request, which lives through the call; the kernel copies what it
    // needs.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::c_ulong::from(request) as _, argument) };
    if result >= 0 { Ok(()) } else { Err(last_error()) }
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    instructions: *const Instruction,
}

/// `struct sock_filter` (linux/filter.h).
#[repr(C)]
struct Instruction(u16, u8, u8, u32);

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Lets all through but IPv6 packets without a sender, reports of multicast listeners (behind a hop-by-hop header), and
/// questions for routers (RFC 3810, 4861). Offsets are those of an Ethernet frame.
const QUIET: [Instruction; 15] = [
    Instruction(LOAD_HALF, 0, 0, 12),
    Instruction(JUMP_IF_EQUAL, 0, 11, 0x86dd),
    // Next header: hop-by-hop options, which the kernel puts before these reports only.
    Instruction(LOAD_BYTE, 0, 0, 20),
    Instruction(JUMP_IF_EQUAL, 10, 0, 0),
    // ICMPv6, and of that the question for routers.
    Instruction(JUMP_IF_EQUAL, 0, 2, 58),
    Instruction(LOAD_BYTE, 0, 0, 54),
    Instruction(JUMP_IF_EQUAL, 7, 0, 133),
    // The sender is no address.
    Instruction(LOAD_WORD, 0, 0, 22),
    Instruction(JUMP_IF_EQUAL, 0, 4, 0),
    Instruction(LOAD_WORD, 0, 0, 30),
    Instruction(JUMP_IF_EQUAL, 0, 2, 0),
    Instruction(LOAD_WORD, 0, 0, 34),
    Instruction(JUMP_IF_EQUAL, 1, 0, 0),
    Instruction(RETURN, 0, 0, u32::MAX),
    Instruction(RETURN, 0, 0, 0),
];

/// Has the kernel carry out requests, whole netlink messages that ask to be acknowledged, one after the other.
/// Those from `required` on may be refused.
///
/// # Errors
/// That of the first that was refused.
pub fn ask(requests: &[Vec<u8>], required: usize) -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    for (at, request) in requests.iter().enumerate() {
        rustix::net::send(&socket, request, SendFlags::empty())?;
        // Header, then the number of an error and the header of the request.
        let mut answer = [0_u8; 256];
        rustix::net::recv(&socket, &mut answer[..], RecvFlags::TRUNC)?;
        let [_, _, _, _, k0, k1, _, _, _, _, _, _, _, _, _, _, e0, e1, e2, e3, ..] = answer;
        let number = i32::from_ne_bytes([e0, e1, e2, e3]);
        if u16::from_ne_bytes([k0, k1]) != ERROR {
            return Err(Errno::BADMSG);
        }
        if number != 0 && at < required {
            return Err(Errno::from_raw_os_error(-number));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter over a frame: whether it is let through.
    fn passes(frame: &[u8]) -> bool {
        let (mut at, mut loaded) = (0, 0_u32);
        loop {
            let Instruction(code, then, otherwise, value) = &QUIET[at];
            let bytes = |count: usize| {
                let from = frame.get(*value as usize..*value as usize + count).unwrap_or(&[0; 4][..count]);
                from.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))
            };
            match *code {
                LOAD_WORD => loaded = bytes(4),
                LOAD_HALF => loaded = bytes(2),
                LOAD_BYTE => loaded = bytes(1),
                JUMP_IF_EQUAL => at += usize::from(if loaded == *value { *then } else { *otherwise }),
                _ => return *value != 0,
            }
            at += 1;
        }
    }

    #[test]
    fn only_what_the_kernel_says_by_itself_is_dropped() {
        let frame = |next: u8, sender: [u8; 16], kind: u8| {
            let mut frame = vec![0; 70];
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            frame[20] = next;
            frame[22..38].copy_from_slice(&sender);
            frame[54] = kind;
            frame
        };
        let (nobody, near) = ([0; 16], std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
        let embedded = std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 1).octets();
        // A report of listeners, whoever sends it; a question for routers; is this address somebody's?
        for (next, sender, kind) in [(0, nobody, 0), (0, near, 0), (58, near, 133), (58, nobody, 135)] {
            assert!(!passes(&frame(next, sender, kind)), "{next} {sender:?} {kind}");
        }
        // A question for a neighbour, an echo, a segment, a datagram.
        for (next, sender, kind) in [(58, near, 135), (58, near, 128), (6, near, 133), (17, embedded, 0)] {
            assert!(passes(&frame(next, sender, kind)), "{next} {sender:?} {kind}");
        }
        let mut other = vec![0; 60];
        for kind in [[0x08, 0x00], [0x08, 0x06]] {
            other[12..14].copy_from_slice(&kind);
            assert!(passes(&other));
        }
    }
}
