//! Networks of many containers: made, found by name, kept apart, and what comes of the death of those who keep them.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guest::{awaits, parent_of};
use crate::harness::{Live, Outcome};
use crate::pasta::{ask, free_port};

/// Answers on port 80 with who has asked.
const ANSWERS: &str = "touch /tmp/ready; exec nc -ll -p 80 -e sh -c 'echo here is $HOSTNAME'";

/// A container in the background, which answers.
fn answers(live: &Live, name: &str, flags: &[&str]) {
    let image = live.image("busybox");
    let words = ["run", "-d", "--name", name, "--hostname", name];
    let words = words.into_iter().chain(flags.iter().copied());
    live.pybox(words.chain([image.as_str(), "sh", "-c", ANSWERS])).ok();
    awaits(|| live.pybox(["exec", name, "test", "-e", "/tmp/ready"]).run().code == Some(0));
}

fn run(live: &Live, networks: &[&str], script: &str) -> Outcome {
    let image = live.image("busybox");
    let networks = networks.iter().flat_map(|name| ["--network", name]);
    live.pybox(["run", "--rm"].into_iter().chain(networks).chain([image.as_str(), "sh", "-c", script])).run()
}

/// What is answered by `name` on one of these networks; empty for nothing.
fn asked(live: &Live, networks: &[&str], name: &str) -> String {
    run(live, networks, &format!("nc -w 3 {name} 80 < /dev/null 2>/dev/null")).text()
}

fn address(live: &Live, name: &str, network: &str) -> String {
    let field = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    live.pybox(["inspect", "--format", &field, name]).ok()
}

/// Processes that keep the test's networks: outside, inside, and what leads out.
fn keepers(live: &Live) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let mut found = (Vec::new(), Vec::new(), Vec::new());
    let program = live.program().display().to_string();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        match words.as_slice() {
            [of, persona, inside, ..] if *of == program && persona == "__networks" && inside == "inside" => {
                found.1.push(pid);
            }
            [of, persona, ..] if *of == program && persona == "__networks" => found.0.push(pid),
            _ => {}
        }
    }
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with("pas") && parent_of(pid).is_some_and(|parent| found.0.contains(&parent)) {
            found.2.push(pid);
        }
    }
    found
}

fn strike(pids: &[u32]) {
    assert!(!pids.is_empty(), "nobody to strike");
    for pid in pids {
        kill(Pid::from_raw(i32::try_from(*pid).expect("a pid")), Signal::SIGKILL).expect("kill");
    }
}

/// All containers gone, the keeper goes, too.
fn nobody_is_left(live: &Live) {
    awaits(|| keepers(live).0.is_empty());
    awaits(|| live.leftovers().is_empty());
}

