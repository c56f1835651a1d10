//! `pybox rm`.

use super::{SHOW_CONTAINERS, for_each};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::RemoveContainer;

/// Remove containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Kill running ones first; a missing container is no failure
    #[arg(short, long)]
    force: bool,

    /// A missing container is not worth a word
    #[arg(short, long)]
    ignore: bool,

    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let Self { force, ignore, volumes, .. } = self;
        for_each(&self.containers, session, |name, session| {
            let done = session.call(RemoveContainer { name: name.to_owned(), force, volumes });
            let done = if ignore { Problem::ignore_missing(done) } else { Problem::forgive_missing(done, force) };
            if done.map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?.is_some() {
                writeln!(session.output(), "{name}")?;
            }
            Ok(())
        })
    }
}
