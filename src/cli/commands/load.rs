//! `pybox load`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::{DONE, source};
use crate::cli::error::Problem;
use crate::cli::render::human::familiar;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, local_manner};
use crate::engine::api::{Load, Source};

/// Load images from an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads what docker, podman or pybox save wrote: a docker-archive or an oci-archive, plain or \
    compressed; or an OCI layout directory.\n\nExamples:\n  \
    pybox load --input debian.tar\n  \
    ssh host docker save app:v1 | pybox load")]
pub(crate) struct Args {
    /// Read this file or directory instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Move a name here from another image that has it
    #[arg(short, long)]
    force: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let source = self.input.as_deref().map_or(Ok(Source::Standard), source)?;
        if source == Source::Standard && std::io::stdin().is_terminal() {
            return Err(Problem::user("standard input is a terminal, not an archive").hint("pybox load --input FILE"));
        }
        let manner = if self.quiet { Manner::Quiet } else { local_manner() };
        for image in session.call_with(Load { source, force: self.force }, manner)? {
            for name in &image.references {
                writeln!(session.output(), "Loaded image: {}", familiar(name))?;
            }
            if image.references.is_empty() {
                writeln!(session.output(), "Loaded image ID: {}", image.id)?;
            }
        }
        Ok(DONE)
    }
}
