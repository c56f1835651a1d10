//! `network connect` and `disconnect`: a container changes its networks, running or not.

use super::api::{
    ConnectNetwork, DisconnectNetwork, Event, Failure, FailureKind, NetworkConnected, NetworkDisconnected,
};
use super::containers::{keep_copy, order_monitor};
use super::networks::find_network;
use super::{Engine, host};
use crate::model::container::NetworkMode;
use crate::model::event::Kind;
use crate::model::id::ContainerName;
use crate::monitor::protocol::Control;
use crate::spec::files;
use crate::store::bundle::BundleFile;
use crate::store::containers::Container;
use crate::store::{Access, Durability, Store};

impl Engine {
    pub(super) fn connect_network(
        &self,
        connect: &ConnectNetwork,
        events: &mut dyn FnMut(Event),
    ) -> Result<NetworkConnected, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.on_networks(&store, &connect.container)?;
        let network = find_network(&store, connect.attachment.network.as_str())?.name;
        if container.request.attachments.iter().any(|one| one.network == network) {
            let sentence = format!("container {} is on network {network} already", container.name);
            return Err(Failure::say(FailureKind::Conflict, sentence).hint(format!("pybox network inspect {network}")));
        }
        let attachment = crate::model::network::Attachment { network: network.clone(), ..connect.attachment.clone() };
        let mut request = container.request.clone();
        request.attachments.push(attachment.clone());
        // What it cannot have is said before anything changes.
        self.find_networks(&store, &request)?;
        let changed = store.change_request(&container.id, Durability::Durable, |request| {
            request.attachments.push(attachment);
        })?;
        let settled = self.settle(&store, &container, changed, events);
        if settled.is_err() {
            self.restore(&store, &container, events)?;
        }
        settled?;
        self.told_of(&network, "connect", &container);
        Ok(NetworkConnected {})
    }

    pub(super) fn disconnect_network(
        &self,
        disconnect: &DisconnectNetwork,
        events: &mut dyn FnMut(Event),
    ) -> Result<NetworkDisconnected, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.on_networks(&store, &disconnect.container)?;
        let network = find_network(&store, &disconnect.network)?.name;
        if container.request.attachments.iter().all(|one| one.network != network) {
            let sentence = format!("container {} is not on network {network}", container.name);
            let hint = format!("pybox inspect --format '{{{{json .NetworkSettings}}}}' {}", container.name);
            return Err(Failure::say(FailureKind::Conflict, sentence).hint(hint));
        }
        let changed = store.change_request(&container.id, Durability::Durable, |request| {
            request.attachments.retain(|one| one.network != network);
        })?;
        if let Err(failure) = self.settle(&store, &container, changed, events) {
            self.restore(&store, &container, events)?;
            return Err(failure);
        }
        store.change_leases(&network, |leases| {
            leases.retain(|lease| lease.container != container.id);
            Ok::<_, Failure>(())
        })?;
        self.told_of(&network, "disconnect", &container);
        Ok(NetworkDisconnected {})
    }

    /// The container, if it may be on networks of many.
    fn on_networks(&self, store: &Store, name: &str) -> Result<Container, Failure> {
        let container = self.find_container(store, name)?;
        if container.request.network == NetworkMode::Bridge {
            return Ok(container);
        }
        let mode = container.request.network.name();
        let sentence = format!("container {} has the network {mode}, which goes with no other", container.name);
        let hint = "create it with --network NAME, one of `pybox network ls`".to_owned();
        Err(Failure::say(FailureKind::Conflict, sentence).hint(hint))
    }

    /// Has a container that runs be where its row says, and its name servers be those of its networks.
    fn settle(
        &self,
        store: &Store,
        before: &Container,
        changed: Container,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        keep_copy(store, &changed, events);
        let changed = Container { lifecycle: before.lifecycle.clone(), ..changed };
        if changed.lifecycle.is_alive() {
            let membership = self.membership(store, &changed)?;
            let plugs = membership.map(|membership| membership.plugs).unwrap_or_default();
            order_monitor(store, &changed, &Control::Networks { plugs })?;
        }
        self.name_servers(store, &changed)
    }

    /// Notes again that it is on the networks that it was on.
    fn restore(&self, store: &Store, container: &Container, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let attachments = container.request.attachments.clone();
        let restored = store.change_request(&container.id, Durability::Durable, |request| {
            request.attachments = attachments;
        })?;
        keep_copy(store, &restored, events);
        Ok(())
    }

    /// Writes `resolv.conf` anew, in its place: the container sees the same file.
    pub(super) fn name_servers(&self, store: &Store, container: &Container) -> Result<(), Failure> {
        let networks = self.find_networks(store, &container.request)?;
        let mut facts = host::facts(&container.request)?;
        super::network::see_networks(store, &networks, &mut facts);
        let text = files::resolv_conf(&container.request, &facts);
        let path = store.open_bundle(&container.id)?.file(BundleFile::ResolvConf);
        std::fs::write(&path, text)
            .map_err(|error| Failure::say(FailureKind::Store, format!("write {}: {error}", path.display())))
    }

    fn told_of(&self, network: &ContainerName, action: &str, container: &Container) {
        self.tell(Kind::Network, action, network.as_str(), [("container", container.id.to_string())]);
    }
}
