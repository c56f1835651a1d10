//! Names to addresses, and which addresses may be spoken to.
//!
//! The answer of the resolver is judged at the moment of the connect and used
//! for exactly that connect, so a name server that answers differently the
//! second time (DNS rebinding) gains nothing. Names are resolved here and not
//! by `getaddrinfo(3)`: a static glibc program has no NSS modules to do it with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;

/// Which addresses may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The user named the host: any address.
    Any,
    /// A loopback registry named the host: loopback and everything public or private.
    WithLoopback,
    /// Another registry named the host: not this machine, nothing link-local.
    Outside,
}

/// An address that is not spoken to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{host} has the address {address}, which is {class}")]
pub struct RefusedAddress {
    host: String,
    address: IpAddr,
    class: &'static str,
}

/// A name without address.
#[derive(Debug, thiserror::Error)]
#[error("the name {host} has no address: {why}")]
struct Unresolved {
    host: String,
    why: String,
}

impl Reach {
    /// Whether `address` of `host` may be spoken to.
    ///
    /// # Errors
    /// [`RefusedAddress`] with the class of the address.
    pub fn check(self, host: &str, address: IpAddr) -> Result<(), RefusedAddress> {
        let class = match (self, class(address)) {
            (Self::Any, _) | (_, Class::Ordinary) | (Self::WithLoopback, Class::Loopback) => return Ok(()),
            (Self::Outside, Class::Loopback) => "a loopback address",
            (_, Class::Special(name)) => name,
        };
        Err(RefusedAddress { host: host.to_owned(), address, class })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Ordinary,
    Loopback,
    Special(&'static str),
}

/// Sorts an address. IPv4 addresses inside of IPv6 ones are looked at as what
/// the kernel or a NAT64 gateway makes of them.
fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => class_v4(v4),
            None => class_v6(v6),
        },
    }
}

fn class_v4(v4: Ipv4Addr) -> Class {
    match v4.octets() {
        [127, ..] => Class::Loopback,
        [0, ..] => Class::Special("unspecified"),
        [169, 254, ..] => Class::Special("link-local (where clouds keep their metadata)"),
        // The metadata services of Alibaba Cloud and Oracle Cloud.
        [100, 100, 100, 200] | [192, 0, 0, 192] => Class::Special("a metadata service"),
        [224..=255, ..] => Class::Special("multicast or reserved"),
        _ => Class::Ordinary,
    }
}

fn class_v6(v6: Ipv6Addr) -> Class {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Special("unspecified"),
        [0xfe80..=0xfebf, ..] => Class::Special("link-local"),
        [0xff00..=0xffff, ..] => Class::Special("multicast"),
        // The metadata services of Amazon and Google over IPv6.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] => Class::Special("a metadata service"),
        _ => Class::Ordinary,
    }
}

/// The IPv4 address in a mapped, compatible, NAT64 or 6to4 address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// Whether `host`, a name or an address as it stands in a URL, is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    match literal(host) {
        Some(address) => class(address) == Class::Loopback,
        None => is_localhost(host),
    }
}

/// The address that `host` is, where it is one; IPv6 with or without brackets.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// `localhost` and all below it are loopback by definition (RFC 6761), whatever a name server says.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// The resolver that connections use: /etc/hosts and the name servers of
/// /etc/resolv.conf, made when the first name has to be resolved.
#[derive(Clone, Debug)]
pub struct Names {
    resolver: Arc<OnceCell<TokioResolver>>,
    reach: Reach,
    /// Hosts that the user named, wherever they are: proxies.
    named: Arc<[String]>,
}

impl Names {
    /// A resolver that nothing has asked yet and that answers with any address.
    /// With those of the hosts `named` it always will.
    pub fn new(named: Vec<String>) -> Self {
        Self { resolver: Arc::new(OnceCell::new()), reach: Reach::Any, named: named.into() }
    }

    /// The same resolver, answering only with addresses within `reach`.
    #[must_use]
    pub fn within(&self, reach: Reach) -> Self {
        Self { reach, ..self.clone() }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found: Vec<IpAddr> = if is_localhost(host) {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            let make = || async { TokioResolver::builder_tokio()?.build() };
            let lookup = async { self.resolver.get_or_try_init(make).await?.lookup_ip(host).await };
            let why = |error: NetError| match error.is_no_records_found() {
                true => "no name server knows it".to_owned(),
                false => error.to_string(),
            };
            let found = lookup.await.map_err(|error| Unresolved { host: host.to_owned(), why: why(error) })?;
            found.iter().collect()
        };
        // One bad address spoils the name: who mixes them is trying something.
        let reach = if self.named.iter().any(|named| named == host) { Reach::Any } else { self.reach };
        for address in &found {
            reach.check(host, *address)?;
        }
        Ok(found)
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_a_registry_may_not_send_us_to() {
        for (text, outside, with_loopback) in [
            ("10.1.2.3", true, true),
            ("192.168.0.1", true, true),
            ("203.0.113.7", true, true),
            ("2001:db8::1", true, true),
            ("fd12:3456::1", true, true),
            ("127.0.0.1", false, true),
            ("127.8.8.8", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("169.254.169.254", false, false),
            ("169.254.1.1", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("2002:a9fe:a9fe::1", false, false),
            ("::169.254.169.254", false, false),
            ("100.100.100.200", false, false),
            ("fd00:ec2::254", false, false),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("::", false, false),
            ("fe80::1", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("ff02::1", false, false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Reach::Outside.check("h", address).is_ok(), outside, "{text}");
            assert_eq!(Reach::WithLoopback.check("h", address).is_ok(), with_loopback, "{text}");
            assert!(Reach::Any.check("h", address).is_ok());
        }
    }

    #[test]
    fn this_machine_by_name_and_number() {
        for (host, loopback) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("a.localhost", true),
            ("localhost.", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost.example.com", false),
            ("notlocalhost", false),
            ("128.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_loopback_host(host), loopback, "{host}");
        }
    }

    #[tokio::test]
    async fn localhost_asks_no_name_server() {
        let names = Names::new(Vec::new()).within(Reach::WithLoopback);
        assert_eq!(names.addresses("localhost").await.unwrap().len(), 2);
        let refused = names.within(Reach::Outside).addresses("localhost").await.expect_err("loopback");
        assert!(refused.downcast_ref::<RefusedAddress>().is_some(), "{refused}");
        let proxy = Names::new(vec!["localhost".into()]).within(Reach::Outside);
        assert!(proxy.addresses("localhost").await.is_ok());
    }
}
