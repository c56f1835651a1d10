//! `pybox import`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::{DONE, platform, reference, source};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, local_manner};
use crate::engine::api::{Import, Source};

/// Make an image of a root file system
#[derive(Debug, clap::Args)]
#[command(after_help = "An archive may be plain, gzip or zstd. Prints the image's id.\n\nExamples:\n  \
    pybox import rootfs.tar.gz mine:latest\n  \
    pybox import --change 'CMD [\"bash\"]' ./rootfs mine\n  \
    mmdebstrap bookworm | pybox import - debian:mine")]
pub(crate) struct Args {
    /// An archive, a directory, or - for standard input
    #[arg(value_name = "FILE|DIR|-")]
    source: PathBuf,

    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,

    /// Change the configuration as a Dockerfile would: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,

    /// A comment for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// What the files were built for, as in linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        const HELP: &str = "pybox import --help";
        let source = source(&self.source)?;
        if source == Source::Standard && std::io::stdin().is_terminal() {
            return Err(Problem::user("standard input is a terminal, not an archive").hint(HELP));
        }
        let manner = if self.quiet { Manner::Quiet } else { local_manner() };
        let imported = session.call_with(
            Import {
                source,
                reference: self.name.as_deref().map(|name| reference(name, HELP)).transpose()?,
                platform: platform(self.platform.as_deref(), HELP)?,
                message: self.message,
                changes: self.changes,
            },
            manner,
        )?;
        writeln!(session.output(), "{}", imported.id)?;
        Ok(DONE)
    }
}
