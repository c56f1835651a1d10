//! Containers with a network of their own: pasta, ports of the host, names, and what comes of its death.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{skip, tool};
use crate::guest::{Guest, awaits, parent_of};
use crate::harness::{Live, Run};

const PASTA: &[&str] = &["--network", "pasta"];
/// Tells who has connected, as the kernel's tables have it.
const WHO: &str =
    "touch /tmp/ready; exec nc -ll -p 80 -e awk '$4 ~ /^0[1-9]$/ { print $3 }' /proc/net/tcp /proc/net/tcp6";

/// What is answered at a port of the host; empty for nothing.
pub(crate) fn ask(address: &str) -> String {
    let address: SocketAddr = address.parse().expect("an address");
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        let _ = stream.read_to_string(&mut text);
    }
    text.trim().to_owned()
}

/// A port that nobody has just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn network_of(live: &Live) -> Pid {
    find_network(live).expect("pasta")
}

/// What connects the guest, if something does already.
fn find_network(live: &Live) -> Option<Pid> {
    let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok();
    let monitor = parent_of(pid.parse().expect("a pid")).expect("a parent");
    let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).expect("children");
    let is_it = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("pas"));
    children.split_whitespace().find(is_it).map(|pid| Pid::from_raw(pid.parse().expect("a pid")))
}

#[test]
fn the_hosts_networks_are_reached_and_its_loopback_is_not() {
    let Some(live) = Live::new() else { return };
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("its address").port();
    let script = format!(
        "ip route | grep -c default; ip -o addr show scope global | wc -l; \
         gateway=$(ip route | awk '/default/ {{ print $3 }}'); \
         for address in 127.0.0.1 $gateway; do nc -w 2 $address {port} < /dev/null > /dev/null 2>&1 && echo reached $address; done; \
         cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    );
    let said = live.sh(PASTA, &script).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], *lines.last().expect("a line")), ("1", "0"), "{said}");
    assert!(lines[1].parse::<u32>().expect("a number") >= 1 && !said.contains("reached"), "{said}");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_says_nothing_is_connected_by_nobody() {
    let Some(live) = Live::new() else { return };
    let guest = Guest::runs(&live, PASTA, "touch /tmp/ready; exec sleep 100");
    let here =
        guest.sh(&[], "cat /sys/class/net/eth0/ifindex; ip -o -4 addr show eth0 | wc -l; ip route | grep -c default");
    assert_eq!(here.ok(), "100\n1\n1");
    assert_eq!(find_network(&live), None);
    // The first packet brings it, and nothing of what is there changes.
    guest.sh(&[], "nc -w 1 $(ip route | awk '/default/ { print $3 }') 9 < /dev/null; true").ok();
    awaits(|| find_network(&live).is_some());
    assert_eq!(guest.sh(&[], "cat /sys/class/net/eth0/ifindex").ok(), "100");
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_first_packet_is_not_lost() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("another address of the host needs root");
    }
    // The host's own address is the container's, too.
    const OTHER: &str = "203.0.113.9";
    tool("ip", &["addr", "add", &format!("{OTHER}/32"), "dev", "lo"]).expect("an address");
    let server = TcpListener::bind((OTHER, 0)).expect("a port");
    let port = server.local_addr().expect("its address").port();
    std::thread::spawn(move || server.accept().map(|(mut stream, _)| stream.write_all(b"answer\n")));
    // How often the kernel had to send something once more (tcp(7), RetransSegs).
    // Its input stays open: passt of 2023-03 may lose the end of a connection that both sides end at once.
    let script =
        format!("mkfifo /tmp/f; nc -w 9 {OTHER} {port} 0<>/tmp/f; awk '/^Tcp: [0-9]/ {{ print $13 }}' /proc/net/snmp");
    let said = live.sh(PASTA, &script).run();
    let _ = tool("ip", &["addr", "del", &format!("{OTHER}/32"), "dev", "lo"]);
    assert_eq!(said.text(), "answer\n0");
}

#[test]
fn ipv6_can_be_switched_off() {
    let Some(live) = Live::new() else { return };
    let flags = [PASTA, &["--sysctl", "net.ipv6.conf.all.disable_ipv6=1"]].concat();
    let said = live.sh(&flags, "ip -6 addr | wc -l; ip -o -4 addr show eth0 | wc -l").ok();
    assert_eq!(said, "0\n1");
}

