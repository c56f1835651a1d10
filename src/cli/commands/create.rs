//! `pybox create`.

use super::notify::Mode;
use super::run::{Wanted, request};
use super::{DONE, absolute};
use crate::cli::error::{OURS, Problem};
use crate::cli::session::Session;
use crate::engine::api;

/// Make a container without starting it
#[derive(Debug, clap::Args)]
#[command(
    // As docker has it, -h is the host's name.
    disable_help_flag = true,
    override_usage = "pybox create [OPTIONS] IMAGE [COMMAND] [ARG]...\n       \
        pybox create [OPTIONS] --image IMAGE [--] [COMMAND] [ARG]...",
    after_help = "Prints the id of the container. All options are those of run.\n\nExamples:\n  \
        pybox create --name web -v data:/data web:1\n  \
        pybox start web"
)]
pub(crate) struct Args {
    /// Write the id to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<std::path::PathBuf>,

    #[command(flatten)]
    wanted: Wanted,
}

impl Args {
    pub(in crate::cli) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let manner = self.wanted.manner();
        let id_file = self.cidfile.as_deref().map(absolute).transpose()?;
        if matches!(self.wanted.notify()?, Mode::Monitor(_)) {
            return Err(Problem::user("--sdnotify monitor and healthy are settled when a container is started")
                .hint("pybox start --sdnotify monitor …")
                .code(OURS));
        }
        let request = request(self.wanted)?;
        let created = session.call_with(api::Create { request, id_file }, manner)?;
        writeln!(session.output(), "{}", created.id)?;
        Ok(DONE)
    }
}
