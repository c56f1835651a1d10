//! `pybox ps`.

use serde_json::{Value, json};

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{ContainerFilter, ContainerScope, ContainerSummary, ListContainers};
use crate::model::flags::label;
use crate::model::lifecycle::Lifecycle;
use crate::model::supervision::Health;

/// List containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Shows running containers, unless --all or a filter by state says otherwise. With --format json, \
    every line is one JSON object. Fields of a template: .ID .Names .Image .Command .CreatedAt .RunningFor .Status \
    .State .Ports .Labels .Mounts .LocalVolumes .Networks .Size, and .Label \"KEY\"\n\nExamples:\n  \
    pybox ps --all\n  \
    pybox ps --all --quiet --filter status=exited\n  \
    pybox ps --format 'table {{.Names}}\\t{{.Status}}'"
)]
pub(crate) struct Args {
    /// Show all containers, not only running ones
    #[arg(short, long)]
    all: bool,

    /// Only containers with id=, name=, status=, health=, label=KEY[=VALUE], ancestor=IMAGE, exited=CODE, volume=,
    /// network=, before=CONTAINER or since=CONTAINER
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Print table, json, or a template as in '{{.ID}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show the last N containers, in any state
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,

    /// Show the last container, in any state
    #[arg(short, long)]
    latest: bool,

    /// Show ids and commands in full
    #[arg(long)]
    no_trunc: bool,

    /// Show ids only
    #[arg(short, long)]
    quiet: bool,

    /// Show what each takes on the disk
    #[arg(short, long)]
    size: bool,
}

/// What can be named in a template, and the title above it.
const TITLES: [(&str, &str); 15] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Label", ""),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Size", "SIZE"),
];

/// How many characters of a command or a mount's source are shown.
const SHOWN: usize = 20;

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let filters = self.filters.iter().map(|text| filter(text)).collect::<Result<_, _>>()?;
        let containers = session.call(ListContainers { scope: self.scope(), filters, sizes: self.measures() })?;
        if self.quiet {
            for container in &containers {
                writeln!(session.output(), "{}", self.id(container))?;
            }
            return Ok(DONE);
        }
        let now = human::now();
        let rows = containers.iter().map(|container| self.row(container, now)).collect();
        let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
        columns.extend(self.size.then_some("Size"));
        Listing { titles: &TITLES, columns, rows }.write(&format, session.output())?;
        Ok(DONE)
    }

    /// Measuring takes its time, so it is done where it is asked for: by the flag, or in a template.
    fn measures(&self) -> bool {
        self.size || self.format.as_ref().is_some_and(|format| format.contains(".Size"))
    }

    fn scope(&self) -> ContainerScope {
        let last = self.last.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        match (self.latest, last) {
            (true, _) => ContainerScope::Last(1),
            (false, Some(count)) => ContainerScope::Last(count),
            // Docker: -n with a number below one shows all that are asked for otherwise.
            (false, None) if self.all => ContainerScope::All,
            (false, None) => ContainerScope::Running,
        }
    }

    fn id<'c>(&self, container: &'c ContainerSummary) -> &'c str {
        if self.no_trunc { container.id.as_str() } else { container.id.short() }
    }

    fn row(&self, container: &ContainerSummary, now: i64) -> Value {
        let cut = |text: &str| if self.no_trunc { text.to_owned() } else { human::ellipsis(text, SHOWN) };
        let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> = container.mounts.iter().map(|mount| cut(mount)).collect();
        let volumes = container.mounts.iter().filter(|mount| !mount.starts_with('/')).count();
        json!({
            "ID": self.id(container),
            "Image": container.image,
            "Command": format!("{:?}", cut(&container.command.join(" "))),
            "CreatedAt": human::date(Some(container.created)),
            "RunningFor": human::ago(Some(container.created), now),
            "Status": status(container, now),
            "State": container.lifecycle.word(),
            "Ports": "",
            "Names": container.name,
            "Labels": labels.join(","),
            "Label": container.labels,
            "Mounts": mounts.join(","),
            "LocalVolumes": volumes.to_string(),
            "Networks": container.networks.join(","),
            "Size": container.size.map_or_else(String::new, |size| {
                format!("{} (virtual {})", human::size(size), human::size(size.saturating_add(container.image_size)))
            }),
        })
    }
}

/// The state in docker's words.
pub(super) fn status(container: &ContainerSummary, now: i64) -> String {
    let health = match container.health {
        None => "",
        Some(Health::Starting) => " (health: starting)",
        Some(Health::Healthy) => " (healthy)",
        Some(Health::Unhealthy) => " (unhealthy)",
    };
    match &container.lifecycle {
        Lifecycle::Created => "Created".to_owned(),
        Lifecycle::Running { since, .. } => format!("Up {}{health}", human::duration(now - since)),
        Lifecycle::Paused { since, .. } => format!("Up {}{health} (Paused)", human::duration(now - since)),
        Lifecycle::Restarting { exit_code, at, .. } => {
            format!("Restarting ({exit_code}) {}", human::ago(Some(*at), now))
        }
        Lifecycle::Stopped { exit_code, at, .. } => format!("Exited ({exit_code}) {}", human::ago(Some(*at), now)),
    }
}

