//! Networks of many containers, and the addresses that containers have on them.
//!
//! `networks/NAME` has what is known of the network in `network.json`; it is made beside and renamed, so it is whole or
//! not there. `leases.json` says which container has which address. A lease is as old as the last start of its
//! container; whether it still counts is told by the container's lock, so that nothing has to be given back: not
//! after a crash, and not after a power cut. Both files change under a lock of the directory.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode};
use rustix::io::Errno;

use super::{Durability, Store, StoreError, atomic, cas, lock, trash};
use crate::model::id::ContainerName;
use crate::model::network::{Lease, Network};
use crate::sys::failpoint;

const RECORD: &str = "network.json";
const LEASES: &str = "leases.json";

/// Nobody else makes a network meanwhile.
#[derive(Debug)]
pub struct Making {
    _lock: OwnedFd,
}

impl Store {
    /// All networks, by name. One that cannot be read is not there.
    pub fn networks(&self) -> Vec<Network> {
        let entries = std::fs::read_dir(self.layout.networks()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerName>().ok());
        let mut networks: Vec<Network> = names.filter_map(|name| self.network(&name)).collect();
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        networks
    }

    /// The network `name`.
    pub fn network(&self, name: &ContainerName) -> Option<Network> {
        let text = std::fs::read(self.layout.network(name).join(RECORD)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps others from making networks, so that the subnet that is free now is free afterwards.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make_networks(&self) -> Result<Making, StoreError> {
        let networks = self.layout.networks();
        match rustix::fs::mkdirat(CWD, &networks, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(StoreError::errno("create", &networks)(error)),
        }
        Ok(Making { _lock: lock(&networks)? })
    }

    /// Makes a network; false if one of that name is there already.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create_network(&self, _making: &Making, network: &Network) -> Result<bool, StoreError> {
        let path = self.layout.network(&network.name);
        let made = self.layout.networks().join(format!(".new-{}", network.id.short()));
        rustix::fs::mkdirat(CWD, &made, Mode::RWXU).map_err(StoreError::errno("create", &made))?;
        let text = serde_json::to_vec(network).unwrap_or_default();
        cas::write_marker(&made.join(RECORD), &text, Durability::Durable)?;
        failpoint::reach!("network.made");
        trash::name_or_delete(&made, &path)
    }

    /// Removes a network, unless `is_needed` says that it is: nobody gets an address on it meanwhile.
    ///
    /// # Errors
    /// What `is_needed` or the file system says.
    pub fn remove_network<E: From<StoreError>>(
        &self,
        name: &ContainerName,
        is_needed: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.layout.network(name);
        let _lock = lock(&path)?;
        is_needed()?;
        trash::delete(trash::discard(&self.layout, &path)?.into_iter());
        Ok(())
    }

    /// Who has which address on a network, dead or alive.
    pub fn leases(&self, name: &ContainerName) -> Vec<Lease> {
        let text = std::fs::read(self.layout.network(name).join(LEASES)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Lets `change` decide what a network's leases are from now on; nobody else changes them meanwhile.
    ///
    /// # Errors
    /// What `change` or the file system says.
    pub fn change_leases<T, E: From<StoreError>>(
        &self,
        name: &ContainerName,
        change: impl FnOnce(&mut Vec<Lease>) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.layout.network(name);
        let _lock = lock(&path)?;
        let mut leases = self.leases(name);
        let result = change(&mut leases)?;
        failpoint::reach!("network.leased");
        let text = serde_json::to_vec(&leases).unwrap_or_default();
        atomic::replace(&path.join(LEASES), &text, 0o600, Durability::Throwaway)?;
        Ok(result)
    }
}

/// Locks a directory; one that has become another one meanwhile is not there any more.
fn lock(path: &Path) -> Result<OwnedFd, StoreError> {
    let locked = lock::directory(path, FlockOperation::LockExclusive);
    locked.and_then(|locked| locked.ok_or(Errno::NOENT)).map_err(StoreError::errno("lock", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ContainerId;
    use crate::model::network::Mac;
    use crate::store::Access;

    #[test]
    fn a_network_is_whole_and_has_one_name() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let store = Store::open(&dir.path().join("root"), Access::Write).expect("a store");
        let name: ContainerName = "web".parse().expect("a name");
        let network = Network {
            name: name.clone(),
            id: ContainerId::from_random(&[3; 32]),
            created: 5,
            subnets: Vec::new(),
            internal: true,
            nameless: false,
            labels: [("k".to_owned(), "v".to_owned())].into(),
        };
        assert!(store.networks().is_empty());
        let making = store.make_networks().expect("locked");
        assert!(store.create_network(&making, &network).expect("made"));
        assert!(!store.create_network(&making, &network).expect("looked"));
        assert_eq!(store.networks(), [network]);
        let lease = Lease {
            container: ContainerId::from_random(&[1; 32]),
            addresses: Vec::new(),
            mac: Mac([2; 6]),
            interface: 0,
        };
        let added = store.change_leases(&name, |leases| {
            leases.push(lease.clone());
            Ok::<_, StoreError>(leases.len())
        });
        assert_eq!((added.expect("changed"), store.leases(&name)), (1, vec![lease]));
        let needed = store.remove_network(&name, || Err(StoreError::NoSuchImage("needed".into())));
        assert!(matches!(needed, Err(StoreError::NoSuchImage(_))));
        store.remove_network(&name, || Ok::<_, StoreError>(())).expect("removed");
        assert_eq!((store.network(&name), store.leases(&name)), (None, vec![]));
    }
}
