//! Ports of a container that the host answers for.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A port's protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The address of the host that it is bound to; none for all.
    pub address: Option<IpAddr>,
    /// The port of the host; none until one is chosen.
    pub host: Option<u16>,
    /// The port of the container.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            None => {}
        }
        match self.host {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("a free port")?,
        }
        write!(f, "->{}/{}", self.container, self.protocol)
    }
}
