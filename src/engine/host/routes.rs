//! Which addresses lead somewhere from here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::network::Subnet;

/// Subnets that the host has routes to, the default route aside.
pub fn subnets() -> Vec<Subnet> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let mut subnets = ipv4(&read("/proc/net/route"));
    subnets.extend(ipv6(&read("/proc/net/ipv6_route")));
    subnets
}

/// Out of the table of fib_trie.c: destination and mask as numbers in the machine's order of bytes.
fn ipv4(table: &str) -> Vec<Subnet> {
    let of = |line: &str| {
        let mut fields = line.split_whitespace();
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let destination = number(fields.nth(1)?)?;
        let mask = number(fields.nth(5)?)?;
        let address = Ipv4Addr::from(destination.to_ne_bytes());
        let prefix = u8::try_from(u32::from_be_bytes(mask.to_ne_bytes()).leading_ones()).ok()?;
        (prefix > 0).then(|| Subnet::of(IpAddr::V4(address), prefix))
    };
    table.lines().skip(1).filter_map(of).collect()
}

/// Out of the table of net/ipv6/route.c: 32 digits and the length of the prefix.
fn ipv6(table: &str) -> Vec<Subnet> {
    let of = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
        let prefix = u8::from_str_radix(fields.next()?, 16).ok()?;
        let counts =
            prefix > 0 && !address.is_loopback() && !address.is_multicast() && !address.is_unicast_link_local();
        counts.then(|| Subnet::of(IpAddr::V6(address), prefix))
    };
    table.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(ipv4(text).iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.2.0/24"]);
        let text = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 0 0 0 0 eth0\n\
                    00000000000000000000000000000000 00 00000000000000000000000000000000 00 0 0 0 0 lo\n\
                    fe800000000000000000000000000000 40 00000000000000000000000000000000 00 0 0 0 0 eth0\n";
        assert_eq!(ipv6(text).iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd00::/64"]);
    }
}
