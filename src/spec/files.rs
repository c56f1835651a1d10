//! The texts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use crate::model::container::{ContainerRequest, NetworkMode};
use crate::model::host::HostFacts;
use crate::model::id::ContainerId;

use super::error::SpecError;

/// Most bytes that are taken over from a file of the host.
const MOST_BYTES: usize = 1 << 20;

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// The name of a container's host: `--hostname`, else the host's own with the
/// host's network, else the short id.
pub fn hostname_of(request: &ContainerRequest, host: &HostFacts, id: &ContainerId) -> String {
    match (&request.hostname, &request.network) {
        (Some(name), _) => name.clone(),
        (None, NetworkMode::Host | NetworkMode::Container) if !host.hostname.is_empty() => {
            host.hostname.chars().take(64).collect()
        }
        (None, _) => id.short().into(),
    }
}

/// `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// `/etc/hosts`: loopback and the container's own name, or the host's file where
/// the network is the host's; then `--add-host`.
///
/// # Errors
/// If `--add-host` asks for `host-gateway` without a network that has one.
pub fn hosts(request: &ContainerRequest, host: &HostFacts, name: &str) -> Result<String, SpecError> {
    let mut text = match request.network {
        NetworkMode::Host | NetworkMode::Container => lines_of(&host.hosts),
        NetworkMode::None | NetworkMode::Pasta | NetworkMode::Slirp | NetworkMode::Bridge => LOOPBACK.into(),
    };
    // Not 127.0.0.1, which reverse lookups have to answer with "localhost".
    if request.network.is_own() || !names_in(&text, name) {
        text.push_str(&format!("127.0.1.1\t{name}\n"));
    }
    for (alias, address) in &request.add_hosts {
        let address = match (address.as_str(), &request.network) {
            ("host-gateway", NetworkMode::Host) => "127.0.0.1",
            ("host-gateway", _) => match &host.gateway {
                Some(gateway) => gateway,
                None => return Err(SpecError::NoGateway { alias: alias.clone() }),
            },
            (address, _) => address,
        };
        text.push_str(&format!("{address}\t{alias}\n"));
    }
    if let Some(gateway) = &host.gateway {
        text.push_str(&format!("{gateway}\thost.containers.internal host.docker.internal\n"));
    }
    Ok(text)
}

/// `/etc/resolv.conf`: the host's; `--dns`, `--dns-search` and `--dns-option` each take the place of the lines that
/// they are about, and leave the others.
pub fn resolv_conf(request: &ContainerRequest, host: &HostFacts) -> String {
    let servers = request.dns.iter().map(|address| format!("nameserver {address}\n")).collect::<String>();
    let domains: Vec<&str> = request.dns_search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    let search = if domains.is_empty() { String::new() } else { format!("search {}\n", domains.join(" ")) };
    let options = format!("options {}\n", request.dns_options.join(" "));
    let mut text = String::new();
    let mut replaced = Vec::new();
    for (asked, words, line) in [
        (!request.dns.is_empty(), &["nameserver"][..], servers),
        (!request.dns_search.is_empty(), &["search", "domain"], search),
        (!request.dns_options.is_empty(), &["options"], options),
    ] {
        if asked {
            replaced.extend(words);
            text.push_str(&line);
        }
    }
    let host = lines_of(&host.resolv_conf);
    let stays = |line: &&str| line.split_whitespace().next().is_none_or(|word| !replaced.contains(&word));
    text.extend(host.lines().filter(stays).map(|line| format!("{line}\n")));
    text
}

fn names_in(hosts: &str, name: &str) -> bool {
    hosts.lines().any(|line| {
        let entry = line.split('#').next().unwrap_or_default();
        entry.split_whitespace().skip(1).any(|word| word == name)
    })
}

/// Whole lines of a host's file, within the limit, with a line feed at the end.
fn lines_of(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        if kept.len() + line.len() >= MOST_BYTES {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fixtures;

    #[test]
    fn hosts_of_a_container_of_its_own() {
        let request = ContainerRequest {
            add_hosts: vec![("db".into(), "10.0.0.2".into()), ("six".into(), "fd00::1".into())],
            ..ContainerRequest::default()
        };
        let text = hosts(&request, &fixtures::host(), "web");
        let expected = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tweb\n\
                        10.0.0.2\tdb\nfd00::1\tsix\n";
        assert_eq!(text.as_deref(), Ok(expected));
    }

    #[test]
    fn hosts_of_the_host() {
        let host = HostFacts { hosts: "127.0.0.1 localhost\n10.1.1.1 big # note other".into(), ..fixtures::host() };
        let mut request = ContainerRequest { network: NetworkMode::Host, ..ContainerRequest::default() };
        let same = "127.0.0.1 localhost\n10.1.1.1 big # note other\n";
        assert_eq!(hosts(&request, &host, "big").as_deref(), Ok(same));
        assert_eq!(hosts(&request, &host, "other"), Ok(format!("{same}127.0.1.1\tother\n")));
        request.add_hosts = vec![("up".into(), "host-gateway".into())];
        assert_eq!(hosts(&request, &host, "big"), Ok(format!("{same}127.0.0.1\tup\n")));
        request.network = NetworkMode::None;
        assert!(matches!(hosts(&request, &host, "big"), Err(SpecError::NoGateway { .. })));
    }

    #[test]
    fn resolv_conf_takes_dns() {
        let host = HostFacts {
            resolv_conf: "# made\nnameserver 10.0.0.1\nsearch lan\n nameserver 10.0.0.3\noptions edns0".into(),
            ..fixtures::host()
        };
        let mut request = ContainerRequest::default();
        assert_eq!(resolv_conf(&request, &host), format!("{}\n", host.resolv_conf));
        request.dns = vec!["9.9.9.9".parse().unwrap(), "::1".parse().unwrap()];
        let expected = "nameserver 9.9.9.9\nnameserver ::1\n# made\nsearch lan\noptions edns0\n";
        assert_eq!(resolv_conf(&request, &host), expected);
        request.dns_search = vec!["a.example".into(), "b.example".into()];
        request.dns_options = vec!["ndots:2".into()];
        let expected = "nameserver 9.9.9.9\nnameserver ::1\nsearch a.example b.example\noptions ndots:2\n# made\n";
        assert_eq!(resolv_conf(&request, &host), expected);
        let none = ContainerRequest { dns_search: vec![".".into()], ..ContainerRequest::default() };
        assert!(!resolv_conf(&none, &host).contains("search"));
        assert_eq!(resolv_conf(&ContainerRequest::default(), &HostFacts { resolv_conf: String::new(), ..host }), "");
    }

    #[test]
    fn names_of_hosts() {
        let id = fixtures::id();
        let mut request = ContainerRequest::default();
        assert_eq!(hostname_of(&request, &fixtures::host(), &id), id.short());
        request.network = NetworkMode::Host;
        assert_eq!(hostname_of(&request, &fixtures::host(), &id), "machine");
        request.hostname = Some("web".into());
        assert_eq!(hostname_of(&request, &fixtures::host(), &id), "web");
        assert_eq!(hostname("web"), "web\n");
    }
}