#[test]
fn ports_are_published_and_let_go_of() {
    let Some(live) = Live::new() else { return };
    let (first, second) = (free_port(), free_port());
    let flags = ["-p", &format!("{first}:80"), "-p", &format!("127.0.0.1:{second}:80"), "-p", "127.0.0.1::80"];
    let guest = Guest::runs(&live, &[PASTA, &flags].concat(), WHO);
    for address in [format!("127.0.0.1:{first}"), format!("[::1]:{first}"), format!("127.0.0.1:{second}")] {
        assert_ne!(ask(&address), "", "{address}");
    }
    let listed = live.pybox(["port", "guest"]).ok();
    let chosen =
        listed.lines().find(|line| !line.ends_with(&format!(":{first}")) && !line.ends_with(&format!(":{second}")));
    let chosen =
        chosen.and_then(|line| line.strip_prefix("80/tcp -> ")).unwrap_or_else(|| panic!("{listed}")).to_owned();
    assert_ne!(ask(&chosen), "", "{chosen}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    // It is in use, by whom can be seen, and free again when the container has gone.
    let taken = live.sh(&["--network", "pasta", "-p", &format!("{first}:80")], "true").run();
    taken.refuses(125, "is in use by pas").says(&format!("-p {}:80", first + 1));
    live.pybox(["stop", "-t", "0", "guest"]).ok();
    assert_eq!(ask(&format!("127.0.0.1:{first}")), "");
    live.pybox(["start", "guest"]).ok();
    awaits(|| !ask(&format!("127.0.0.1:{first}")).is_empty());
    drop(guest);
    drop(TcpListener::bind(("127.0.0.1", first)).expect("the port is free"));
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn datagrams_are_passed_on() {
    let Some(live) = Live::new() else { return };
    let port = free_port();
    // The same port on both sides: passt of 2023-03 sends answers astray if they differ (docs/DECISIONS.md).
    let script = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => $ARGV[0], Proto => 'udp') or die; \
                  open(my $r, '>', '/tmp/ready'); close($r); while ($s->recv(my $line, 100)) { $s->send('got ' . $line) }";
    let (published, number) = (format!("127.0.0.1:{port}:{port}/udp"), port.to_string());
    let words = [
        "run",
        "-d",
        "--name",
        "guest",
        "--network",
        "pasta",
        "-p",
        &published,
        &live.debian(),
        "perl",
        "-e",
        script,
        &number,
    ];
    live.pybox(words).within(120).ok();
    awaits(|| live.pybox(["exec", "guest", "test", "-e", "/tmp/ready"]).run().code == Some(0));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    socket.send_to(b"datagram\n", ("127.0.0.1", port)).expect("send");
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!(&answer[..length], b"got datagram\n");
    live.pybox(["rm", "-f", "guest"]).ok();
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn who_connects_from_afar_is_seen() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("a client on another network needs root");
    }
    let port = free_port();
    let guest = Guest::runs(&live, &[PASTA, &["-p", &format!("{port}:80")]].concat(), WHO);
    let name = format!("pbt{}", std::process::id());
    let script = format!(
        "exec unshare --net sh -c 'echo; read x; ip link set {name}b up; ip addr add 198.51.100.2/24 dev {name}b; \
         sleep 2 | busybox nc -w 3 198.51.100.1 {port}'"
    );
    let mut client = Command::new("sh");
    client.args(["-c", &script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut client = client.spawn().expect("a client");
    let mut ready = [0; 1];
    client.stdout.as_mut().expect("its output").read_exact(&mut ready).expect("it is there");
    let set_up = format!(
        "ip link add {name}a type veth peer name {name}b netns {} && ip addr add 198.51.100.1/24 dev {name}a && ip link set {name}a up",
        client.id()
    );
    let made = tool("sh", &["-c", &set_up]);
    client.stdin.as_mut().expect("its input").write_all(b"\n").expect("go");
    let output = client.wait_with_output().expect("the client");
    let _ = tool("ip", &["link", "del", &format!("{name}a")]);
    made.expect("a link to the client");
    // 198.51.100.2, as the kernel writes it, with the port after it.
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.trim().split(':').next().is_some_and(|address| address.ends_with("026433C6")), "{seen}");
    drop(guest);
}

#[test]
fn a_network_that_dies_comes_back_and_the_container_lives_on() {
    let Some(live) = Live::new() else { return };
    let port = free_port();
    let guest = Guest::runs(&live, &[PASTA, &["-p", &format!("127.0.0.1:{port}:80")]].concat(), WHO);
    let address = format!("127.0.0.1:{port}");
    assert_ne!(ask(&address), "");
    let pid = live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok();
    let died = network_of(&live);
    kill(died, Signal::SIGKILL).expect("kill");
    let begun = Instant::now();
    awaits(|| !ask(&address).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(live.pybox(["inspect", "--format", "{{.State.Pid}}", "guest"]).ok(), pid);
    assert_ne!(network_of(&live), died);
    let events = live.pybox(["events", "--since", "1m", "--until", "0s"]).ok();
    assert!(events.contains("network-restart"), "{events}");
    drop(guest);
    live.pybox(["check"]).run().exits(0);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lost_monitor_leaves_no_network() {
    let Some(live) = Live::new() else { return };
    let port = free_port();
    let guest = Guest::runs(&live, &[PASTA, &["-p", &format!("127.0.0.1:{port}:80")]].concat(), WHO);
    let network = network_of(&live);
    let stat = fs::read_to_string(format!("/proc/{network}/stat")).expect("a process");
    let monitor = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).expect("a parent").to_owned();
    kill(Pid::from_raw(monitor.parse().expect("a pid")), Signal::SIGKILL).expect("kill");
    awaits(|| live.pybox(["inspect", "--format", "{{.State.Status}}", "guest"]).ok() == "exited");
    awaits(|| TcpListener::bind(("127.0.0.1", port)).is_ok());
    drop(guest);
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

/// Has `server` say of each name that its address is 192.0.2.77.
fn answer(server: UdpSocket) {
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut packet) {
            let question = &packet[12..length];
            let end = question.iter().position(|byte| *byte == 0).map_or(length, |zero| 12 + zero + 5);
            let header = [packet[0], packet[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77];
            let _ = server.send_to(&[&header[..], &packet[12..end], &record].concat(), from);
        }
    });
}

/// What a script of the test user's says on a host whose resolv.conf is `host`; it is told of the program and the image.
#[track_caller]
fn with_resolvers(live: &Live, host: &Path, script: &str, image: &str) -> String {
    let bind = "mount --bind \"$1\" /etc/resolv.conf && exec setpriv --reuid pyboxtest --regid pyboxtest --init-groups \
                sh -c \"$3\" \"$0\" \"$2\"";
    let mut command = live.privileged("unshare");
    command.args(["--mount", "sh", "-c", bind]).arg(live.program()).arg(host).args([image, script]);
    Run::of(command).ok()
}

#[test]
fn resolvers_of_the_hosts_loopback_are_asked() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("another /etc/resolv.conf needs root");
    }
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    // As with systemd-resolved: port 53 of an address that only the host has.
    answer(UdpSocket::bind("127.0.53.53:53").expect("port 53"));
    let host = live.file("resolv.conf", "nameserver 127.0.53.53\nsearch example.org\n");
    let script =
        "\"$0\" run --rm --network pasta \"$1\" sh -c 'cat /etc/resolv.conf; nslookup -type=a name.example.org'";
    let said = with_resolvers(&live, &host, script, &image);
    assert!(said.starts_with("nameserver 169.254.1.1\nsearch example.org\n") && said.contains("192.0.2.77"), "{said}");
}