fn filter(text: &str) -> Result<ContainerFilter, Problem> {
    let refuse = |expected: &str| {
        Err(Problem::user(format!("invalid value {text:?} for --filter: expected {expected}")).hint("pybox ps --help"))
    };
    let Some((key, value)) = text.split_once('=').filter(|(_, value)| !value.is_empty()) else {
        return refuse("KEY=VALUE, as in status=exited");
    };
    let owned = value.to_owned();
    match key {
        "id" => Ok(ContainerFilter::Id(owned)),
        "name" => Ok(ContainerFilter::Name(owned)),
        "status" if ["created", "running", "paused", "restarting", "exited"].contains(&value) => {
            Ok(ContainerFilter::Status(owned))
        }
        "status" => refuse("status= with created, running, paused, restarting or exited"),
        "label" => {
            let (key, value) = label::condition(value);
            Ok(ContainerFilter::Label { key, value })
        }
        "ancestor" => Ok(ContainerFilter::Ancestor(owned)),
        "exited" => value.parse().map(ContainerFilter::Exited).or_else(|_| refuse("exited= with a number")),
        "health" if ["starting", "healthy", "unhealthy", "none"].contains(&value) => Ok(ContainerFilter::Health(owned)),
        "health" => refuse("health= with starting, healthy, unhealthy or none"),
        "volume" => Ok(ContainerFilter::Volume(owned)),
        "network" => Ok(ContainerFilter::Network(owned)),
        "before" => Ok(ContainerFilter::Before(owned)),
        "since" => Ok(ContainerFilter::Since(owned)),
        _ => refuse(
            "id=, name=, status=, health=, label=, ancestor=, exited=, volume=, network=, \
             before= or since=",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(lifecycle: Lifecycle) -> ContainerSummary {
        ContainerSummary {
            id: crate::model::id::ContainerId::from_random(&[0xcd; 32]),
            name: "web".parse().expect("name"),
            image: "debian:12".into(),
            image_id: crate::model::digest::Digest::sha256(&[1; 32]),
            command: vec!["sh".into(), "-c".into(), "echo \"hello world\"".into()],
            created: 0,
            lifecycle,
            labels: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            mounts: vec!["data".into(), "/a/rather/long/path/of/the/host".into()],
            targets: vec![],
            networks: vec!["none".into()],
            health: None,
            size: None,
            image_size: 0,
        }
    }

    #[test]
    fn states_read_as_dockers() {
        let process = || crate::model::lifecycle::ProcessIdentity { pid: 1, started_ticks: 0, boot_id: String::new() };
        let hour = 3_600_000;
        let running = || Lifecycle::Running { init: process(), monitor: process(), since: hour };
        for (lifecycle, health, shown) in [
            (Lifecycle::Created, None, "Created"),
            (running(), None, "Up 2 hours"),
            (running(), Some(Health::Starting), "Up 2 hours (health: starting)"),
            (running(), Some(Health::Healthy), "Up 2 hours (healthy)"),
            (running(), Some(Health::Unhealthy), "Up 2 hours (unhealthy)"),
            (Lifecycle::Paused { init: process(), monitor: process(), since: hour }, None, "Up 2 hours (Paused)"),
            (
                Lifecycle::Stopped { exit_code: 137, at: 2 * hour, reason: None, by_user: false },
                None,
                "Exited (137) About an hour ago",
            ),
        ] {
            assert_eq!(status(&ContainerSummary { health, ..container(lifecycle) }, 3 * hour), shown);
        }
    }

    #[test]
    fn rows_are_dockers() {
        let args = |no_trunc| Args {
            all: false,
            filters: vec![],
            format: None,
            last: None,
            latest: false,
            no_trunc,
            quiet: false,
            size: false,
        };
        let container = ContainerSummary { size: Some(1_234), image_size: 1_000_000, ..container(Lifecycle::Created) };
        let row = args(false).row(&container, 60_000);
        for (field, shown) in [
            ("ID", "cdcdcdcdcdcd"),
            ("Command", "\"sh -c echo \\\"hello w…\""),
            ("RunningFor", "About a minute ago"),
            ("Status", "Created"),
            ("State", "created"),
            ("Names", "web"),
            ("Labels", "a=1,b=2"),
            ("Mounts", "data,/a/rather/long/path…"),
            ("LocalVolumes", "1"),
            ("Networks", "none"),
            ("Size", "1.23kB (virtual 1MB)"),
        ] {
            assert_eq!(row.get(field).and_then(Value::as_str), Some(shown), "{field}");
        }
        assert!(TITLES.iter().all(|(field, _)| row.get(field).is_some()));
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(TITLES.len()));
        let full = args(true).row(&container, 0);
        assert_eq!(full.get("ID").and_then(Value::as_str).map(str::len), Some(64));
        assert_eq!(full.get("Command"), Some(&Value::from("\"sh -c echo \\\"hello world\\\"\"")));
    }

    #[test]
    fn filters_are_read() {
        let read = |text: &str| filter(text).map_err(|problem| problem.to_string());
        assert_eq!(read("name=web"), Ok(ContainerFilter::Name("web".into())));
        assert_eq!(read("label=a=b"), Ok(ContainerFilter::Label { key: "a".into(), value: Some("b".into()) }));
        assert_eq!(read("label=a"), Ok(ContainerFilter::Label { key: "a".into(), value: None }));
        assert_eq!(read("exited=137"), Ok(ContainerFilter::Exited(137)));
        for bad in ["", "name", "name=", "status=dead", "exited=x", "colour=red"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
