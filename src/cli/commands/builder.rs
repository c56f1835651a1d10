//! `pybox builder`: what builds have kept.

use super::{DONE, build, prune};
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::session::Session;
use crate::engine::api::PruneBuilds;
use crate::model::flags::instant;

/// Remove what builds have kept
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Builder {
    Prune(Prune),
    Build(Box<build::Args>),
}

/// Remove the layers that builds have kept and no image has, and the caches of steps
#[derive(Debug, clap::Args)]
#[command(after_help = "The next build does the steps again. Layers of images stay.")]
pub(crate) struct Prune {
    /// Leave the caches that steps have mounted, as that of pip
    #[arg(long)]
    keep_mounts: bool,

    /// Remove all; it is what is done anyway
    #[arg(short, long, hide = true)]
    all: bool,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only what was not used since until=TIME, as in 24h
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

impl Builder {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Prune(args) => args.execute(session),
            Self::Build(args) => args.execute(session),
        }
    }
}

impl Prune {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let until = self.filters.iter().map(|text| until(text)).collect::<Result<Vec<_>, _>>()?.into_iter().min();
        if !self.force {
            let what = "WARNING! This will remove all layers that builds have kept and no image has.\n";
            prune::confirm("builder prune", what, session)?;
        }
        // What is asked for by age is not emptied: nobody knows when what is in a cache was used.
        let mounts = !self.keep_mounts && until.is_none();
        let pruned = session.call(PruneBuilds { until, mounts })?;
        for step in &pruned.steps {
            writeln!(session.output(), "{}", human::ellipsis(step.lines().next().unwrap_or_default(), 100))?;
        }
        writeln!(session.output(), "Total reclaimed space: {}", human::size(pruned.reclaimed))?;
        Ok(DONE)
    }
}

fn until(text: &str) -> Result<i64, Problem> {
    const HELP: &str = "pybox builder prune --filter until=24h";
    let Some(value) = text.strip_prefix("until=") else {
        return Err(Problem::user(format!("invalid value {text:?} for --filter: expected until=")).hint(HELP));
    };
    instant::parse("--filter", value, human::now()).map_err(|error| Problem::user(error.to_string()).hint(HELP))
}
