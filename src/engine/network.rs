//! The network of a container, as far as it is decided before the container is there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use oci_spec::image::ImageConfiguration;
use rustix::thread::SecureComputingMode;

use super::api::{Event, Failure, FailureKind};
use super::{Engine, host, ports};
use crate::model::container::{ContainerRequest, NetworkMode};
use crate::model::flags::publish;
use crate::model::host::HostFacts;
use crate::model::lifecycle::ProcessIdentity;
use crate::model::network::Network;
use crate::model::port::{Protocol, Published};
use crate::monitor::protocol::NetworkProgram;
use crate::network::interface::Interface;
use crate::network::pasta::{self, Knows};
use crate::network::{interface, slirp};
use crate::store::Store;
use crate::store::bundle::BundleFile;

/// The interface of a container on networks that its ports are published through.
const PUBLISHED: &str = "pasta0";

impl Engine {
    /// Settles what the request leaves open: the network, where pasta is not installed and was not asked for by name;
    /// and ports of the host.
    ///
    /// # Errors
    /// If there is no network for what was asked, or no port.
    pub(super) fn settle_network(
        request: &mut ContainerRequest,
        config: &ImageConfiguration,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        if request.publish_all {
            add_exposed(request, config);
        }
        if request.network == NetworkMode::Slirp && slirp::find().is_none() {
            let sentence = "slirp4netns is not installed";
            return Err(Failure::say(FailureKind::Host, sentence).hint(host::install("slirp4netns")));
        }
        // Who has neither named pasta nor needs what only pasta can do is as well served.
        if request.network == NetworkMode::Pasta
            && pasta::find().is_none()
            && slirp::find().is_some()
            && !request.network_named
            && request.ports.is_empty()
        {
            request.network = NetworkMode::Slirp;
        }
        if request.network == NetworkMode::Pasta && pasta::find().is_none() {
            let install = host::install("passt");
            if request.network_named || !request.ports.is_empty() {
                let sentence = "a network of its own needs pasta, which is not installed";
                return Err(Failure::say(FailureKind::Host, sentence).hint(install));
            }
            events(Event::Warning(format!("without pasta the container has no network; to install it: {install}")));
            request.network = NetworkMode::None;
        }
        let publishes = matches!(request.network, NetworkMode::Pasta | NetworkMode::Bridge);
        let is_root = rustix::process::geteuid().is_root();
        if request.network == NetworkMode::Bridge && pasta::find().is_none() && !is_root {
            let install = host::install("passt");
            events(Event::Warning(format!("without pasta the networks lead nowhere else; to install it: {install}")));
        }
        if !request.ports.is_empty() && !publishes {
            let sentence = format!("ports cannot be published with --network {}", request.network.name());
            let hint = match &request.network_of {
                None if request.network == NetworkMode::Slirp => "--network pasta".to_owned(),
                Some(other) => format!("publish them when {other} is run"),
                None => "leave out -p, or --network".to_owned(),
            };
            return Err(Failure::say(FailureKind::Invalid, sentence).hint(hint));
        }
        for port in &mut request.ports {
            if port.host.is_none() {
                port.host = Some(free_port(port)?);
            }
        }
        Ok(())
    }

