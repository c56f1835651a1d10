//! `pybox export`.

use std::path::PathBuf;

use super::{DONE, SHOW_CONTAINERS, source};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::{Export, Source};

/// Write a container's files to an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "The archive has the root file system without what is mounted in it, and goes to standard \
    output unless --output names a file. `pybox import` makes an image of it.\n\nExamples:\n  \
    pybox export --output web.tar web\n  \
    pybox export web | tar t")]
pub(crate) struct Args {
    /// Name, or id and its beginning
    container: String,

    /// Write this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let target = self.output.as_deref().map_or(Ok(Source::Standard), source)?;
        let export = Export { name: self.container, target };
        session.call(export).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(DONE)
    }
}
