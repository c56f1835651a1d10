//! The interface of a container that pasta connects: made and set up by the container's first process, so that it need
//! not wait for pasta. Packets wait at the interface's other end until somebody forwards them.

use std::ffi::CString;
use std::net::IpAddr;

use pybox_netns_helper::links::Links;
use pybox_netns_helper::uplink::{Settings, Uplink, Way};
use serde::{Deserialize, Serialize};

/// What containers call it.
pub const NAME: &str = "eth0";
/// Its index. Low numbers may be those of tunnels that the kernel makes in each namespace by itself.
pub const INDEX: u32 = 100;
/// The largest packet, as pasta has it: what does not leave the machine need not be cut small.
const MTU: u32 = 65520;

/// Such an interface: it has the host's addresses, as pasta would give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The hardware address, if it is not to be one by chance.
    pub mac: Option<[u8; 6]>,
    /// Its addresses, each with the length of its subnet's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The next machine on the way out, for each kind of address that has one; none on a line with one other end.
    pub ipv4: Option<Option<IpAddr>>,
    /// The same of IPv6.
    pub ipv6: Option<Option<IpAddr>>,
    /// Arguments that the program needs if it has to make the interface by itself after all.
    pub without: Vec<String>,
}

impl Interface {
    /// One as the host is connected now; none if it is not.
    pub fn of_host() -> Option<Self> {
        // Who cannot be asked has no network that one could know of.
        let uplink = Links::open().and_then(|mut links| links.uplink()).ok()?;
        let way = |v6| uplink.ways.iter().find(|way| way.v6 == v6).map(|way| way.gateway);
        let (ipv4, ipv6) = (way(false), way(true));
        (ipv4.is_some() || ipv6.is_some()).then(|| Self { addresses: uplink.addresses, ipv4, ipv6, ..Self::default() })
    }

    /// Its name, index, and what is asked of the kernel about it; of that the first so many must not be refused.
    pub fn steps(&self) -> (CString, u32, Vec<Vec<u8>>, usize) {
        let way = |v6, gateway| Way { v6, gateway };
        let ways = self.ipv4.map(|gateway| way(false, gateway)).into_iter();
        let ways = ways.chain(self.ipv6.map(|gateway| way(true, gateway))).collect();
        let uplink = Uplink { addresses: self.addresses.clone(), ways };
        let settings = Settings { index: INDEX, mtu: MTU, mac: self.mac, uplink: &uplink };
        (CString::new(NAME).unwrap_or_default(), INDEX, settings.requests(), settings.required())
    }
}
