//! Requests of a kernel that is none, to a server that thinks it is.
//!
//! A packet socket stands in for `/dev/fuse`. The first byte chooses how owners are kept and whether the first
//! exchange is a proper one; two more what is offered in it. Then come requests: an operation, the
//! node it is about, and fields until an end or the sixteenth; or bytes that are sent as they are.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use pybox_fuse_overlay::Ids;
use pybox_fuse_overlay::front::raw::{Options, serve};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

use super::answers;
use crate::bench::Bench;
use crate::choices::{Bytes, Choices as _};
use crate::laying::chmod;

/// Bytes of the header of a request.
const HEADER: usize = 40;
const INIT: u32 = 26;
/// As many requests as one input may have.
const MOST: usize = 64;
const NAMES: [&[u8]; 14] = [
    b"f",
    b"d",
    b"l",
    b"p",
    b"e",
    b"new",
    b"d/f",
    b".",
    b"..",
    b"",
    b".wh.f",
    b"user.a",
    b"security.pybox.entry",
    b"1:2:20666:c-1-3 n",
];

/// Raw requests, and at most one proper answer to each.
///
/// # Panics
/// If an answer is missing, one too many, or not what the kernel takes.
pub fn requests(bytes: &[u8]) {
    let Some(([how, minor, offer], rest)) = bytes.split_first_chunk::<3>() else { return };
    let bench = layers([Ids::Real, Ids::Recorded, Ids::Hidden, Ids::Real][usize::from(how & 3)]);
    let _opened = Opened(bench.dir.path());
    let overlay = bench.open().overlay;
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    set_socket_timeout(&ours, Timeout::Recv, Some(Duration::from_secs(10))).expect("a limit of time");
    let options = Options { threads: 1, largest: 1 << 16 };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(theirs, &overlay, &options));
        let mut kernel = Kernel { socket: ours, inos: vec![1], seen: 0 };
        if how & 4 == 0 {
            kernel.greet(31 + u32::from(minor % 20), u32::from(*offer));
        }
        let mut choices = Bytes(rest);
        for _ in 0..MOST {
            if choices.0.is_empty() || !kernel.ask(&mut choices) {
                break;
            }
        }
        rustix::net::shutdown(&kernel.socket, Shutdown::Write).expect("shut down");
        let _ = server.join().expect("the server does not panic");
        kernel.expect_no_more();
    });
}

/// A layer with a bit of everything, and another above it.
fn layers(ids: Ids) -> Bench {
    let mut bench = Bench::new(2);
    bench.ids = ids;
    bench.lower(1, "f", "contents");
    bench.lower(1, "d/f", "inside");
    bench.lower(1, "e", "two names");
    std::fs::hard_link(bench.layer(1).join("e"), bench.layer(1).join("d/e")).expect("link");
    std::os::unix::fs::symlink("d/f", bench.layer(1).join("l")).expect("symlink");
    bench.lower(0, "d/g", "above");
    bench
}

/// Whoever has no rights could not remove what a request has closed.
struct Opened<'a>(&'a Path);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let mut pending = vec![self.0.to_owned()];
        while let Some(directory) = pending.pop() {
            chmod(&directory, 0o700);
            let inside = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            pending
                .extend(inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|it| it.path()));
        }
    }
}

/// The kernel's end of the socket.
struct Kernel {
    socket: OwnedFd,
    /// Numbers that were heard of.
    inos: Vec<u64>,
    /// How many requests were sent.
    seen: u64,
}

impl Kernel {
    fn greet(&mut self, minor: u32, offer: u32) {
        let offered = offer.wrapping_mul(0x0101_0101) | (1 << 30);
        let body: Vec<u8> = [7, minor, 1 << 17, offered, offer].map(u32::to_ne_bytes).concat();
        let request = self.request(INIT, 0, &body);
        self.exchange(&request);
    }

