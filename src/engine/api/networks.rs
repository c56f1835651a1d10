//! Networks of many containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::id::ContainerName;
use crate::model::network::{Attachment, Lease, Network, Subnet};

/// Makes a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateNetwork {
    /// Its name; one is made up if none.
    pub name: Option<ContainerName>,
    /// Its subnets, one of IPv4 and one of IPv6 at most; one of IPv4 that is free if none.
    pub subnets: Vec<Subnet>,
    /// Addresses of its gateways; the first ones of its subnets if none.
    pub gateways: Vec<IpAddr>,
    /// Whether it has a subnet of IPv6, too.
    pub ipv6: bool,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Whether there is no name server on it.
    pub nameless: bool,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
    /// Whether one of that name that is there is as good.
    pub ignore: bool,
}

/// The network is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCreated {
    /// Its name.
    pub name: String,
}

/// Lists networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListNetworks {}

/// A network in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// What is known of it.
    pub network: Network,
    /// The containers that are to be on it, running or not, by name.
    pub containers: Vec<String>,
    /// What those have that run, with their names.
    pub leases: Vec<(String, Lease)>,
}

/// Removes a network that no container is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNetwork {
    /// Its name, or the beginning of its identifier.
    pub name: String,
    /// Whether the containers on it are removed, too.
    pub force: bool,
}

/// The network is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRemoved {}

/// Puts a container on one more network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectNetwork {
    /// A name, an id or a prefix of one.
    pub container: String,
    /// The network, and what it is to have there.
    pub attachment: Attachment,
}

/// Takes a container off a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisconnectNetwork {
    /// A name, an id or a prefix of one.
    pub container: String,
    /// The network's name, or the beginning of its identifier.
    pub network: String,
}

/// It is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConnected {}

/// It is not on it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDisconnected {}
