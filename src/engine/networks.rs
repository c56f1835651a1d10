//! Networks of many: made, listed, removed; and the places of containers on them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::api::{
    CreateNetwork, Failure, FailureKind, ListNetworks, NetworkCreated, NetworkRemoved, NetworkSummary, RemoveContainer,
    RemoveNetwork,
};
use super::containers::{has_owner, new_id};
use super::{Engine, host};
use crate::model::container::{ContainerRequest, UserNamespace};
use crate::model::digest::Digest;
use crate::model::event::Kind;
use crate::model::host::IdMap;
use crate::model::id::{ContainerId, ContainerName, InvalidId};
use crate::model::network::{self, Attachment, Lease, Mac, Network, Range, Subnet};
use crate::monitor::record;
use crate::network::pasta;
use crate::network::segment::{Ids, Keeper, Membership, Plug, Segment};
use crate::store::containers::Container;
use crate::store::{Access, Store};
use crate::sys::idmap::Helpers;

/// The network that is made when a container is put on it.
const BY_DEFAULT: &str = "bridge";
/// Words of `--network` that name none.
const RESERVED: [&str; 6] = ["none", "host", "pasta", "container", "slirp4netns", "default"];
/// Names of files of the keeper, beside the networks.
const FILES: [&str; 3] = ["keeper", "keeper.lock", "keeper.json"];

impl Engine {
    pub(super) fn create_network(&self, create: &CreateNetwork) -> Result<NetworkCreated, Failure> {
        let store = self.store(Access::Write)?;
        let (id, name) = match &create.name {
            Some(name) => (new_id()?, name.clone()),
            None => {
                let id = new_id()?;
                let name = id.short().parse().map_err(|error: InvalidId| Failure::new(FailureKind::Invalid, &error))?;
                (id, name)
            }
        };
        if RESERVED.contains(&name.as_str()) {
            let sentence = format!("no network can be called {name}: --network {name} means something else");
            return Err(Failure::say(FailureKind::Invalid, sentence).hint("pybox network create my-network".to_owned()));
        }
        if FILES.contains(&name.as_str()) {
            let sentence = format!("no network can be called {name}: it is the name of a file beside the networks");
            return Err(Failure::say(FailureKind::Invalid, sentence).hint("pybox network create my-network".to_owned()));
        }
        let making = store.make_networks()?;
        if let Some(there) = store.network(&name) {
            if create.ignore {
                return Ok(NetworkCreated { name: there.name.to_string() });
            }
            return Err(Failure::say(FailureKind::Conflict, format!("network {name} is there already"))
                .hint(format!("pybox network inspect {name}")));
        }
        let others: Vec<Subnet> =
            store.networks().iter().flat_map(|other| subnets(other).collect::<Vec<_>>()).collect();
        let subnets = chosen(create, &id, &others)?;
        let network = Network {
            name: name.clone(),
            id,
            created: record::now(),
            subnets,
            internal: create.internal,
            nameless: create.nameless,
            labels: create.labels.clone(),
        };
        if !store.create_network(&making, &network)? {
            let sentence = format!("network {name} cannot be made: what is in its place is no network");
            return Err(Failure::say(FailureKind::Conflict, sentence).hint("pybox check".to_owned()));
        }
        self.tell(Kind::Network, "create", name.as_str(), [("driver", "bridge".to_owned())]);
        Ok(NetworkCreated { name: name.to_string() })
    }

    pub(super) fn list_networks(&self, _: &ListNetworks) -> Result<Vec<NetworkSummary>, Failure> {
        let store = self.store(Access::Read)?;
        let rows = store.list_containers()?;
        let summary = |network: Network| {
            let on = |row: &&Container| row.request.attachments.iter().any(|one| one.network == network.name);
            let containers = rows.iter().filter(on).map(|row| row.name.to_string()).collect();
            let named = |lease: Lease| {
                let row = rows.iter().find(|row| row.id == lease.container)?;
                has_owner(&store, &row.id).then(|| (row.name.to_string(), lease))
            };
            let leases = store.leases(&network.name).into_iter().filter_map(named).collect();
            NetworkSummary { network, containers, leases }
        };
        Ok(store.networks().into_iter().map(summary).collect())
    }

