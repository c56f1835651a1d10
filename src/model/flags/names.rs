//! Names and addresses: `--hostname`, `--add-host`, `--dns`.

use std::net::IpAddr;

use super::InvalidFlag;

/// Checks a host name: up to 64 characters, labels of letters, digits, `-` and `_`
/// with dots between them; the kernel takes no more than 64 (uname(2)).
///
/// # Errors
/// If it is not such a name.
pub fn hostname(text: &str) -> Result<String, InvalidFlag> {
    if text.len() <= 64 && is_hostname(text) {
        return Ok(text.into());
    }
    Err(InvalidFlag::new(
        "--hostname",
        text,
        "expected at most 64 letters, digits, '-' and '.', starting and ending with a letter or digit",
    ))
}

fn is_hostname(text: &str) -> bool {
    text.split('.').all(|label| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
        inner && label.len() <= 63 && edge(label.bytes().next()) && edge(label.bytes().last())
    })
}

/// Reads `name:address` or `name=address`; the address may be `host-gateway`, and an
/// IPv6 one may stand in brackets.
///
/// # Errors
/// If either part is not valid.
pub fn add_host(text: &str) -> Result<(String, String), InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--add-host", text, reason);
    let (name, address) =
        text.split_once(['=', ':']).ok_or_else(|| refuse("expected name:address, as in db:10.0.0.2"))?;
    if name.len() > 253 || !is_hostname(name) {
        return Err(refuse("the name is no host name"));
    }
    if address == "host-gateway" {
        return Ok((name.into(), address.into()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = bare.parse().map_err(|_| refuse("the address is no IP address, nor host-gateway"))?;
    Ok((name.into(), address.to_string()))
}

/// Reads the address of a name server.
///
/// # Errors
/// If it is no IP address.
pub fn dns(text: &str) -> Result<IpAddr, InvalidFlag> {
    text.parse().map_err(|_| InvalidFlag::new("--dns", text, "expected an IP address, as in 10.0.0.1"))
}

/// Reads a domain of `--dns-search`; a dot stands for none.
///
/// # Errors
/// If it is no domain.
pub fn dns_search(text: &str) -> Result<String, InvalidFlag> {
    let domain = text.strip_suffix('.').unwrap_or(text);
    if text == "." || (domain.len() <= 253 && is_hostname(domain)) {
        return Ok(text.into());
    }
    Err(InvalidFlag::new("--dns-search", text, "expected a domain, as in example.org, or a dot for none"))
}

/// Reads an option of resolv.conf(5).
///
/// # Errors
/// If it is more than a word.
pub fn dns_option(text: &str) -> Result<String, InvalidFlag> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        return Ok(text.into());
    }
    Err(InvalidFlag::new("--dns-option", text, "expected a word, as in ndots:2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resolv_conf_takes() {
        for (domain, taken) in [
            ("example.org", true),
            ("lan", true),
            ("org.", true),
            (".", true),
            ("", false),
            ("a b", false),
            ("-", false),
        ] {
            assert_eq!(dns_search(domain).is_ok(), taken, "{domain:?}");
        }
        for (option, taken) in [("ndots:2", true), ("edns0", true), ("", false), ("a b", false), ("x\ny", false)] {
            assert_eq!(dns_option(option).is_ok(), taken, "{option:?}");
        }
    }
}