#[test]
fn networks_are_made_shown_and_removed() {
    let Some(live) = Live::new() else { return };
    assert_eq!(live.pybox(["network", "create", "web", "--label", "tier=front"]).ok(), "web");
    live.pybox(["network", "create", "web"]).run().refuses(1, "network web is there already");
    assert_eq!(live.pybox(["network", "create", "--ignore", "web"]).ok(), "web");
    live.pybox(["network", "create", "host"]).run().refuses(1, "no network can be called host");
    live.pybox(["network", "create", "keeper"]).run().refuses(1, "no network can be called keeper");
    let twice = ["network", "create", "b", "--subnet", "10.98.0.0/24", "--subnet", "10.97.0.0/24"];
    live.pybox(twice).run().refuses(1, "one subnet of IPv4");
    live.pybox(["network", "create", "b", "--subnet", "10.99.0.0/31"]).run().refuses(1, "invalid subnet");
    live.pybox(["network", "create", "b", "--gateway", "10.99.0.1"]).run().refuses(1, "is in none of");
    let taken = live.pybox(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "web"]).ok();
    live.pybox(["network", "create", "b", "--subnet", &taken]).run().refuses(1, "another network");
    let made =
        ["network", "create", "db", "--cidr", "10.99.3.0/24", "--gateway", "10.99.3.254", "--internal", "--ipv6"];
    assert_eq!(live.pybox(made).ok(), "db");
    assert_eq!(live.pybox(["network", "ls", "-q"]).ok(), "db\nweb");
    assert_eq!(live.pybox(["network", "ls", "-q", "--filter", "label=tier=front"]).ok(), "web");
    let shown = "{{.Internal}} {{.EnableIPv6}} {{(index .IPAM.Config 0).Gateway}}";
    assert_eq!(live.pybox(["network", "inspect", "-f", shown, "db"]).ok(), "true true 10.99.3.254");
    live.pybox(["network", "inspect", "nosuch"]).run().refuses(1, "no such network: nosuch");
    let image = live.image("busybox");
    live.pybox(["run", "--network", "nosuch", &image, "true"]).run().refuses(125, "no such network: nosuch");
    live.pybox(["run", "--network", "db:ip=10.1.1.1", &image, "true"]).run().refuses(125, "has no address 10.1.1.1");
    live.pybox(["run", "--network", "db", "--network", "host", &image, "true"]).run().refuses(125, "no other network");
    live.pybox(["create", "--name", "on", "--network", "web", &image]).ok();
    live.pybox(["network", "rm", "web"]).run().refuses(1, "is in use by container on");
    assert_eq!(live.pybox(["network", "prune", "-f"]).ok(), "Deleted Networks:\ndb\n\nTotal reclaimed space: 0B");
    assert_eq!(live.pybox(["network", "rm", "-f", "web", "nosuch"]).ok(), "web");
    assert_eq!(live.pybox(["ps", "-aq"]).ok(), "");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn containers_find_each_other_by_name() {
    let Some(live) = Live::new() else { return };
    live.pybox(["network", "create", "web", "--ipv6"]).ok();
    answers(&live, "one", &["--network", "web:alias=first,mac=02:00:00:00:07:07"]);
    let id = live.pybox(["inspect", "--format", "{{.Id}}", "one"]).ok();
    for name in ["one", "first", &id[..12], "ONE"] {
        assert_eq!(asked(&live, &["web"], name), "here is one", "{name}");
    }
    let own = address(&live, "one", "web");
    let said = run(&live, &["web"], &format!("nslookup one; nslookup {own}; cat /sys/class/net/eth0/address")).text();
    assert!(said.contains(&format!("Address: {own}")) && said.contains("name = one"), "{said}");
    assert!(said.contains("Address: fd"), "{said}");
    let mac = live.pybox(["exec", "one", "cat", "/sys/class/net/eth0/address"]).ok();
    assert_eq!(mac, "02:00:00:00:07:07");
    // Another name is known from the moment it has it, and one that has gone is not.
    live.pybox(["rm", "-f", "one"]).ok();
    assert_eq!(asked(&live, &["web"], own.as_str()), "");
    nobody_is_left(&live);
}

#[test]
fn networks_are_kept_apart() {
    let Some(live) = Live::new() else { return };
    for name in ["front", "back"] {
        live.pybox(["network", "create", name]).ok();
    }
    live.pybox(["network", "create", "shut", "--internal"]).ok();
    answers(&live, "one", &["--network", "front"]);
    answers(&live, "both", &["--network", "front", "--network", "back"]);
    answers(&live, "closed", &["--network", "shut"]);
    let (one, closed) = (address(&live, "one", "front"), address(&live, "closed", "shut"));
    assert_eq!(asked(&live, &["front"], &one), "here is one");
    assert_eq!(asked(&live, &["back"], &one), "");
    assert_eq!(asked(&live, &["back"], "both"), "here is both");
    assert_eq!(asked(&live, &["front", "back"], &one), "here is one");
    assert_eq!(asked(&live, &["front"], &closed), "");
    assert_eq!(asked(&live, &["shut"], "closed"), "here is closed");
    // A network that leads nowhere has no way out.
    assert!(!live.pybox(["exec", "closed", "ip", "route"]).ok().contains("default"));
    live.pybox(["rm", "-f", "one", "both", "closed"]).ok();
    nobody_is_left(&live);
}

#[test]
fn the_hosts_networks_are_reached_through_it() {
    let Some(live) = Live::new() else { return };
    let Some(host) = own_address() else { return };
    live.pybox(["network", "create", "web"]).ok();
    let server = TcpListener::bind((host.as_str(), 0)).expect("a port");
    let port = server.local_addr().expect("its address").port();
    // By another address of the host than the one that pasta has taken over there is no way to tell; so a name: the host's.
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a caller");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    });
    let image = live.image("busybox");
    let script = format!(
        "grep -q host.containers.internal /etc/hosts || exit 7; echo through | nc -w 5 host.containers.internal {port}"
    );
    let end = live.pybox(["run", "--rm", "--network", "web", &image, "sh", "-c", &script]).run();
    if end.code == Some(7) {
        // passt before 2024-10 has no address for the host.
        std::net::TcpStream::connect((host.as_str(), port)).expect("ourselves");
        thread.join().expect("the server");
    } else {
        assert_eq!(thread.join().expect("the server"), "through\n", "{end}");
    }
    nobody_is_left(&live);
}

