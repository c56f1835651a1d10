//! `pybox volume create`, `ls`, `inspect`, `rm`, `prune`.

use serde_json::{Value, json};

use super::{DONE, for_each, prune, show};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, Listing};
use crate::cli::session::Session;
use crate::engine::api::{CreateVolume, ListVolumes, RemoveVolume, VolumeSummary};
use crate::model::flags::label;
use crate::model::id::InvalidId;

/// The command that shows which volumes there are.
const SHOW_VOLUMES: &str = "pybox volume ls";

/// Make and remove volumes
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Volume {
    Create(Create),
    #[command(visible_alias = "list")]
    Ls(Ls),
    Inspect(Inspect),
    #[command(visible_alias = "remove")]
    Rm(Rm),
    Prune(prune::Volumes),
}

/// Make a volume
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints its name. One that is there already stays as it is.\n\nExamples:\n  \
    pybox volume create data\n  \
    pybox run -v data:/var/lib/data web:1")]
pub(crate) struct Create {
    /// Its name; one is made up if none is given
    name: Option<String>,

    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,

    /// Kind of volume: local is the only one
    #[arg(short, long, value_name = "KIND", default_value = "local", hide = true)]
    driver: String,
}

/// List volumes
#[derive(Debug, clap::Args)]
#[command(after_help = "Fields of a template: .Name .Driver .Mountpoint .Labels .CreatedAt .Scope\n\nExamples:\n  \
    pybox volume ls --filter dangling=true --quiet")]
pub(crate) struct Ls {
    /// Only volumes with name=, label=KEY[=VALUE], dangling=true|false, anonymous=true|false
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Print table, json, or a template as in '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Show names only
    #[arg(short, long)]
    quiet: bool,
}

/// Show all that is known of volumes
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,

    /// Print json, or a template as in '{{.Mountpoint}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Remove volumes that no container mounts
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,

    /// A missing volume is no failure
    #[arg(short, long)]
    force: bool,
}

impl Volume {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Create(args) => args.execute(session),
            Self::Ls(args) => args.execute(session),
            Self::Inspect(args) => args.execute(session),
            Self::Rm(args) => args.execute(session),
            Self::Prune(args) => args.execute(session),
        }
    }
}

impl Create {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let help = "pybox volume create --help";
        if self.driver != "local" {
            let sentence = format!("there are no volumes of the kind {:?}", self.driver);
            return Err(Problem::user(sentence).hint("pybox volume create --driver local"));
        }
        let name = self.name.as_deref().map(str::parse).transpose();
        let name = name.map_err(|error: InvalidId| Problem::user(error.to_string()).hint(help))?;
        let labels = label::parse_all(&self.labels).map_err(|error| Problem::user(error.to_string()).hint(help))?;
        let made = session.call(CreateVolume { name, labels })?;
        writeln!(session.output(), "{}", made.name)?;
        Ok(DONE)
    }
}

const TITLES: [(&str, &str); 7] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
    ("Scope", "SCOPE"),
    ("Links", "LINKS"),
];

impl Ls {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let filters = self.filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let volumes = session.call(ListVolumes {})?;
        let volumes = volumes.into_iter().filter(|volume| filters.iter().all(|filter| filter.accepts(volume)));
        if self.quiet {
            for volume in volumes {
                writeln!(session.output(), "{}", volume.name)?;
            }
            return Ok(DONE);
        }
        let rows = volumes.map(|volume| row(&volume)).collect();
        Listing { titles: &TITLES, columns: vec!["Driver", "Name"], rows }.write(&format, session.output())?;
        Ok(DONE)
    }
}

fn row(volume: &VolumeSummary) -> Value {
    let labels: Vec<_> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": "local",
        "Name": volume.name,
        "Mountpoint": volume.mountpoint,
        "Labels": labels.join(","),
        "CreatedAt": human::date(Some(volume.created)),
        "Scope": "local",
        "Links": volume.containers.len().to_string(),
    })
}

impl Inspect {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let volumes = session.call(ListVolumes {})?;
        let mut documents = Vec::new();
        let outcome = for_each(&self.names, session, |name, _| {
            let volume = volumes.iter().find(|volume| volume.name == name);
            let missing = || Problem::user(format!("no such volume: {name}")).hint(SHOW_VOLUMES);
            documents.push(document(volume.ok_or_else(missing)?));
            Ok(())
        });
        show(documents, &format, session)?;
        outcome
    }
}

/// Docker's document.
fn document(volume: &VolumeSummary) -> Value {
    json!({
        "CreatedAt": human::rfc3339(volume.created),
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": {},
        "Scope": "local",
        "Anonymous": volume.anonymous,
        "Containers": volume.containers,
    })
}

impl Rm {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let force = self.force;
        for_each(&self.names, session, |name, session| {
            let done = session.call(RemoveVolume { name: name.to_owned() });
            if Problem::forgive_missing(done, force).map_err(|problem| problem.hint_if_missing(SHOW_VOLUMES))?.is_some()
            {
                writeln!(session.output(), "{name}")?;
            }
            Ok(())
        })
    }
}

/// A condition on a volume.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Name(String),
    Label(String, Option<String>),
    Dangling(bool),
    Anonymous(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Problem> {
        let refuse = || {
            let expected = "name=, label=KEY[=VALUE], dangling=true|false or anonymous=true|false";
            let sentence = format!("invalid value {text:?} for --filter: expected {expected}");
            Problem::user(sentence).hint("pybox volume ls --help")
        };
        let (key, value) = text.split_once('=').ok_or_else(refuse)?;
        let truth = || value.parse().map_err(|_| refuse());
        match key {
            "name" => Ok(Self::Name(value.to_owned())),
            "label" => {
                let (key, value) = label::condition(value);
                Ok(Self::Label(key, value))
            }
            "dangling" => truth().map(Self::Dangling),
            "anonymous" => truth().map(Self::Anonymous),
            _ => Err(refuse()),
        }
    }

    fn accepts(&self, volume: &VolumeSummary) -> bool {
        match self {
            Self::Name(part) => volume.name.contains(part.as_str()),
            Self::Label(key, value) => {
                volume.labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
            }
            Self::Dangling(wanted) => volume.containers.is_empty() == *wanted,
            Self::Anonymous(wanted) => volume.anonymous == *wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers() {
        let volume = VolumeSummary {
            name: "web-data".to_owned(),
            mountpoint: "/v/web-data/_data".into(),
            created: 0,
            labels: [("tier".to_owned(), "db".to_owned())].into(),
            anonymous: false,
            containers: vec!["web".to_owned()],
        };
        let accepts = |text: &str| Filter::parse(text).map(|filter| filter.accepts(&volume)).ok();
        for text in ["name=data", "label=tier", "label=tier=db", "dangling=false", "anonymous=false"] {
            assert_eq!(accepts(text), Some(true), "{text}");
        }
        for text in ["name=x", "label=tier=web", "label=x", "dangling=true", "anonymous=true"] {
            assert_eq!(accepts(text), Some(false), "{text}");
        }
        for text in ["dangling=maybe", "driver=local", "name"] {
            assert_eq!(accepts(text), None, "{text}");
        }
    }
}
