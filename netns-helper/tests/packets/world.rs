//! Namespaces for tests: the one that a test is run in, and further ones.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use pybox_netns_helper::links::Links;

/// Set for a test that runs in its own world.
const INSIDE: &str = "PYBOX_NETNS_TEST_INSIDE";

/// Runs `body` as root of new user and network namespaces: the test `name` is started again there.
pub(crate) fn inside(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let possible = Command::new("unshare").args(["-Urn", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no user namespace can be made here");
        eprintln!("SKIPPED: {name}: no user namespace can be made here");
        return;
    }
    let own = std::env::current_exe().expect("a test is a program");
    let output = Command::new("unshare")
        .arg("-Urn")
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare was there a moment ago");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "the test {name} was not found: {said}");
}

/// A further network namespace.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Self {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root of a user namespace may have a network");
            Self::current()
        })
        .join()
        .unwrap()
    }

    pub(crate) fn current() -> Self {
        Self(File::open("/proc/thread-self/ns/net").expect("/proc is mounted"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `work` on a thread that is in the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.fd(), CloneFlags::CLONE_NEWNET).expect("the namespace is ours");
                work()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A bridge that is up and has the first address of each subnet (`10.1.0` or `fd01:`), by its prefix.
pub(crate) fn bridge(links: &mut Links, name: &str, number: u8) {
    links.add_bridge(name).unwrap();
    links.add_address(name, ip(&format!("10.{number}.0.1")), 24).unwrap();
    links.add_address(name, ip(&format!("fd0{number}::1")), 64).unwrap();
    links.set_up(name).unwrap();
}

/// A namespace with one link, `eth0`, to the bridge number `number`, and the address `host` there.
pub(crate) fn guest(links: &mut Links, bridge: &str, number: u8, host: u8) -> Namespace {
    let guest = Namespace::new();
    links.add_veth(&format!("{bridge}p{host}"), bridge, "eth0", guest.fd(), None).unwrap();
    guest.run(|| {
        let mut links = Links::open().unwrap();
        links.set_up("lo").unwrap();
        links.add_address("eth0", ip(&format!("10.{number}.0.{host}")), 24).unwrap();
        links.add_address("eth0", ip(&format!("fd0{number}::{host}")), 64).unwrap();
        links.set_up("eth0").unwrap();
        links.add_default_route(ip(&format!("10.{number}.0.1")), 100).unwrap();
        links.add_default_route(ip(&format!("fd0{number}::1")), 100).unwrap();
    });
    guest
}

/// Lets the namespace that the thread is in forward.
pub(crate) fn forward() {
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{file}"), "1").expect("the network is ours");
    }
}

/// Waits until the kernel is sure that nobody else has the link-local addresses here: without one it asks no neighbour
/// where to bring what it forwards.
pub(crate) fn settle() {
    const TENTATIVE: u32 = 0x40;
    for _ in 0..500 {
        let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("/proc is mounted");
        let flags = table.lines().filter_map(|line| line.split_whitespace().nth(4));
        if !flags.filter_map(|word| u32::from_str_radix(word, 16).ok()).any(|flags| flags & TENTATIVE != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("addresses of IPv6 stay tentative");
}

/// Lets bridges forward without asking the rules of the namespace that the thread is in, where they do.
pub(crate) fn bridges_ask_nobody() {
    for family in ["ip", "ip6"] {
        let file = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
        if std::path::Path::new(&file).exists() {
            std::fs::write(file, "0").expect("the network is ours");
        }
    }
}

/// Listens in one namespace and connects from another: whom the listener sees.
pub(crate) fn connect(from: &Namespace, to: &Namespace, listen: SocketAddr, target: SocketAddr) -> Option<IpAddr> {
    // Whoever may come comes in the end: a link that is new loses its first packet now and then.
    attempt(from, to, (listen, target), Duration::from_secs(10))
}

/// As [`connect`], where nobody is expected.
pub(crate) fn refused(from: &Namespace, to: &Namespace, listen: SocketAddr, target: SocketAddr) -> bool {
    attempt(from, to, (listen, target), Duration::from_millis(1200)).is_none()
}

fn attempt(
    from: &Namespace,
    to: &Namespace,
    (listen, target): (SocketAddr, SocketAddr),
    patience: Duration,
) -> Option<IpAddr> {
    let listener = to.run(|| TcpListener::bind(listen).expect("the port is free"));
    listener.set_nonblocking(true).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let Ok((mut stream, peer)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let mut word = [0; 5];
                stream.read_exact(&mut word).expect("who comes says a word");
                stream.write_all(&word).expect("who comes listens");
                return Some(peer.ip());
            }
            None
        });
        let reached = from.run(|| {
            let mut stream = TcpStream::connect_timeout(&target, patience).ok()?;
            stream.write_all(b"hello").ok()?;
            let mut word = [0; 5];
            stream.read_exact(&mut word).ok()?;
            (&word == b"hello").then_some(())
        });
        over.store(true, Ordering::Relaxed);
        let seen = server.join().unwrap();
        reached.and(seen)
    })
}