/// The host's address on the way out.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[test]
fn addresses_are_had_once_and_kept_over_a_restart() {
    let Some(live) = Live::new() else { return };
    live.pybox(["network", "create", "tiny", "--subnet", "10.99.7.0/29"]).ok();
    answers(&live, "fixed", &["--network", "tiny", "--ip", "10.99.7.6"]);
    let image = live.image("busybox");
    let again = live.pybox(["run", "--rm", "--network", "tiny", "--ip", "10.99.7.6", &image, "true"]).run();
    again.refuses(125, "address 10.99.7.6 of network tiny is in use");
    for name in ["a", "b", "c", "d"] {
        answers(&live, name, &["--network", "tiny"]);
    }
    let full = live.pybox(["run", "--rm", "--network", "tiny", &image, "true"]).run();
    full.refuses(125, "all addresses of network tiny are in use");
    let before = address(&live, "c", "tiny");
    live.pybox(["restart", "-t", "0", "c"]).ok();
    assert_eq!(address(&live, "c", "tiny"), before);
    // One whose monitor was killed has none any more.
    let pid: u32 = live.pybox(["inspect", "--format", "{{.State.Pid}}", "b"]).ok().parse().expect("a pid");
    let monitor = parent_of(pid).expect("a parent");
    let freed = address(&live, "b", "tiny");
    strike(&[monitor]);
    awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "b"]).ok() == "exited");
    let said = run(&live, &["tiny"], "ip -o -4 addr show eth0").text();
    assert!(said.contains(&freed), "{said}");
    live.pybox(["rm", "-f", "a", "b", "c", "d", "fixed"]).ok();
    nobody_is_left(&live);
}

#[test]
fn whoever_keeps_the_networks_may_die() {
    let Some(live) = Live::new() else { return };
    live.pybox(["network", "create", "web"]).ok();
    answers(&live, "one", &["--network", "web"]);
    answers(&live, "two", &["--network", "web"]);
    let ask = |from: &str, whom: &str| {
        live.pybox(["exec", from, "sh", "-c", &format!("nc -w 3 {whom} 80 < /dev/null 2>/dev/null")]).run().text()
    };
    let (one, two) = (address(&live, "one", "web"), address(&live, "two", "web"));
    for _ in 0..2 {
        let (outside, inside, uplink) = keepers(&live);
        for (what, pids) in [("outside", outside), ("inside", inside), ("uplink", uplink)] {
            if what == "inside" {
                // The one that took over is another one by now.
                strike(&keepers(&live).1);
            } else if what == "uplink" {
                strike(&keepers(&live).2);
            } else {
                strike(&pids);
            }
            // The packets know nothing of it, and the names come back.
            assert_eq!(ask("one", &two), "here is two", "{what}");
            awaits(|| ask("one", "two") == "here is two" && ask("two", "one") == "here is one");
            assert_eq!(asked(&live, &["web"], &one), "here is one", "{what}");
            awaits(|| {
                let (outside, inside, uplink) = keepers(&live);
                (outside.len(), inside.len(), uplink.len()) == (1, 1, 1)
            });
        }
    }
    // One that says nothing is replaced by whoever needs it; nobody else is kept waiting.
    for which in [0, 1] {
        let (outside, inside, _) = keepers(&live);
        let stopped = Pid::from_raw(i32::try_from([outside, inside][which][0]).expect("a pid"));
        kill(stopped, Signal::SIGSTOP).expect("stop");
        let started = std::time::Instant::now();
        assert_eq!(ask("one", &two), "here is two");
        live.pybox(["run", "--rm", "--network", "none", &live.image("busybox"), "true"]).ok();
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "others wait");
        assert_eq!(asked(&live, &["web"], &one), "here is one");
        awaits(|| ask("one", "two") == "here is two");
    }
    // Both at once: whoever was on the networks brings the namespaces along.
    let (outside, inside, _) = keepers(&live);
    strike(&[inside, outside].concat());
    assert_eq!(ask("one", &two), "here is two");
    awaits(|| ask("one", "two") == "here is two" && keepers(&live).0.len() == 1);
    assert_eq!(asked(&live, &["web"], &one), "here is one");
    // Without its socket nobody finds it: another one takes its place, and its members.
    fs::remove_file(live.root().join("networks/keeper")).expect("remove");
    assert_eq!(asked(&live, &["web"], &one), "here is one");
    awaits(|| ask("one", "two") == "here is two" && keepers(&live).0.len() == 1);
    live.pybox(["rm", "-f", "one", "two"]).ok();
    nobody_is_left(&live);
}

