//! `pybox container prune`, `image prune`, `volume prune`, `system prune`.

use std::io::{BufRead as _, IsTerminal as _};

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::human::{self, familiar};
use crate::cli::session::Session;
use crate::engine::api::{Prune, PruneFilter, PruneImages, PruneVolumes, Pruned};
use crate::model::flags::{instant, label};

/// Remove all containers that have ended or never started
#[derive(Debug, clap::Args)]
pub(crate) struct Containers {
    #[command(flatten)]
    how: How,
}

/// Remove images without a tag that no container was made from
#[derive(Debug, clap::Args)]
pub(crate) struct Images {
    /// Remove all images that no container was made from, with a tag or not
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    how: How,
}

/// Remove volumes without a name that no container mounts
#[derive(Debug, clap::Args)]
pub(crate) struct Volumes {
    /// Remove those with a name, too
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    how: How,
}

/// Remove networks that no container is on
#[derive(Debug, clap::Args)]
pub(crate) struct Networks {
    #[command(flatten)]
    how: How,
}

/// Remove stopped containers, images that nothing needs, and what interrupted downloads have left
#[derive(Debug, clap::Args)]
pub(crate) struct Everything {
    /// Remove all images that no container was made from, with a tag or not
    #[arg(short, long)]
    all: bool,

    /// Remove volumes without a name that no container mounts, too
    #[arg(long)]
    volumes: bool,

    #[command(flatten)]
    how: How,
}

/// What all of them take.
#[derive(Debug, clap::Args)]
struct How {
    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only what is older than until=TIME (as in 24h), has label=KEY[=VALUE], or has not label!=KEY[=VALUE]
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

impl Containers {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let prune = Prune { containers: true, ..Prune::default() };
        self.how.execute("container prune", &prune, session)
    }
}

impl Images {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let prune = Prune { images: images(self.all), ..Prune::default() };
        self.how.execute("image prune", &prune, session)
    }
}

impl Volumes {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let volumes = if self.all { PruneVolumes::Unused } else { PruneVolumes::Anonymous };
        let prune = Prune { volumes, ..Prune::default() };
        self.how.execute("volume prune", &prune, session)
    }
}

impl Networks {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let prune = Prune { networks: true, ..Prune::default() };
        self.how.execute("network prune", &prune, session)
    }
}

impl Everything {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let prune = Prune {
            containers: true,
            images: images(self.all),
            volumes: if self.volumes { PruneVolumes::Anonymous } else { PruneVolumes::None },
            networks: true,
            leftovers: true,
            filters: Vec::new(),
        };
        self.how.execute("system prune", &prune, session)
    }
}

fn images(all: bool) -> PruneImages {
    if all { PruneImages::Unused } else { PruneImages::Dangling }
}

impl How {
    fn execute(self, verb: &str, prune: &Prune, session: &mut Session) -> Result<u8, Problem> {
        let now = human::now();
        let filters = self.filters.iter().map(|text| filter(text, verb, now)).collect::<Result<_, _>>()?;
        let prune = Prune { filters, ..prune.clone() };
        if !self.force {
            confirm(verb, &warning(&prune), session)?;
        }
        let pruned = session.call(prune)?;
        write!(session.output(), "{}", text(&pruned))?;
        Ok(DONE)
    }
}

/// Docker's warning: one line, or a list where several kinds of things go.
fn warning(prune: &Prune) -> String {
    let images = match prune.images {
        PruneImages::None => None,
        PruneImages::Dangling => Some("all dangling images"),
        PruneImages::Unused => Some("all images without at least one container associated to them"),
    };
    let volumes = match prune.volumes {
        PruneVolumes::None => None,
        PruneVolumes::Anonymous => Some("all anonymous volumes not used by at least one container"),
        PruneVolumes::Unused => Some("all volumes not used by at least one container"),
    };
    let parts: Vec<&str> = [
        prune.containers.then_some("all stopped containers"),
        volumes,
        images,
        prune.networks.then_some("all networks not used by at least one container"),
        prune.leftovers.then_some("what interrupted downloads have left"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match parts.as_slice() {
        [part] => format!("WARNING! This will remove {part}.\n"),
        parts => {
            let lines: String = parts.iter().map(|part| format!("  - {part}\n")).collect();
            format!("WARNING! This will remove:\n{lines}\n")
        }
    }
}

/// Asks on the terminal; where there is none, nobody can answer.
pub(super) fn confirm(verb: &str, warning: &str, session: &mut Session) -> Result<(), Problem> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        let sentence = "standard input is no terminal, so nobody can say whether to remove all that";
        return Err(Problem::user(sentence).hint(format!("pybox {verb} --force")));
    }
    write!(session.output(), "{warning}Are you sure you want to continue? [y/N] ")?;
    session.finish()?;
    let mut answer = String::new();
    // What cannot be read is no yes.
    let _ = input.lock().read_line(&mut answer);
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Problem::user(format!("{verb} has been cancelled")))
}