    /// What connects the network of `request`; `facts` become those of a container in it.
    ///
    /// # Errors
    /// If the program has gone meanwhile.
    pub(super) fn connection(
        store: &Store,
        request: &ContainerRequest,
        networks: &[Network],
        facts: &mut HostFacts,
    ) -> Result<Option<NetworkProgram>, Failure> {
        if request.network == NetworkMode::Slirp {
            let gone = || Failure::say(FailureKind::Host, "slirp4netns is not installed");
            let program = slirp::find().ok_or_else(|| gone().hint(host::install("slirp4netns")))?;
            facts.resolv_conf = slirp::name_servers(&facts.resolv_conf);
            let arguments = slirp::arguments(request.mac);
            return Ok(Some(NetworkProgram {
                program,
                arguments,
                interface: None,
                follows_names: false,
                forwards_names: false,
                publishes: false,
            }));
        }
        let on_networks = request.network == NetworkMode::Bridge;
        let publishes = !request.ports.is_empty();
        if on_networks {
            see_networks(store, networks, facts);
        }
        if request.network != NetworkMode::Pasta && !(on_networks && publishes) {
            return Ok(None);
        }
        if on_networks && networks.iter().all(|network| network.internal) {
            let sentence = "ports cannot be published on networks that are internal";
            return Err(Failure::say(FailureKind::Invalid, sentence).hint("leave out -p".to_owned()));
        }
        let gone = || Failure::say(FailureKind::Host, "pasta is not installed").hint(host::install("passt"));
        let program = pasta::find().ok_or_else(gone)?;
        let knows = knows(store, &program);
        let mut arguments = pasta::arguments(knows, &request.ports);
        let mut interface = if on_networks || !can_be_given() { None } else { Interface::of_host() };
        if let Some(interface) = &mut interface {
            (interface.mac, interface.without) = (request.mac.map(|mac| mac.0), vec![pasta::CONFIGURE.to_owned()]);
            arguments.extend(["--ns-ifname".to_owned(), interface::NAME.to_owned()]);
        } else {
            arguments.push(pasta::CONFIGURE.to_owned());
        }
        if on_networks {
            // Beside its interfaces on the networks: the way out, and the way in to its ports, are pasta's.
            arguments.extend(["--ns-ifname".to_owned(), PUBLISHED.to_owned()]);
        } else {
            facts.resolv_conf = pasta::name_servers(&facts.resolv_conf);
            facts.gateway = knows.host_address.then(|| pasta::HOST.to_owned());
        }
        if !facts.user_namespace {
            // As root it would become nobody, who may not enter the container's network.
            arguments.extend(["--runas".to_owned(), "0".to_owned()]);
        }
        if let Some(mac) = request.mac {
            arguments.extend(["--ns-mac-addr".to_owned(), mac.to_string()]);
        }
        let follows_names =
            !on_networks && request.dns.is_empty() && request.dns_search.is_empty() && request.dns_options.is_empty();
        let forwards_names = !on_networks;
        Ok(Some(NetworkProgram { program, arguments, interface, follows_names, forwards_names, publishes }))
    }
}

impl Engine {
    /// What a container in the network of another one sees: that one's names.
    ///
    /// # Errors
    /// If there is no such container.
    pub(super) fn see_through(
        &self,
        store: &Store,
        request: &ContainerRequest,
        facts: &mut HostFacts,
    ) -> Result<(), Failure> {
        let Some(other) = &request.network_of else { return Ok(()) };
        let other = self.find_container(store, other).map_err(|failure| failure.hint("pybox ps --all".to_owned()))?;
        let bundle = store.open_bundle(&other.id)?;
        let read = |file| std::fs::read_to_string(bundle.file(file)).unwrap_or_default();
        facts.hosts = read(BundleFile::Hosts);
        facts.resolv_conf = read(BundleFile::ResolvConf);
        facts.hostname = read(BundleFile::Hostname).trim().to_owned();
        Ok(())
    }

    /// The first process of the container whose network `request` is to be in.
    ///
    /// # Errors
    /// If it does not run, or has no network of its own.
    pub(super) fn network_of(
        &self,
        store: &Store,
        request: &ContainerRequest,
    ) -> Result<Option<ProcessIdentity>, Failure> {
        let Some(name) = &request.network_of else { return Ok(None) };
        let other = self.find_container(store, name)?;
        if !other.request.network.is_own() {
            let sentence = format!("container {name} has no network of its own");
            let hint = format!(
                "--network {}",
                other.request.network_of.map_or("host".to_owned(), |of| format!("container:{of}"))
            );
            return Err(Failure::say(FailureKind::Conflict, sentence).hint(hint));
        }
        let Some(init) = other.lifecycle.init() else {
            return Err(Failure::say(FailureKind::Conflict, format!("container {name} is not running"))
                .hint(format!("pybox start {name}")));
        };
        Ok(Some(init.clone()))
    }
}

/// Whether a process of ours can be given an interface that is there already (seccomp_unotify(2)): since Linux 5.9, and
/// where no filter is laid on ourselves, of which one may ask somebody else.
fn can_be_given() -> bool {
    host::kernel() >= (5, 9) && rustix::thread::secure_computing_mode() == Ok(SecureComputingMode::Disabled)
}