#[test]
fn many_come_and_go_at_once() {
    let Some(live) = Live::new() else { return };
    live.pybox(["network", "create", "crowd"]).ok();
    let image = live.image("busybox");
    let count = if crate::harness::long() { 50 } else { 12 };
    let start = |number: usize| {
        let name = format!("n{number}");
        let script = "ip -o -4 addr show eth0 | awk '{ print $4 }'; nslookup $NAME | grep -c 'Name:'; sleep 0.2";
        let (name_is, words) = (format!("NAME={name}"), ["run", "--rm", "--network", "crowd", "--name", &name, "-e"]);
        live.pybox(words.into_iter().chain([name_is.as_str(), &image, "sh", "-c", script])).within(120).start()
    };
    let running: Vec<_> = (0..count).map(start).collect();
    let mut addresses: Vec<String> = Vec::new();
    for running in running {
        let end = running.wait().exits(0);
        let text = end.text();
        let (address, names) = text.split_once('\n').unwrap_or_else(|| panic!("{end}"));
        assert_eq!(names, "1", "{end}");
        addresses.push(address.to_owned());
    }
    assert_eq!(addresses.len(), count);
    nobody_is_left(&live);
}

#[test]
fn ids_of_every_kind_live_on_networks() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    answers(&live, "one", &["--network", "bridge"]);
    let keep = ["run", "--rm", "--network", "bridge", "--userns", "keep-id", &image, "sh", "-c"];
    let script = "id -u; nc -w 3 one 80 < /dev/null";
    let said = live.pybox(keep.into_iter().chain([script])).ok();
    assert_eq!(
        said,
        format!(
            "{}\nhere is one",
            nix::unistd::User::from_name("pyboxtest").ok().flatten().expect("the test user").uid
        )
    );
    let admin =
        ["run", "--rm", "--network", "bridge", "--cap-add", "NET_ADMIN", &image, "ip", "link", "set", "eth0", "down"];
    assert_eq!(live.pybox(admin).ok(), "");
    live.pybox(["rm", "-f", "one"]).ok();
    nobody_is_left(&live);
}

#[test]
fn ports_are_published_on_networks() {
    let Some(live) = Live::new() else { return };
    live.pybox(["network", "create", "web"]).ok();
    live.pybox(["network", "create", "shut", "--internal"]).ok();
    let port = free_port();
    let published = format!("{port}:80");
    answers(&live, "one", &["--network", "web", "-p", &published]);
    assert_eq!(live.pybox(["port", "one"]).ok(), format!("80/tcp -> 0.0.0.0:{port}"));
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(ask(&address), "here is one", "{address}");
    }
    assert_eq!(asked(&live, &["web"], "one"), "here is one");
    let image = live.image("busybox");
    let shut = live.pybox(["run", "--rm", "--network", "shut", "-p", "80", &image, "true"]).run();
    shut.refuses(125, "on networks that are internal");
    live.pybox(["stop", "-t", "0", "one"]).ok();
    drop(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
    live.pybox(["start", "one"]).ok();
    awaits(|| ask(&format!("127.0.0.1:{port}")) == "here is one");
    live.pybox(["rm", "-f", "one"]).ok();
    nobody_is_left(&live);
}

