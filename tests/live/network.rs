//! Networks that need no driver, and the three files that come with a name.

use crate::harness::Live;

#[test]
fn none_has_a_loopback_and_nothing_else() {
    let Some(live) = Live::new() else { return };
    for flags in [&["--network", "none"] as &[&str], &["--net=none"], &[]] {
        let said = live.sh(flags, "ls /sys/class/net; cat /sys/class/net/lo/operstate; ip -o addr show lo | grep -c 127.0.0.1; ip route | wc -l").ok();
        assert_eq!(said, "lo\nunknown\n1\n0", "{flags:?}");
    }
}

#[test]
fn loopback_carries_data() {
    let Some(live) = Live::new() else { return };
    let script = "nc -l -p 80 -e echo served & sleep 0.2; nc 127.0.0.1 80 < /dev/null";
    // Port 80: the container's own network has no privileged ports.
    assert_eq!(live.sh(&["-u", "1000"], script).ok(), "served");
}

#[test]
fn host_is_the_hosts() {
    let Some(live) = Live::new() else { return };
    let inside = live.sh(&["--network", "host"], "readlink /proc/self/ns/net").ok();
    assert_eq!(inside, std::fs::read_link("/proc/self/ns/net").expect("read a link").to_string_lossy());
    // No port of the host may be lent by the container's root.
    let run = live.sh(&["--network", "host"], "ip link set lo down").run();
    assert_ne!(run.code, Some(0), "{run}");
    live.sh(&["--network", "nosuch"], "true").run().refuses(125, "nosuch");
}

#[test]
fn no_socket_of_ours_is_to_be_found() {
    let Some(live) = Live::new() else { return };
    let own = live.dir.to_string_lossy().into_owned();
    let sockets = live.sh(&["--network", "host"], "cat /proc/net/unix").ok();
    let ours = sockets.lines().filter(|line| line.contains("@") && (line.contains("pybox") || line.contains(&own)));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_host_name_is_the_containers() {
    let Some(live) = Live::new() else { return };
    assert_eq!(
        live.sh(&["--hostname", "here"], "hostname; cat /etc/hostname; grep -c here /etc/hosts").ok(),
        "here\nhere\n1"
    );
    // Without the flag it is the short id, as everywhere.
    let name = live.sh(&[], "hostname").ok();
    assert!(name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let long = "x".repeat(65);
    live.sh(&["--hostname", &long], "true").run().refuses(125, "hostname");
    live.sh(&["--hostname", "a b"], "true").run().refuses(125, "hostname");
}

#[test]
fn hosts_and_resolv_conf_are_written() {
    let Some(live) = Live::new() else { return };
    let hosts = live.sh(&["--add-host", "db:10.1.2.3", "--add-host", "six:::1"], "cat /etc/hosts").ok();
    let has = |address: &str, name: &str| {
        hosts.lines().any(|line| {
            line.split_whitespace().next() == Some(address) && line.split_whitespace().any(|word| word == name)
        })
    };
    assert!(has("127.0.0.1", "localhost") && has("10.1.2.3", "db") && has("::1", "six"), "{hosts}");
    let resolv = live.sh(&["--dns", "192.0.2.1", "--dns", "2001:db8::1"], "cat /etc/resolv.conf").ok();
    let servers: Vec<_> = resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
    assert_eq!(servers, ["192.0.2.1", "2001:db8::1"]);
    live.sh(&["--dns", "nonsense"], "true").run().refuses(125, "nonsense");
    live.sh(&["--add-host", "nonsense"], "true").run().refuses(125, "nonsense");
    // They can be written, as with docker.
    live.sh(&[], "echo 10.0.0.1 more >> /etc/hosts").ok();
}

#[test]
fn sysctls_of_the_containers_namespaces_only() {
    let Some(live) = Live::new() else { return };
    let flags = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096"];
    assert_eq!(live.sh(&flags, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax").ok(), "1\n4096");
    let host = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read a sysctl");
    for bad in [
        "kernel.core_pattern=x",
        "kernel.shm_rmid_forced=1+kernel.core_pattern=x",
        "net.ipv4.ip_forward=1\nkernel.core_pattern=x",
        "net/../kernel/core_pattern=x",
        "net.ipv4.ip_forward",
        "vm.overcommit_memory=1",
    ] {
        let run = live.sh(&["--sysctl", bad], "true").run();
        assert_eq!(run.code, Some(125), "{bad:?}: {run}");
    }
    assert_eq!(host, std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read a sysctl"));
}