/// What a container on networks sees of the host: name servers are asked through those of its networks.
pub(super) fn see_networks(store: &Store, networks: &[Network], facts: &mut HostFacts) {
    let outward = networks.iter().find(|network| !network.internal);
    facts.gateway = if facts.user_namespace {
        let told = pasta::find().is_some_and(|program| knows(store, &program).host_address);
        outward.filter(|_| told).map(|_| pasta::HOST.to_owned())
    } else {
        // Root's bridges are the host's.
        outward.and_then(|network| network.gateways().next()).map(|gateway| gateway.to_string())
    };
    let servers: Vec<_> = networks.iter().filter(|network| !network.nameless).flat_map(Network::gateways).collect();
    facts.resolv_conf = pasta::name_servers(&facts.resolv_conf);
    if !servers.is_empty() {
        let asked = servers.iter().map(|server| format!("nameserver {server}\n"));
        let is_server = |line: &&str| line.split_whitespace().next() == Some("nameserver");
        let others = facts.resolv_conf.lines().filter(|line| !is_server(line)).map(|line| format!("{line}\n"));
        facts.resolv_conf = asked.chain(others).collect();
    }
}

/// Publishes what the image exposes and nobody has published.
fn add_exposed(request: &mut ContainerRequest, config: &ImageConfiguration) {
    let exposed = config.config().as_ref().and_then(|config| config.exposed_ports().clone()).unwrap_or_default();
    let mut exposed: Vec<_> = exposed.iter().filter_map(|port| publish::exposed(port)).collect();
    exposed.sort_unstable();
    for (container, protocol) in exposed {
        let known = |port: &Published| (port.container, port.protocol) == (container, protocol);
        if !request.ports.iter().any(known) {
            request.ports.push(Published { address: None, host: None, container, protocol });
        }
    }
}

/// What this version of pasta knows, noted until the program is another one.
pub(super) fn knows(store: &Store, program: &Path) -> Knows {
    let facts = std::fs::metadata(program).map(|facts| (facts.len(), facts.mtime(), facts.ino())).unwrap_or_default();
    let name = format!("pasta-{:x}-{:x}-{:x}", facts.0, facts.1, facts.2);
    if let Some(noted) = store.recall(&name) {
        return Knows { host_address: noted == b"host-address" };
    }
    let mut command = Command::new(program);
    let said = command.arg("--help").env_clear().stdin(Stdio::null()).output();
    let said = said.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let knows = Knows::from_help(&String::from_utf8_lossy(&said));
    // Not noted, it is asked again.
    let _ = store.remember(&name, if knows.host_address { b"host-address" } else { b"" });
    knows
}

/// Binds the host's side of a port for a moment.
fn bind(port: &Published) -> io::Result<u16> {
    let number = port.host.unwrap_or(0);
    let one = |address: IpAddr| {
        let place = SocketAddr::new(address, number);
        let bound = match port.protocol {
            Protocol::Tcp => TcpListener::bind(place).and_then(|socket| socket.local_addr()),
            Protocol::Udp => UdpSocket::bind(place).and_then(|socket| socket.local_addr()),
        };
        bound.map(|place| place.port())
    };
    match port.address {
        Some(address) => one(address),
        // A host without IPv6 has no such address.
        None => match one(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => one(Ipv4Addr::UNSPECIFIED.into()),
            other => other,
        },
    }
}

fn free_port(port: &Published) -> Result<u16, Failure> {
    bind(port).map_err(|error| refused(port, &error))
}

/// Looks whether the ports of the host can be had.
///
/// # Errors
/// With the port, and who has it if that can be seen.
pub(super) fn check_ports(ports: &[Published]) -> Result<(), Failure> {
    ports.iter().try_for_each(|port| bind(port).map(drop).map_err(|error| refused(port, &error)))
}

fn refused(port: &Published, error: &io::Error) -> Failure {
    let say = |why: String| Failure::say(FailureKind::Conflict, format!("publish {port}: {why}"));
    let number = port.host.unwrap_or_default();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = ports::owner(number, port.protocol).map(|owner| format!(" by {owner}")).unwrap_or_default();
            say(format!("the host's port {number}/{} is in use{owner}", port.protocol)).hint(format!(
                "choose another one: -p {}:{}",
                number.saturating_add(1),
                port.container
            ))
        }
        io::ErrorKind::PermissionDenied => say(format!("users may not use the host's port {number}"))
            .hint(format!("sudo sysctl net.ipv4.ip_unprivileged_port_start={number}")),
        io::ErrorKind::AddrNotAvailable => say("the host has no such address".to_owned()).hint("ip address".to_owned()),
        _ => say(error.to_string()),
    }
}