/// As on a machine in an office, whose name servers are others: asked by their own address they answer by that one.
#[test]
fn resolvers_of_the_hosts_network_are_asked() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("another network needs root");
    }
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    // A machine of its own, with a way out and one who answers there; what is started from here is on it.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network");
    let script = "ip link set lo up && ip address add 198.51.100.53/32 dev lo && \
                  ip link add out type veth peer name far && ip address add 192.0.2.9/24 dev out && \
                  ip link set out up && ip link set far up && ip route add default via 192.0.2.1";
    Run::of({
        let mut command = live.privileged("sh");
        command.args(["-c", script]);
        command
    })
    .ok();
    answer(UdpSocket::bind("198.51.100.53:53").expect("port 53"));
    let host = live.file("resolv.conf", "nameserver 198.51.100.53\n");
    let script = "for network in pasta near; do \
                    \"$0\" run --rm --network $network \"$1\" nslookup -type=a name.example.org | grep -c 192.0.2.77; \
                  done";
    live.pybox(["network", "create", "near"]).ok();
    assert_eq!(with_resolvers(&live, &host, script, &image), "1\n1");
}

#[test]
fn name_servers_follow_the_hosts() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        return skip("another /etc needs root");
    }
    let image = live.image("busybox");
    live.pybox(["pull", &image]).ok();
    // An /etc of our own, where the file can be replaced as programs that manage it do.
    let etc = live.directory("etc");
    let script = "mount -t overlay none -o \"lowerdir=/etc,upperdir=$1/u,workdir=$1/w\" /etc || exit 9; \
                  as() { setpriv --reuid pyboxtest --regid pyboxtest --init-groups \"$0\" \"$@\"; }; \
                  new() { echo \"nameserver $1\" > /etc/new && mv /etc/new /etc/resolv.conf; }; \
                  new 192.0.2.1; image=$2; as run -d --name names --network pasta \"$image\" sleep 100 > /dev/null; \
                  as exec names cat /etc/resolv.conf; new 192.0.2.2; sleep 0.5; as exec names cat /etc/resolv.conf; \
                  as exec names sh -c 'echo mine > /etc/resolv.conf'; new 192.0.2.3; sleep 0.5; as exec names cat /etc/resolv.conf; \
                  as restart -t 0 names > /dev/null; as exec names cat /etc/resolv.conf; as rm -f names > /dev/null";
    fs::create_dir(etc.join("u")).and_then(|()| fs::create_dir(etc.join("w"))).expect("directories");
    let mut command = live.privileged("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(live.program()).arg(&etc).arg(&image);
    let said = Run::of(command).ok();
    assert_eq!(said, "nameserver 192.0.2.1\nnameserver 192.0.2.2\nmine\nnameserver 192.0.2.3");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_published_is_refused() {
    let Some(live) = Live::new() else { return };
    live.sh(&["--network", "none", "-p", "8080:80"], "true")
        .run()
        .refuses(125, "cannot be published with --network none");
    live.sh(&["-p", "8080:80/sctp"], "true").run().refuses(125, "sctp");
    live.sh(&["-p", "70000"], "true").run().refuses(125, "--publish");
    live.sh(&["--network", "pasta", "-p", "192.0.2.200:8080:80"], "true")
        .run()
        .refuses(125, "the host has no such address");
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("a setting");
    if start.trim().parse::<u16>().expect("a number") > 80 {
        let refused = live.sh(&["--network", "pasta", "-p", "80:80"], "true").run();
        refused.refuses(125, "users may not use the host's port 80").says("ip_unprivileged_port_start=80");
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn slirp4netns_does_where_there_is_no_pasta() {
    let Some(live) = Live::new() else { return };
    if let Err(why) = tool("slirp4netns", &["--version"]) {
        return skip(&why);
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("its address").port();
    let script = format!(
        "ip route | grep -c 'default via 10.0.2.2'; cat /etc/resolv.conf | head -n 1; cat /sys/class/net/eth0/address; \
         nc -w 2 10.0.2.2 {port} < /dev/null > /dev/null 2>&1 && echo reached"
    );
    let said = live.sh(&["--network", "slirp4netns", "--mac-address", "02:00:00:00:00:09"], &script).run().text();
    assert_eq!(said, "1\nnameserver 10.0.2.3\n02:00:00:00:00:09");
    let refused = live.sh(&["--network", "slirp4netns", "-p", "80"], "true").run();
    refused.refuses(125, "ports cannot be published with --network slirp4netns").says("--network pasta");
    assert_eq!(live.leftovers(), Vec::<String>::new());
}

#[test]
fn the_hardware_address_is_the_one_that_was_asked_for() {
    let Some(live) = Live::new() else { return };
    let flags = ["--network", "pasta", "--mac-address", "02:00:00:00:00:08"];
    let said = live.sh(&flags, "cat /sys/class/net/[!l]*/address").ok();
    assert_eq!(said, "02:00:00:00:00:08");
}