    pub(super) fn remove_network(&self, remove: &RemoveNetwork) -> Result<NetworkRemoved, Failure> {
        let store = self.store(Access::Write)?;
        let network = find_network(&store, &remove.name)?;
        let users = |store: &Store| -> Result<Vec<ContainerName>, Failure> {
            let rows = store.list_containers()?.into_iter();
            let on = rows.filter(|row| row.request.attachments.iter().any(|one| one.network == network.name));
            Ok(on.map(|row| row.name).collect())
        };
        if remove.force {
            for name in users(&store)? {
                self.remove_container(&RemoveContainer { name: name.to_string(), force: true, volumes: false })?;
            }
        }
        store.remove_network(&network.name, || match users(&store)?.first() {
            None => Ok(()),
            Some(user) => Err(Failure::say(
                FailureKind::Conflict,
                format!("network {} is in use by container {user}", network.name),
            )
            .hint(format!("pybox rm {user}, or: pybox network rm -f {}", network.name))),
        })?;
        self.tell(Kind::Network, "destroy", network.name.as_str(), [("driver", "bridge".to_owned())]);
        Ok(NetworkRemoved {})
    }

    /// Removes the networks that no container is on; returns their names.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn prune_networks(&self, takes: impl Fn(&Network) -> bool) -> Result<Vec<String>, Failure> {
        let mut gone = Vec::new();
        for NetworkSummary { network, containers, .. } in self.list_networks(&ListNetworks {})? {
            let name = network.name.to_string();
            if containers.is_empty()
                && takes(&network)
                && self.remove_network(&RemoveNetwork { name: name.clone(), force: false }).is_ok()
            {
                gone.push(name);
            }
        }
        Ok(gone)
    }

    /// Sees to it that the networks of a new container are there.
    ///
    /// # Errors
    /// With the one that is not, or an address that it does not have.
    pub(super) fn find_networks(&self, store: &Store, request: &ContainerRequest) -> Result<Vec<Network>, Failure> {
        let found = |attachment: &Attachment| {
            let name = &attachment.network;
            if name.as_str() == BY_DEFAULT && store.network(name).is_none() {
                let default = CreateNetwork { name: Some(name.clone()), ignore: true, ..CreateNetwork::default() };
                self.create_network(&default)?;
            }
            let network = store.network(name).ok_or_else(|| missing(name.as_str()))?;
            let stray = |address: &&IpAddr| !subnets(&network).any(|subnet| subnet.is_of_one(**address));
            match attachment.addresses.iter().find(stray) {
                Some(stray) => {
                    Err(Failure::say(FailureKind::Invalid, format!("network {name} has no address {stray}"))
                        .hint(format!("pybox network inspect {name}")))
                }
                None => Ok(network),
            }
        };
        request.attachments.iter().map(found).collect()
    }

    /// The container's places on its networks, with addresses that are its own for as long as its bundle is locked.
    ///
    /// # Errors
    /// If a network is gone, or has no address left.
    pub(super) fn membership(&self, store: &Store, container: &Container) -> Result<Option<Membership>, Failure> {
        let attachments = &container.request.attachments;
        if attachments.is_empty() {
            return Ok(None);
        }
        let networks = self.find_networks(store, &container.request)?;
        let mut plugs = Vec::new();
        // Where ports are published, what publishes them leads out, too.
        let mut leads_out = container.request.ports.is_empty();
        // An interface that is there keeps its name.
        let held = |network: &Network| {
            let leases = store.leases(&network.name).into_iter();
            let own = leases.filter(|lease| lease.container == container.id);
            own.map(|lease| lease.interface).next().filter(|_| container.lifecycle.is_alive())
        };
        let held: Vec<Option<u8>> = networks.iter().map(held).collect();
        let mut taken: Vec<u8> = held.iter().copied().flatten().collect();
        for ((attachment, network), held) in attachments.iter().zip(&networks).zip(held) {
            let number = held.or_else(|| (0..=u8::MAX).find(|number| !taken.contains(number))).unwrap_or(0);
            taken.push(number);
            for old in store.leases(&network.name) {
                if old.container != container.id && !has_owner(store, &old.container) {
                    // Its monitor may be gone and its processes not: whoever looks ends them.
                    let _ = self.find_container(store, old.container.as_str());
                }
            }
            let lease = lease(store, network, attachment, (&container.id, number))?;
            let prefix =
                |address: IpAddr| subnets(network).find(|subnet| subnet.contains(address)).map_or(0, Subnet::prefix);
            let mut names = vec![container.name.to_string()];
            names.extend(attachment.aliases.iter().cloned());
            names.push(container.id.short().to_owned());
            plugs.push(Plug {
                segment: segment(network),
                interface: format!("eth{number}"),
                outside: format!("pv{}{number}", container.id.short().get(..10).unwrap_or_default()),
                mac: lease.mac.0,
                addresses: lease.addresses.iter().map(|address| (*address, prefix(*address))).collect(),
                // The first that leads anywhere.
                leads_out: !network.internal && std::mem::take(&mut leads_out),
                names,
            });
        }
        Ok(Some(Membership { plugs, keeper: self.keeper(store)? }))
    }

    fn keeper(&self, store: &Store) -> Result<Keeper, Failure> {
        let map = host::id_map(&UserNamespace::Default)?;
        let ids = map.map(|map| Ids {
            uids: IdMap::lines(&map.uids),
            gids: IdMap::lines(&map.gids),
            helpers: Helpers::find().filter(|_| !map.is_of_one()),
        });
        // Root's networks are the host's own, and lead out as the host does.
        let uplink = pasta::find().filter(|_| ids.is_some());
        let uplink = uplink.map(|program| {
            let mut arguments = pasta::arguments(super::network::knows(store, &program), &[]);
            arguments.push(pasta::CONFIGURE.to_owned());
            (program, arguments)
        });
        let place = store.layout().networks();
        let digest = Digest::of(place.as_os_str().as_encoded_bytes());
        let table = format!("pybox-{}", digest.hex().get(..12).unwrap_or_default());
        Ok(Keeper { place, program: self.settings.program.clone(), ids, table, uplink })
    }
}

