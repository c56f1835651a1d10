//! `pybox stop`, `restart`, `kill`, `pause`, `unpause`: one change for several containers at once.

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::{Fallback, Problem};
use crate::cli::session::Session;
use crate::engine::api::{Act, Action};
use crate::model::flags::signal;

/// Stop containers: a signal, and SIGKILL when that does not help
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    how: How,
}

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    how: How,
}

/// Send a signal to containers, SIGKILL by default
#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,

    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
}

/// Freeze all processes of containers
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Let paused containers go on
#[derive(Debug, clap::Args)]
pub(crate) struct Unpause {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Which containers.
#[derive(Debug, clap::Args)]
struct Which {
    /// Names, or ids and their beginnings
    #[arg(required_unless_present = "all", value_name = "CONTAINER")]
    containers: Vec<String>,

    /// All that run
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
}

/// How a container is stopped.
#[derive(Debug, clap::Args)]
struct How {
    /// Seconds from the signal to SIGKILL; -1 for ever [default: 10, or that of the container]
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,

    /// The signal [default: SIGTERM, or that of the container]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
}

fn signal_of(text: &str) -> Result<i32, Problem> {
    signal::parse("--signal", text).map_err(|error| Problem::from(error).hint("kill -l"))
}

impl How {
    fn parse(&self) -> Result<(Option<i32>, Option<u64>), Problem> {
        let signal = self.signal.as_deref().map(signal_of).transpose()?;
        Ok((signal, self.timeout.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX))))
    }
}

impl Stop {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let (signal, timeout) = self.how.parse()?;
        self.which.act(Action::Stop { signal, timeout }, session)
    }
}

impl Restart {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let (signal, timeout) = self.how.parse()?;
        self.which.act(Action::Restart { signal, timeout }, session)
    }
}

impl Kill {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let signal = signal_of(&self.signal)?;
        act(&self.containers, Action::Kill { signal }, session)
    }
}

impl Pause {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        act(&self.containers, Action::Pause, session)
    }
}

impl Unpause {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        act(&self.containers, Action::Unpause, session)
    }
}

impl Which {
    fn act(self, action: Action, session: &mut Session) -> Result<u8, Problem> {
        if !self.all {
            return act(&self.containers, action, session);
        }
        let running = session.call(crate::engine::api::ListContainers::default())?;
        let running: Vec<_> = running.into_iter().map(|container| container.name.to_string()).collect();
        act(&running, action, session)
    }
}

/// Does it to all at once, prints what was done, and fails if one failed.
fn act(names: &[String], action: Action, session: &mut Session) -> Result<u8, Problem> {
    let outcomes = session.call(Act { names: names.to_vec(), action })?;
    let mut last = None;
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(_) => writeln!(session.output(), "{name}")?,
            Err(failure) => {
                let problem = Problem::from(failure).hint_if_missing(SHOW_CONTAINERS);
                // A second problem must not hide the first.
                if let Some(earlier) = last.replace(problem) {
                    session.finish()?;
                    crate::cli::report(&earlier, Fallback::Other);
                }
            }
        }
    }
    last.map_or(Ok(DONE), Err)
}
