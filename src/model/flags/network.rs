//! `--network`, and what belongs to it.

use std::net::IpAddr;

use crate::model::container::NetworkMode;
use crate::model::network::{Attachment, Mac};

use super::InvalidFlag;

const FLAG: &str = "--network";

/// What `--network` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// No network of ours, or one that is this container's alone.
    Mode(NetworkMode),
    /// The network of this container.
    Of(String),
    /// A network of many.
    Network(Attachment),
}

/// Reads `none`, `host`, `pasta`, `slirp4netns`, `container:NAME`, or `NAME[:ip=ADDRESS,ip6=ADDRESS,alias=NAME,mac=ADDRESS]`.
///
/// # Errors
/// If it is none of these.
pub fn parse(text: &str) -> Result<Wanted, InvalidFlag> {
    match text {
        "none" => return Ok(Wanted::Mode(NetworkMode::None)),
        "host" => return Ok(Wanted::Mode(NetworkMode::Host)),
        "pasta" => return Ok(Wanted::Mode(NetworkMode::Pasta)),
        "slirp4netns" => return Ok(Wanted::Mode(NetworkMode::Slirp)),
        _ => {}
    }
    let refuse = |why: &str| InvalidFlag::new(FLAG, text, why);
    if let Some(name) = text.strip_prefix("container:") {
        return if name.is_empty() { Err(refuse("expected container:NAME")) } else { Ok(Wanted::Of(name.to_owned())) };
    }
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    let expected = "expected none, host, pasta, container:NAME or the name of a network";
    let network = name.parse().map_err(|_| refuse(expected))?;
    let mut wanted = Attachment { network, addresses: Vec::new(), aliases: Vec::new(), mac: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = "its options are ip=, ip6=, alias= and mac=";
        let (key, value) = option.split_once('=').ok_or_else(|| refuse(known))?;
        match key {
            "ip" => wanted.addresses.push(address(value, false).ok_or_else(|| refuse("ip= is no address of IPv4"))?),
            "ip6" => wanted.addresses.push(address(value, true).ok_or_else(|| refuse("ip6= is no address of IPv6"))?),
            "alias" => wanted.aliases.push(alias(value).ok_or_else(|| refuse("alias= is no name of a host"))?),
            "mac" => wanted.mac = Some(value.parse().map_err(|error: String| refuse(&error))?),
            _ => return Err(refuse(known)),
        }
    }
    Ok(Wanted::Network(wanted))
}

/// Reads `--ip` and `--ip6`.
///
/// # Errors
/// If it is no address of that family.
pub fn ip(flag: &'static str, text: &str) -> Result<IpAddr, InvalidFlag> {
    let of = if flag == "--ip6" { "IPv6" } else { "IPv4" };
    address(text, flag == "--ip6").ok_or_else(|| InvalidFlag::new(flag, text, format!("expected an address of {of}")))
}

/// Reads `--network-alias`.
///
/// # Errors
/// If no host can be called that.
pub fn network_alias(text: &str) -> Result<String, InvalidFlag> {
    alias(text).ok_or_else(|| InvalidFlag::new("--network-alias", text, "expected the name of a host"))
}

/// Reads `--mac-address`.
///
/// # Errors
/// If it is none.
pub fn mac(text: &str) -> Result<Mac, InvalidFlag> {
    text.parse().map_err(|error: String| InvalidFlag::new("--mac-address", text, error))
}

fn address(text: &str, ipv6: bool) -> Option<IpAddr> {
    text.parse().ok().filter(|address: &IpAddr| address.is_ipv6() == ipv6)
}

fn alias(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    (text.len() <= 253 && text.split('.').all(is_label)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_networks_are_told_apart() {
        assert_eq!(parse("host").ok(), Some(Wanted::Mode(NetworkMode::Host)));
        assert_eq!(parse("pasta").ok(), Some(Wanted::Mode(NetworkMode::Pasta)));
        let Ok(Wanted::Network(plain)) = parse("web") else { panic!("no network") };
        assert_eq!((plain.network.as_str(), plain.addresses.len(), plain.mac), ("web", 0, None));
        let Ok(Wanted::Network(all)) =
            parse("web:ip=10.0.0.2,ip6=fd00::2,alias=db,alias=db.local,mac=02:00:00:00:00:01")
        else {
            panic!("no network")
        };
        assert_eq!(all.aliases, ["db", "db.local"]);
        assert_eq!(all.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2", "fd00::2"]);
        assert_eq!(all.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:01"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse("container:db").ok(), Some(Wanted::Of("db".to_owned())));
        assert!(parse("container:").is_err());
        for text in [
            "",
            "-x",
            "web:ip=x",
            "web:ip=fd00::1",
            "web:ip6=10.0.0.1",
            "web:alias=-a",
            "web:mac=1",
            "web:x=1",
            "web:ip",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(ip("--ip", "fd00::1").is_err() && ip("--ip6", "fd00::1").is_ok());
        assert!(network_alias("a b").is_err() && network_alias(&"a".repeat(64)).is_err());
        assert!(mac("02:00").is_err());
    }
}
