//! T11: few descriptors, and a thousand who connect to a monitor and say nothing.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::aftermath::{field, gone, ordinary, with_busybox};
use crate::guest::{Guest, awaits};
use crate::harness::{Live, Run};

fn few(live: &Live, descriptors: u32, words: &[&str]) -> Run {
    let mut command = live.command("prlimit");
    command.arg(format!("--nofile={descriptors}")).arg(live.program()).args(words);
    Run::of(command).within(10)
}

#[test]
fn few_descriptors_are_enough_or_said_to_be_too_few() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    for descriptors in [64, 32] {
        for words in [&["ps", "-a"] as &[&str], &["images"], &["run", "--rm", &image, "true"]] {
            few(&live, descriptors, words).run().exits(0);
        }
        few(&live, descriptors, &["run", "-d", "--name", "guest", &image, "sleep", "300"]).run().exits(0);
        few(&live, descriptors, &["exec", "guest", "true"]).run().exits(0);
        few(&live, descriptors, &["rm", "-f", "guest"]).run().exits(0);
    }
    for descriptors in 4..24 {
        let end = few(&live, descriptors, &["run", "--rm", &image, "true"]).run();
        // Too few for the loader itself is not ours to say.
        let said = end.stderr.contains("hint:") || end.code == Some(127);
        assert!(end.code == Some(0) || said, "{descriptors}: {end}");
        assert!(!end.stderr.contains("panicked") && end.signal.is_none(), "{descriptors}: {end}");
    }
    ordinary(&live, ["rmi", "-f", &image]).exits(0);
    few(&live, 64, &["pull", "-q", &image]).run().exits(0);
    let end = few(&live, 16, &["pull", "-q", &live.image("layered")]).run();
    assert!(end.code == Some(0) || end.stderr.contains("open files"), "{end}");
    gone(&live, "few descriptors");
}

/// One who connects to the monitor, and has nothing to say.
fn silent(bundle: &File) -> Option<OwnedFd> {
    let socket =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None);
    let socket = socket.expect("a socket");
    let address = UnixAddr::new(format!("/proc/self/fd/{}/control", bundle.as_raw_fd()).as_str()).expect("an address");
    connect(socket.as_raw_fd(), &address).ok().map(|()| socket)
}

/// Processor time that the process has taken.
fn taken(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, rest) = stat.rsplit_once(") ").expect("fields");
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_thousand_who_say_nothing_keep_nobody_out() {
    let Some(live) = Live::new() else { return };
    let image = with_busybox(&live);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most).expect("a limit");
    for descriptors in [48, 1024] {
        few(&live, descriptors, &["run", "-d", "--name", "guest", &image, "sleep", "300"]).run().exits(0);
        let guest = Guest { live: &live, name: "guest".to_owned() };
        let (_, monitor) = guest.pids();
        let id = field(&live, "guest", ".Id").expect("an id");
        let bundle = File::open(live.root().join("containers").join(id)).expect("a bundle");
        // As many as get in, again and again.
        let mut all: Vec<OwnedFd> = Vec::new();
        for _ in 0..20 {
            all.extend((0..50).filter_map(|_| silent(&bundle)));
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = taken(monitor);
        std::thread::sleep(Duration::from_secs(2));
        let spent = taken(monitor) - before;
        assert!(spent < Duration::from_millis(400), "{spent:?} of two seconds with {} who say nothing", all.len());
        ordinary(&live, ["exec", "guest", "true"]).exits(0);
        drop(all);
        awaits(|| std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("descriptors").count() < 30);
        ordinary(&live, ["exec", "guest", "true"]).exits(0);
        ordinary(&live, ["stop", "-t", "1", "guest"]).exits(0);
        drop(guest);
    }
    gone(&live, "a crowd");
}