    fn request(&mut self, operation: u32, node: u64, body: &[u8]) -> Vec<u8> {
        self.seen += 1;
        let length = u32::try_from(HEADER + body.len()).expect("short");
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&operation.to_ne_bytes());
        request.extend_from_slice(&self.seen.to_ne_bytes());
        request.extend_from_slice(&node.to_ne_bytes());
        request.extend_from_slice(&[0; 16]);
        request.extend_from_slice(body);
        request
    }

    /// One more request; `false` once the server is gone.
    fn ask(&mut self, choices: &mut Bytes<'_>) -> bool {
        let operation = choices.below(64);
        if operation >= 60 {
            let length = (1 + choices.below(255)).min(choices.0.len().max(1));
            let raw: Vec<u8> = (0..length).map(|_| byte(choices)).collect();
            return self.exchange(&tamed(raw));
        }
        let node = self.node(choices);
        let body = self.body(choices);
        let request = self.request(u32::try_from(operation).expect("small"), node, &body);
        self.exchange(&tamed(request))
    }

    fn node(&self, choices: &mut Bytes<'_>) -> u64 {
        let number = choices.below(256);
        if number < 12 { number as u64 } else { self.inos[number % self.inos.len()] }
    }

    fn body(&self, choices: &mut Bytes<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..16 {
            match choices.below(10) {
                0 => body.extend_from_slice(&u32::from(byte(choices)).to_ne_bytes()),
                1 => body.extend_from_slice(&u64::from(byte(choices)).to_ne_bytes()),
                2 => body.extend_from_slice(&[0; 8]),
                3 | 4 => {
                    body.extend_from_slice(NAMES[choices.below(NAMES.len())]);
                    body.push(0);
                }
                5 => body.extend_from_slice(&self.node(choices).to_ne_bytes()),
                6 => body.extend((0..4).map(|_| byte(choices))),
                7 => body.extend_from_slice(&(1_u32 << choices.below(32)).to_ne_bytes()),
                8 => {
                    let length = choices.below(64);
                    body.extend((0..length).map(|_| byte(choices)));
                }
                _ => break,
            }
        }
        body
    }

    /// Sends a request and takes its answer, if it is one that has an answer.
    fn exchange(&mut self, request: &[u8]) -> bool {
        match rustix::net::send(&self.socket, request, SendFlags::NOSIGNAL) {
            Ok(_) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return false,
            Err(error) => panic!("a request is not sent: {error}"),
        }
        let Some(asked) = answers::Asked::of(request) else { return true };
        let mut answer = vec![0; 1 << 18];
        match rustix::net::recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => false,
            Ok((length, _)) => {
                if let Some(ino) = asked.check(&answer[..length]) {
                    self.inos.push(ino);
                }
                true
            }
            Err(error) => panic!("no answer to {asked:?}: {error}"),
        }
    }

    /// Everything is answered, and the server gone.
    fn expect_no_more(&self) {
        let mut more = [0; 64];
        match rustix::net::recv(&self.socket, more.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::AGAIN | Errno::CONNRESET) => {}
            other => panic!("an answer too many: {other:?} {more:?}"),
        }
    }
}

fn byte(choices: &mut Bytes<'_>) -> u8 {
    u8::try_from(choices.below(256)).expect("a byte")
}

/// Without what would only fill the disk: how much is allocated or copied.
fn tamed(mut request: Vec<u8>) -> Vec<u8> {
    const FALLOCATE: u32 = 43;
    const COPY_FILE_RANGE: u32 = 47;
    const COPY_FILE_RANGE_64: u32 = 53;
    let operation = request.get(4..8).and_then(|field| field.try_into().ok()).map(u32::from_ne_bytes);
    let at = match operation {
        Some(FALLOCATE) => HEADER + 16,
        Some(COPY_FILE_RANGE | COPY_FILE_RANGE_64) => HEADER + 40,
        _ => return request,
    };
    for byte in request.get_mut(at + 2..at + 8).unwrap_or_default() {
        *byte = 0;
    }
    request
}
