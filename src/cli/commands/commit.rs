//! `pybox commit`.

use super::{DONE, SHOW_CONTAINERS, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, local_manner};
use crate::engine::api::Commit;
use crate::model::compression::Compression;

/// Make an image of a container
#[derive(Debug, clap::Args)]
#[command(after_help = "The image is that of the container and what the container has changed, volumes left out; it \
    starts as the container was started. Prints its id.\n\nExamples:\n  \
    pybox commit build app:1\n  \
    pybox commit --change 'CMD [\"serve\"]' --message tuned web web:2")]
pub(crate) struct Args {
    /// Name, or id and its beginning
    container: String,

    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,

    /// Who made it
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,

    /// What its history says of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Change its configuration: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,

    /// Pause the container meanwhile
    #[arg(short, long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,

    /// Compress the new layer: gzip, zstd or none
    #[arg(long, value_name = "FORMAT", default_value_t)]
    compression: Compression,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let reference = self.name.as_deref().map(|name| reference(name, "pybox commit --help")).transpose()?;
        let commit = Commit {
            name: self.container,
            reference,
            author: self.author,
            message: self.message,
            changes: self.changes,
            pause: self.pause,
            compression: self.compression,
        };
        let manner = if self.quiet { Manner::Quiet } else { local_manner() };
        let made = session.call_with(commit, manner).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        writeln!(session.output(), "{}", made.id)?;
        Ok(DONE)
    }
}
