//! `-p`: ports of the container that the host answers for.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::InvalidFlag;
use crate::model::port::{Protocol, Published};

const SHAPE: &str = "expected [ADDRESS:][HOST:]CONTAINER[/tcp|udp], as in 8080:80, 127.0.0.1:8080:80, [::1]::80, \
                     8000-8010:80-90 or 53:53/udp";

/// Reads `-p`; a range of ports is as many.
///
/// # Errors
/// If it is none of the forms that docker knows, or says 0 or sctp.
pub fn publish(text: &str) -> Result<Vec<Published>, InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--publish", text, reason);
    let (ports, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, "sctp")) => return Err(refuse("sctp cannot be published: pasta knows tcp and udp")),
        Some(_) => return Err(refuse(SHAPE)),
    };
    let (address, ports) = address(ports).ok_or_else(|| refuse(SHAPE))?;
    let (host, container) = match ports.rsplit_once(':') {
        None if address.is_some() => return Err(refuse(SHAPE)),
        None => (None, ports),
        Some(("", container)) => (None, container),
        Some((host, container)) => (Some(host), container),
    };
    let range = |text: &str| range(text).ok_or_else(|| refuse("a port is a number from 1 to 65535"));
    let (host, container) = (host.map(range).transpose()?, range(container)?);
    if host.as_ref().is_some_and(|host| host.clone().count() != container.clone().count()) {
        return Err(refuse("both ranges need the same number of ports"));
    }
    let mut host = host.into_iter().flatten();
    Ok(container.map(|container| Published { address, host: host.next(), container, protocol }).collect())
}

/// The address in front, if there is one, and the rest.
fn address(text: &str) -> Option<(Option<IpAddr>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:")?;
        return Some((Some(IpAddr::V6(address.parse().ok()?)), rest));
    }
    match text.split(':').count() {
        1 | 2 => Some((None, text)),
        3 => {
            let (address, rest) = text.split_once(':')?;
            Some((Some(address.parse().ok()?), rest))
        }
        _ => None,
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let port =
        |text: &str| text.parse().ok().filter(|port| *port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

/// Reads a port of `EXPOSE`: `80`, `53/udp`; none for what cannot be published.
pub fn exposed(text: &str) -> Option<(u16, Protocol)> {
    let published = publish(text).ok()?;
    match published.as_slice() {
        [Published { address: None, host: None, container, protocol }] => Some((*container, *protocol)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_docker() {
        let all = |text: &str| {
            publish(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).ok()
        };
        for (text, expected) in [
            ("80", Some("a free port->80/tcp")),
            ("8080:80", Some("8080->80/tcp")),
            ("53:53/udp", Some("53->53/udp")),
            ("127.0.0.1:8080:80", Some("127.0.0.1:8080->80/tcp")),
            ("127.0.0.1::80", Some("127.0.0.1:a free port->80/tcp")),
            ("[::1]:8080:80", Some("[::1]:8080->80/tcp")),
            ("[::1]::80/udp", Some("[::1]:a free port->80/udp")),
            ("8000-8002:80-82", Some("8000->80/tcp 8001->81/tcp 8002->82/tcp")),
            ("80-81", Some("a free port->80/tcp a free port->81/tcp")),
            ("", None),
            ("0:80", None),
            ("80:0", None),
            ("65536", None),
            ("+80", None),
            ("8000-8002:80", None),
            ("82-80", None),
            ("80/sctp", None),
            ("80/", None),
            ("a:80", None),
            ("1.2.3:80:80", None),
            ("::1:80:80", None),
            ("127.0.0.1:80", None),
            ("[::1]:80", None),
        ] {
            assert_eq!(all(text).as_deref(), expected, "{text}");
        }
        assert_eq!(exposed("80"), Some((80, Protocol::Tcp)));
        assert_eq!(exposed("53/udp"), Some((53, Protocol::Udp)));
        assert_eq!((exposed("80:80"), exposed("1-2"), exposed("x")), (None, None, None));
    }
}
