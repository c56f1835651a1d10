//! `pybox update`.

use super::{SHOW_CONTAINERS, for_each};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::UpdateContainer;
use crate::model::container::Limits;
use crate::model::flags::{InvalidFlag, limits, restart, size};

/// Change settings of containers, running or not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,

    /// The restart policy.
    #[arg(
        long,
        value_name = "POLICY",
        help = "What becomes of it when it ends: no, on-failure[:N], always or unless-stopped"
    )]
    restart: Option<String>,

    /// The most memory, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,

    /// The most processor time, as in 0.5 or 2
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,

    /// The most processes; -1 is unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let help = |error: InvalidFlag| Problem::user(error.to_string()).hint("pybox update --help");
        let restart = self.restart.as_deref().map(restart::parse).transpose().map_err(help)?;
        let limits = self.limits().map_err(help)?;
        if restart.is_none() && limits == Limits::default() {
            return Err(Problem::user("nothing to change: give --restart or a limit").hint("pybox update --help"));
        }
        for_each(&self.containers, session, |name, session| {
            let question = UpdateContainer { container: name.to_owned(), restart, limits: limits.clone() };
            session.call(question).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
            Ok(writeln!(session.output(), "{name}")?)
        })
    }

    fn limits(&self) -> Result<Limits, InvalidFlag> {
        Ok(Limits {
            memory: self.memory.as_deref().map(size::memory).transpose()?,
            cpus: self.cpus.as_deref().map(limits::cpus).transpose()?,
            pids: self.pids_limit.as_deref().map(limits::pids).transpose()?,
        })
    }
}