#[test]
fn a_container_lives_in_the_network_of_another_one() {
    let Some(live) = Live::new() else { return };
    let image = live.image("busybox");
    for (network, userns) in [("none", "keep-id"), ("pasta", ""), ("bridge", ""), ("bridge", "keep-id")] {
        answers(&live, "one", &["--network", network, "--add-host", "other:10.1.2.3"]);
        let keep = if userns.is_empty() { vec![] } else { vec!["--userns", userns] };
        let words = ["run", "--rm", "--network", "container:one"].into_iter().chain(keep);
        let script = "nc -w 3 127.0.0.1 80 < /dev/null; grep other /etc/hosts; hostname; ls /sys/class/net | head -n 1";
        let said = live.pybox(words.chain([image.as_str(), "sh", "-c", script])).ok();
        let expected = "here is one\n10.1.2.3\tother\none\n";
        assert!(said.starts_with(expected), "{said}");
        let ports = live.pybox(["run", "--rm", "--network", "container:one", "-p", "80", &image, "true"]).run();
        ports.refuses(125, "ports cannot be published").says("publish them when one is run");
        live.pybox(["stop", "-t", "0", "one"]).ok();
        let ended = live.pybox(["run", "--rm", "--network", "container:one", &image, "true"]).run();
        ended.refuses(125, "container one is not running").says("pybox start one");
        live.pybox(["rm", "one"]).ok();
    }
    live.pybox(["run", "--network", "container:nosuch", &image, "true"])
        .run()
        .refuses(125, "no such container: nosuch");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn containers_change_their_networks_while_they_run() {
    let Some(live) = Live::new() else { return };
    for name in ["front", "back"] {
        live.pybox(["network", "create", name]).ok();
    }
    answers(&live, "one", &["--network", "front"]);
    answers(&live, "two", &["--network", "back"]);
    let ask = |whom: &str| {
        live.pybox(["exec", "one", "sh", "-c", &format!("nc -w 3 {whom} 80 < /dev/null 2>/dev/null")]).run().text()
    };
    let two = address(&live, "two", "back");
    assert_eq!(ask(&two), "");
    live.pybox(["network", "connect", "--alias", "friend", "back", "one"]).ok();
    live.pybox(["network", "connect", "back", "one"]).run().refuses(1, "is on network back already");
    assert_eq!((ask(&two).as_str(), ask("two").as_str()), ("here is two", "here is two"));
    assert_eq!(asked(&live, &["back"], "friend"), "here is one");
    // The way out goes with the first network, and the second one has it then.
    live.pybox(["network", "disconnect", "front", "one"]).ok();
    live.pybox(["network", "disconnect", "front", "one"]).run().refuses(1, "is not on network front");
    assert_eq!(ask("two"), "here is two");
    let gateway = live.pybox(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "back"]).ok();
    let routes = live.pybox(["exec", "one", "ip", "route"]).ok();
    assert!(routes.contains(&format!("default via {gateway} dev eth1")), "{routes}");
    assert_eq!(asked(&live, &["front"], "one"), "");
    // Another name is another name to others, and all of it is so after a restart, too.
    live.pybox(["rename", "one", "first"]).ok();
    assert_eq!(asked(&live, &["back"], "first"), "here is one");
    live.pybox(["restart", "-t", "0", "first"]).ok();
    awaits(|| asked(&live, &["back"], "first") == "here is one");
    assert_eq!(asked(&live, &["front"], "first"), "");
    live.pybox(["network", "rm", "front"]).ok();
    live.pybox(["network", "connect", "none", "first"]).run().refuses(1, "no such network: none");
    live.pybox(["rm", "-f", "first", "two"]).ok();
    nobody_is_left(&live);
}

#[test]
fn roots_networks_are_the_hosts_own() {
    let Some(live) = Live::new() else { return };
    if !nix::unistd::getuid().is_root() {
        return crate::fixture::skip("the tests do not run as root");
    }
    let image = live.image("busybox");
    live.pybox(["pull", "-q", &image]).ok();
    let archive = live.directory("saved").join("image.tar");
    live.pybox(["save", "-o", archive.to_str().expect("text"), &image]).ok();
    // The host's network namespace is one that is the test's alone.
    let script = r#"
        export PYBOX_ROOT="$PWD/of-root"; pybox=$0; ip link set lo up
        "$pybox" load -q -i "$1" > /dev/null; "$pybox" network create web > /dev/null
        "$pybox" run -d --name one --network web "$2" sh -c 'nc -ll -p 80 -e echo here is one' > /dev/null
        "$pybox" run --rm --network web "$2" sh -c 'until nc -w 3 one 80 < /dev/null; do sleep 0.1; done'
        busybox nc -w 3 $("$pybox" inspect --format '{{.NetworkSettings.IPAddress}}' one) 80 < /dev/null
        ls /sys/class/net | grep -c pb-; mount -t sysfs none /sys; ls /sys/class/net | grep -c pb-
        "$pybox" rm -f one > /dev/null
        for _ in $(seq 100); do ls /sys/class/net | grep -q pb- || break; sleep 0.1; done
        ls /sys/class/net | grep -c pb-
        rm -rf "$PYBOX_ROOT""#;
    let mut command = live.privileged("unshare");
    command.args(["-n", "-m", "sh", "-c", script]).arg(live.program()).arg(&archive).arg(&image);
    let said = crate::harness::Run::of(command).run();
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    assert_eq!(lines, ["here is one", "here is one", "0", "1", "0"], "{said}");
}
