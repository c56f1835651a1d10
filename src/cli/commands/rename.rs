//! `pybox rename`.

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::RenameContainer;
use crate::model::id::InvalidId;

/// Give a container another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container: its name, or its id or the beginning of it
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let name = self.name.trim_start_matches('/').parse();
        let name = name.map_err(|error: InvalidId| Problem::user(error.to_string()).hint("pybox rename --help"))?;
        let done = session.call(RenameContainer { container: self.container, name });
        done.map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}