/// Docker's answer: a list a kind, then the sum.
fn text(pruned: &Pruned) -> String {
    let mut text = String::new();
    let mut list = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n{}\n\n", lines.join("\n")));
        }
    };
    list("Deleted Containers", pruned.containers.iter().map(ToString::to_string).collect());
    list("Deleted Volumes", pruned.volumes.clone());
    let untagged = pruned.untagged.iter().map(|name| format!("untagged: {}", familiar(name)));
    let deleted = pruned.images.iter().map(|id| format!("deleted: {id}"));
    list("Deleted Images", untagged.chain(deleted).collect());
    list("Deleted Networks", pruned.networks.clone());
    text.push_str(&format!("Total reclaimed space: {}\n", human::size(pruned.reclaimed)));
    text
}

fn filter(text: &str, verb: &str, now: i64) -> Result<PruneFilter, Problem> {
    let help = format!("pybox {verb} --help");
    let refuse = || {
        let sentence = format!("invalid value {text:?} for --filter: expected until=, label= or label!=");
        Problem::user(sentence).hint(help.clone())
    };
    let (key, value) = text.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(refuse)?;
    let label = |present: bool| {
        let (key, value) = label::condition(value);
        Ok(PruneFilter::Label { key, value, present })
    };
    match key {
        "until" => instant::parse("--filter", value, now)
            .map(PruneFilter::Until)
            .map_err(|error| Problem::user(error.to_string()).hint(help.clone())),
        "label" => label(true),
        "label!" => label(false),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_what_goes() {
        let one = Prune { containers: true, ..Prune::default() };
        assert_eq!(warning(&one), "WARNING! This will remove all stopped containers.\n");
        let all = Prune { containers: true, images: PruneImages::Unused, leftovers: true, ..Prune::default() };
        assert_eq!(
            warning(&all),
            "WARNING! This will remove:\n  - all stopped containers\n  - all images without at least one container \
             associated to them\n  - what interrupted downloads have left\n\n"
        );
    }

    #[test]
    fn answers_are_dockers() {
        assert_eq!(text(&Pruned::default()), "Total reclaimed space: 0B\n");
        let id = crate::model::id::ContainerId::from_random(&[0xab; 32]);
        let pruned = Pruned {
            containers: vec![id.clone()],
            untagged: vec!["debian:12".parse().expect("a name")],
            images: vec![crate::model::digest::Digest::sha256(&[1; 32])],
            volumes: vec![],
            networks: vec!["web".to_owned()],
            reclaimed: 16_430_000,
        };
        let image = "01".repeat(32);
        assert_eq!(
            text(&pruned),
            format!(
                "Deleted Containers:\n{id}\n\nDeleted Images:\nuntagged: debian:12\ndeleted: sha256:{image}\n\n\
                 Deleted Networks:\nweb\n\nTotal reclaimed space: 16.4MB\n"
            )
        );
    }

    #[test]
    fn filters_are_read() {
        let now = 1_700_000_000_000;
        let read = |text: &str| filter(text, "image prune", now).map_err(|problem| problem.to_string());
        let label = |value: Option<&str>, present| PruneFilter::Label {
            key: "a".into(),
            value: value.map(Into::into),
            present,
        };
        assert_eq!(read("until=24h"), Ok(PruneFilter::Until(now - 86_400_000)));
        assert_eq!(read("label=a"), Ok(label(None, true)));
        assert_eq!(read("label!=a=b"), Ok(label(Some("b"), false)));
        for bad in ["", "until", "until=soon", "label=", "colour=red"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