/// The network with this name, or with an identifier that begins so.
///
/// # Errors
/// [`FailureKind::NotFound`].
pub(super) fn find_network(store: &Store, text: &str) -> Result<Network, Failure> {
    if let Some(network) = text.parse().ok().and_then(|name: ContainerName| store.network(&name)) {
        return Ok(network);
    }
    let mut begins = store.networks().into_iter().filter(|network| network.id.as_str().starts_with(text));
    match (begins.next(), begins.next()) {
        (Some(network), None) if text.len() >= 3 => Ok(network),
        _ => Err(missing(text)),
    }
}

fn missing(name: &str) -> Failure {
    Failure::say(FailureKind::NotFound, format!("no such network: {name}"))
        .hint(format!("pybox network ls, or: pybox network create {name}"))
}

fn subnets(network: &Network) -> impl Iterator<Item = Subnet> {
    network.subnets.iter().map(|range| range.subnet)
}

fn segment(network: &Network) -> Segment {
    let gateways = network.subnets.iter().map(|range| (range.gateway, range.subnet.prefix())).collect();
    Segment {
        name: network.name.to_string(),
        bridge: network.bridge(),
        gateways,
        internal: network.internal,
        nameless: network.nameless,
    }
}

/// The subnets of a new network, each with its gateway.
fn chosen(create: &CreateNetwork, id: &ContainerId, others: &[Subnet]) -> Result<Vec<Range>, Failure> {
    let of_host = host::subnets();
    let taken: Vec<Subnet> = others.iter().chain(&of_host).copied().collect();
    let refuse = |sentence: String, hint: &str| Failure::say(FailureKind::Conflict, sentence).hint(hint.to_owned());
    for wanted in &create.subnets {
        let owner = if others.iter().any(|other| other.meets(*wanted)) { "another network" } else { "the host" };
        if taken.iter().any(|taken| taken.meets(*wanted)) {
            let hint = "leave out --subnet, or choose one that `ip route` does not show";
            return Err(refuse(format!("subnet {wanted} has addresses that {owner} uses"), hint));
        }
    }
    for (number, one) in create.subnets.iter().enumerate() {
        if create.subnets.iter().skip(number + 1).any(|other| other.is_ipv6() == one.is_ipv6()) {
            let sentence = "a network has one subnet of IPv4 and one of IPv6 at most".to_owned();
            return Err(refuse(sentence, "pybox network create --help"));
        }
    }
    let mut subnets = create.subnets.clone();
    if !subnets.iter().any(|subnet| !subnet.is_ipv6()) {
        let none = || refuse("no subnet of 10.87.0.0/16 is free".to_owned(), "choose one: --subnet 192.168.77.0/24");
        subnets.insert(0, network::free_subnet(&taken).ok_or_else(none)?);
    }
    if create.ipv6 && !subnets.iter().any(|subnet| subnet.is_ipv6()) {
        subnets.push(network::unique_subnet(id));
    }
    subnets.sort_by_key(|subnet| subnet.is_ipv6());
    if let Some(stray) = create.gateways.iter().find(|one| !subnets.iter().any(|subnet| subnet.is_of_one(**one))) {
        return Err(refuse(
            format!("gateway {stray} is in none of the network's subnets"),
            "pybox network create --help",
        ));
    }
    let range = |subnet: &Subnet| {
        let given = create.gateways.iter().find(|address| subnet.contains(**address)).copied();
        let gateway = given.or_else(|| subnet.address(1));
        gateway.map(|gateway| Range { subnet: *subnet, gateway })
    };
    Ok(subnets.iter().filter_map(range).collect())
}

