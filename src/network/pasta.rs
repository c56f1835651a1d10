//! pasta (passt.top): the network of one container, through sockets of the host and without its rights.
//!
//! It gets the container's network namespace as standard input, runs in the container's user namespace, forwards
//! nothing but published ports, and maps no address to the host's loopback. It says on standard output when it is
//! ready: there goes its "pid file".

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::model::port::{Protocol, Published};

/// Where name servers of the host's own loopback are reached from inside: an address that no route leads to, as
/// pasta answers it itself.
pub const NAME_SERVER: &str = "169.254.1.1";
/// Where the host is, if the program knows how to be told (2024-10).
pub const HOST: &str = "169.254.1.2";

/// Where distributions put it; `PATH` is the user's and is not asked.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin"];

/// The program, if it is installed.
pub fn find() -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join("pasta")).find(|path| path.exists())
}

/// What this version of the program knows beyond what the first one knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knows {
    /// `--map-guest-addr`.
    pub host_address: bool,
}

impl Knows {
    /// Going by what `--help` prints.
    pub fn from_help(help: &str) -> Self {
        Self { host_address: help.contains("--map-guest-addr") }
    }
}

/// Has it make an interface with the addresses of the host's, and the routes.
pub const CONFIGURE: &str = "--config-net";

/// Its arguments. Ports without one of the host have been left out.
pub fn arguments(knows: Knows, ports: &[Published]) -> Vec<String> {
    let fixed = [
        "--foreground",
        "--quiet",
        "--netns-only",
        "--netns",
        "/proc/self/fd/0",
        "--pid",
        "/dev/stdout",
        "--no-map-gw",
        "-T",
        "none",
        "-U",
        "none",
    ];
    let mut words: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    if knows.host_address {
        words.extend(["--map-guest-addr".to_owned(), HOST.to_owned()]);
    }
    for (flag, protocol) in [("-t", Protocol::Tcp), ("-u", Protocol::Udp)] {
        let of = ports.iter().filter(|port| port.protocol == protocol).filter_map(forward);
        let before = words.len();
        words.extend(of.flat_map(|word| [flag.to_owned(), word]));
        if words.len() == before {
            words.extend([flag.to_owned(), "none".to_owned()]);
        }
    }
    words
}

fn forward(port: &Published) -> Option<String> {
    let address = port.address.map(|address| format!("{address}/")).unwrap_or_default();
    port.host.map(|host| format!("{address}{host}:{}", port.container))
}

/// What it is told besides, when it is started: where the host's first name server is reached, if that is one of its
/// loopback. Not else: versions before 2024-07 then have all answers of that server come from there, also those to whom
/// it was asked by its own address.
pub fn forwarding(resolv_conf: &str) -> Option<[String; 2]> {
    let first = resolv_conf.lines().find_map(server)?;
    first.is_loopback().then(|| ["--dns-forward".to_owned(), NAME_SERVER.to_owned()])
}

/// The name servers of a container: the host's; those of its loopback by the address that is forwarded, if one is.
pub fn name_servers(resolv_conf: &str) -> String {
    let mut told = forwarding(resolv_conf).is_none();
    let mut text = String::new();
    for line in resolv_conf.lines() {
        if !server(line).is_some_and(|address| address.is_loopback()) {
            text.push_str(line);
            text.push('\n');
        } else if !std::mem::replace(&mut told, true) {
            text.push_str(&format!("nameserver {NAME_SERVER}\n"));
        }
    }
    text
}

/// The name server that a line names.
fn server(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    let server = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
    server.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flags::publish::publish;

    #[test]
    fn nothing_is_forwarded_that_was_not_asked_for() {
        let words = arguments(Knows::default(), &[]).join(" ");
        for part in ["-t none", "-u none", "-T none", "-U none", "--no-map-gw"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(!words.contains("--map-guest-addr"));
        assert!(arguments(Knows { host_address: true }, &[]).join(" ").contains("--map-guest-addr 169.254.1.2"));
    }

    #[test]
    fn ports_are_forwarded_from_where_they_were_asked_for() {
        let ports: Vec<_> = ["8080:80", "127.0.0.1:8081:81", "[::1]:8082:82", "53:54/udp", "99"]
            .into_iter()
            .flat_map(|text| publish(text).expect("ports"))
            .collect();
        let words = arguments(Knows::default(), &ports).join(" ");
        assert!(words.ends_with("-t 8080:80 -t 127.0.0.1/8081:81 -t ::1/8082:82 -u 53:54"), "{words}");
    }

    #[test]
    fn name_servers_of_the_hosts_loopback_are_forwarded_to() {
        for (host, container) in [
            ("nameserver 192.0.2.1\nsearch a b\n", "nameserver 192.0.2.1\nsearch a b\n"),
            ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 169.254.1.1\noptions edns0\n"),
            ("nameserver 127.0.0.1\nnameserver ::1\n", "nameserver 169.254.1.1\n"),
            ("nameserver ::1\nnameserver 192.0.2.1\n", "nameserver 169.254.1.1\nnameserver 192.0.2.1\n"),
            ("nameserver fe80::1%eth0\n", "nameserver fe80::1%eth0\n"),
            // The first can be asked by its own address, and only by that.
            ("nameserver 192.0.2.1\nnameserver 127.0.0.53\n", "nameserver 192.0.2.1\n"),
            ("", ""),
        ] {
            assert_eq!(name_servers(host), container);
            assert_eq!(forwarding(host).is_some(), container.contains(NAME_SERVER), "{host}");
        }
    }
}
