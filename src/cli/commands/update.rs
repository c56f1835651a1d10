//! `pybox update`.

use super::limit_flags::LimitFlags;
use super::{SHOW_CONTAINERS, for_each};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::UpdateContainer;
use crate::model::flags::{InvalidFlag, restart};
use crate::model::limits::Limits;

/// Change settings of containers, running or not
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What holds is changed at once, and at each start from then on. Limits that few ask for have docker's names and meaning: memory-swap, memory-reservation, cpu-shares, cpu-period, \
        cpu-quota, cpuset-cpus, cpuset-mems, blkio-weight, device-read-bps, device-write-bps, device-read-iops and \
        device-write-iops.\n\nExamples:\n  \
        pybox update --memory 512m --pids-limit 200 web\n  \
        pybox update --restart unless-stopped web"
)]
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

    #[command(flatten)]
    limits: LimitFlags,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let help = |error: InvalidFlag| Problem::user(error.to_string()).hint("pybox update --help");
        let restart = self.restart.as_deref().map(restart::parse).transpose().map_err(help)?;
        let limits = self.limits.read().map_err(help)?;
        if restart.is_none() && limits == Limits::default() {
            return Err(Problem::user("nothing to change: give --restart or a limit").hint("pybox update --help"));
        }
        for_each(&self.containers, session, |name, session| {
            let question = UpdateContainer { container: name.to_owned(), restart, limits: limits.clone() };
            session.call(question).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
            Ok(writeln!(session.output(), "{name}")?)
        })
    }
}