/// What the container has on the network from now on.
fn lease(
    store: &Store,
    network: &Network,
    wanted: &Attachment,
    (id, interface): (&ContainerId, u8),
) -> Result<Lease, Failure> {
    store.change_leases(&network.name, |leases| {
        let before = leases.iter().find(|lease| lease.container == *id).cloned();
        // Whose bundle nobody holds does not run, whatever happened to it.
        leases.retain(|lease| lease.container != *id && has_owner(store, &lease.container));
        let leased: Vec<IpAddr> = leases.iter().flat_map(|lease| lease.addresses.iter().copied()).collect();
        let before = before.map(|lease| lease.addresses).unwrap_or_default();
        let addresses = network::addresses(network, &wanted.addresses, &before, &leased);
        let refuse = |sentence| {
            Failure::say(FailureKind::Conflict, sentence).hint(format!("pybox network inspect {}", network.name))
        };
        let addresses = addresses.map_err(refuse)?;
        let mac = wanted.mac.or_else(|| addresses.first().map(|address| Mac::of(*address, &network.id)));
        let mac = mac.ok_or_else(|| refuse(format!("network {} has no address to give", network.name)))?;
        let lease = Lease { container: id.clone(), addresses, mac, interface };
        leases.push(lease.clone());
        Ok::<_, Failure>(lease)
    })
}

impl Engine {
    /// What a container that runs has on its networks, by their names.
    pub(super) fn leases_of(&self, store: &Store, container: &Container) -> BTreeMap<String, (Network, Option<Lease>)> {
        let of = |attachment: &Attachment| {
            let network = store.network(&attachment.network)?;
            let lease = store.leases(&network.name).into_iter().find(|lease| lease.container == container.id);
            let lease = lease.filter(|_| container.lifecycle.is_alive());
            Some((network.name.to_string(), (network, lease)))
        };
        container.request.attachments.iter().filter_map(of).collect()
    }
}
