//! `pybox network create`, `ls`, `inspect`, `rm`, `prune`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DONE, SHOW_CONTAINERS, for_each, prune, show};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{
    ConnectNetwork, CreateNetwork, DisconnectNetwork, ListNetworks, NetworkSummary, RemoveNetwork,
};
use crate::model::flags::{label, network as flags};
use crate::model::id::InvalidId;
use crate::model::network::{Attachment, InvalidSubnet};

/// The command that shows which networks there are.
const SHOW_NETWORKS: &str = "pybox network ls";

/// Make and remove networks of many containers
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Network {
    Create(Create),
    #[command(visible_alias = "list")]
    Ls(Ls),
    Inspect(Inspect),
    #[command(visible_alias = "remove")]
    Rm(Rm),
    Prune(prune::Networks),
    Connect(Connect),
    Disconnect(Disconnect),
}

/// Make a network
#[derive(Debug, clap::Args)]
#[command(after_help = "Containers on it reach each other by name. Prints its name.\n\nExamples:\n  \
    pybox network create web\n  \
    pybox run -d --network web --name db db:1\n  \
    pybox run --rm --network web busybox ping -c 1 db")]
pub(crate) struct Create {
    /// Its name; one is made up if none is given
    name: Option<String>,

    /// Its addresses, as in 10.87.7.0/24; one that is free if none is given
    #[arg(long, visible_alias = "cidr", value_name = "SUBNET")]
    subnet: Vec<String>,

    /// The address that leads out of it
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,

    /// Give it addresses of IPv6, too
    #[arg(long)]
    ipv6: bool,

    /// Let nothing out of it, and nothing in
    #[arg(long)]
    internal: bool,

    /// Have no name server on it
    #[arg(long)]
    disable_dns: bool,

    /// Set a label
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,

    /// One of that name that is there already is as good
    #[arg(long)]
    ignore: bool,

    /// Kind of network: bridge is the only one
    #[arg(short, long, value_name = "KIND", default_value = "bridge", hide = true)]
    driver: String,
}

/// List networks
#[derive(Debug, clap::Args)]
#[command(after_help = "Fields of a template: .ID .Name .Driver .Subnets .Internal .Labels .CreatedAt .Scope")]
pub(crate) struct Ls {
    /// Only networks with name=, label=KEY[=VALUE], driver=, id=, dangling=true|false
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Print table, json, or a template as in '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show whole identifiers
    #[arg(long)]
    no_trunc: bool,

    /// Show names only
    #[arg(short, long)]
    quiet: bool,
}

/// Show all that is known of networks
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Names
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,

    /// Print json, or a template as in '{{.Internal}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Remove networks that no container is on
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Names
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,

    /// Remove the containers on them first; a missing network is no failure
    #[arg(short, long)]
    force: bool,
}

/// Put a container on one more network
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pybox network connect --alias db back web")]
pub(crate) struct Connect {
    /// The network
    network: String,

    /// The container: its name, or its id or the beginning of it
    container: String,

    /// Let it have this address there
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,

    /// Let it have this address of IPv6 there
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,

    /// Let others there call it this, too
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,

    /// Let it have this hardware address there
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<String>,
}

/// Take a container off a network
#[derive(Debug, clap::Args)]
pub(crate) struct Disconnect {
    /// The network
    network: String,

    /// The container: its name, or its id or the beginning of it
    container: String,

    /// As docker has it; there is nothing to force
    #[arg(short, long, hide = true)]
    force: bool,
}

impl Connect {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let refuse = |sentence: String| Problem::user(sentence).hint("pybox network connect --help");
        let addresses = [("--ip", &self.ip), ("--ip6", &self.ip6)].into_iter();
        let addresses = addresses.filter_map(|(flag, text)| Some(flags::ip(flag, text.as_deref()?)));
        let addresses = addresses.collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))?;
        let aliases = self.alias.iter().map(|text| flags::network_alias(text)).collect::<Result<_, _>>();
        let mac = self.mac_address.as_deref().map(flags::mac).transpose();
        let attachment = Attachment {
            network: self.network.parse().map_err(|error: InvalidId| refuse(error.to_string()))?,
            addresses,
            aliases: aliases.map_err(|error| refuse(error.to_string()))?,
            mac: mac.map_err(|error| refuse(error.to_string()))?,
        };
        session
            .call(ConnectNetwork { container: self.container, attachment })
            .map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}

impl Disconnect {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let _ = self.force;
        session
            .call(DisconnectNetwork { container: self.container, network: self.network })
            .map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}

impl Network {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Create(args) => args.execute(session),
            Self::Ls(args) => args.execute(session),
            Self::Inspect(args) => args.execute(session),
            Self::Rm(args) => args.execute(session),
            Self::Prune(args) => args.execute(session),
            Self::Connect(args) => args.execute(session),
            Self::Disconnect(args) => args.execute(session),
        }
    }
}

impl Create {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let help = "pybox network create --help";
        let refuse = |sentence: String| Problem::user(sentence).hint(help);
        if self.driver != "bridge" {
            return Err(refuse(format!("there are no networks of the kind {:?}", self.driver)));
        }
        let name = self.name.as_deref().map(str::parse).transpose();
        let name = name.map_err(|error: InvalidId| refuse(error.to_string()))?;
        let subnets = self.subnet.iter().map(|text| text.parse());
        let subnets =
            subnets.collect::<Result<Vec<_>, _>>().map_err(|error: InvalidSubnet| refuse(error.to_string()))?;
        let gateway = |text: &String| {
            text.parse().map_err(|_| refuse(format!("invalid value {text:?} for --gateway: expected an address")))
        };
        let gateways = self.gateway.iter().map(gateway).collect::<Result<Vec<_>, _>>()?;
        let labels = label::parse_all(&self.labels).map_err(|error| refuse(error.to_string()))?;
        let made = session.call(CreateNetwork {
            name,
            subnets,
            gateways,
            ipv6: self.ipv6,
            internal: self.internal,
            nameless: self.disable_dns,
            labels,
            ignore: self.ignore,
        })?;
        writeln!(session.output(), "{}", made.name)?;
        Ok(DONE)
    }
}

