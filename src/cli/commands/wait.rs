//! `pybox wait`.

use super::{SHOW_CONTAINERS, for_each};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api;

/// Wait until containers have ended, and print their exit codes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        for_each(&self.containers, session, |name, session| {
            let ended = session
                .call(api::Wait { name: name.to_owned() })
                .map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
            writeln!(session.output(), "{}", ended.exit_code)?;
            Ok(())
        })
    }
}