const TITLES: [(&str, &str); 8] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Subnets", "SUBNETS"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
    ("Scope", "SCOPE"),
];

impl Ls {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let filters = self.filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let networks = session.call(ListNetworks {})?;
        let networks = networks.into_iter().filter(|network| filters.iter().all(|filter| filter.accepts(network)));
        if self.quiet {
            for summary in networks {
                writeln!(session.output(), "{}", summary.network.name)?;
            }
            return Ok(DONE);
        }
        let rows = networks.map(|summary| row(&summary, self.no_trunc)).collect();
        let columns = vec!["ID", "Name", "Driver", "Subnets"];
        Listing { titles: &TITLES, columns, rows }.write(&format, session.output())?;
        Ok(DONE)
    }
}

fn row(NetworkSummary { network, .. }: &NetworkSummary, whole: bool) -> Value {
    let labels: Vec<_> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let subnets: Vec<_> = network.subnets.iter().map(|range| range.subnet.to_string()).collect();
    json!({
        "ID": if whole { network.id.as_str() } else { network.id.short() },
        "Name": network.name,
        "Driver": "bridge",
        "Subnets": subnets.join(", "),
        "Internal": network.internal.to_string(),
        "Labels": labels.join(","),
        "CreatedAt": human::date(Some(network.created)),
        "Scope": "local",
    })
}

impl Inspect {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let networks = session.call(ListNetworks {})?;
        let mut documents = Vec::new();
        let outcome = for_each(&self.names, session, |name, _| {
            let named = |summary: &&NetworkSummary| {
                let network = &summary.network;
                network.name.as_str() == name || name.len() >= 3 && network.id.as_str().starts_with(name)
            };
            let missing = || Problem::user(format!("no such network: {name}")).hint(SHOW_NETWORKS);
            documents.push(document(networks.iter().find(named).ok_or_else(missing)?));
            Ok(())
        });
        show(documents, &format, session)?;
        outcome
    }
}

/// Docker's document.
fn document(NetworkSummary { network, leases, .. }: &NetworkSummary) -> Value {
    let of = |range: &crate::model::network::Range| json!({ "Subnet": range.subnet.to_string(), "Gateway": range.gateway.to_string() });
    let containers: BTreeMap<_, _> = leases
        .iter()
        .map(|(name, lease)| {
            let address = |ipv6| {
                let has = lease.addresses.iter().find(|address| address.is_ipv6() == ipv6);
                let subnet = has.and_then(|has| network.subnets.iter().find(|range| range.subnet.contains(*has)));
                has.zip(subnet).map(|(has, range)| format!("{has}/{}", range.subnet.prefix())).unwrap_or_default()
            };
            let of = json!({
                "Name": name,
                "MacAddress": lease.mac.to_string(),
                "IPv4Address": address(false),
                "IPv6Address": address(true),
            });
            (lease.container.to_string(), of)
        })
        .collect();
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": human::rfc3339(network.created),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": network.subnets.iter().any(|range| range.subnet.is_ipv6()),
        "IPAM": { "Driver": "default", "Config": network.subnets.iter().map(of).collect::<Vec<_>>() },
        "Internal": network.internal,
        "DNSEnabled": !network.nameless,
        "Containers": containers,
        "Options": {},
        "Labels": network.labels,
    })
}

impl Rm {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let force = self.force;
        for_each(&self.names, session, |name, session| {
            let done = session.call(RemoveNetwork { name: name.to_owned(), force });
            let done =
                Problem::forgive_missing(done, force).map_err(|problem| problem.hint_if_missing(SHOW_NETWORKS))?;
            if done.is_some() {
                writeln!(session.output(), "{name}")?;
            }
            Ok(())
        })
    }
}

/// A condition on a network.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Name(String),
    Id(String),
    Label(String, Option<String>),
    Driver(String),
    Dangling(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Problem> {
        let refuse = || {
            let expected = "name=, id=, driver=, label=KEY[=VALUE] or dangling=true|false";
            let sentence = format!("invalid value {text:?} for --filter: expected {expected}");
            Problem::user(sentence).hint("pybox network ls --help")
        };
        let (key, value) = text.split_once('=').ok_or_else(refuse)?;
        match key {
            "name" => Ok(Self::Name(value.to_owned())),
            "id" => Ok(Self::Id(value.to_owned())),
            "driver" => Ok(Self::Driver(value.to_owned())),
            "label" => {
                let (key, value) = label::condition(value);
                Ok(Self::Label(key, value))
            }
            "dangling" => value.parse().map(Self::Dangling).map_err(|_| refuse()),
            _ => Err(refuse()),
        }
    }

    fn accepts(&self, NetworkSummary { network, containers, .. }: &NetworkSummary) -> bool {
        match self {
            Self::Name(part) => network.name.as_str().contains(part.as_str()),
            Self::Id(part) => network.id.as_str().starts_with(part.as_str()),
            Self::Driver(name) => name == "bridge",
            Self::Label(key, value) => {
                network.labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
            }
            Self::Dangling(wanted) => containers.is_empty() == *wanted,
        }
    }
}
