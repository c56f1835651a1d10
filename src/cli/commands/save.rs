//! `pybox save`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{DONE, SHOW_IMAGES, source};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::{ArchiveFormat, Save, Source};

/// Save images to an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "The archive goes to standard output unless --output names a file. Layers are written byte \
    for byte as they were pulled.\n\nExamples:\n  \
    pybox save --output debian.tar debian:12\n  \
    pybox save debian:12 | ssh host pybox load\n  \
    pybox save --format oci-archive --output app.tar app:v1 app:v2")]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    /// Write this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Kind of archive
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    DockerArchive,
    OciArchive,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let target = self.output.as_deref().map_or(Ok(Source::Standard), source)?;
        if target == Source::Standard && std::io::stdout().is_terminal() {
            return Err(Problem::user("standard output is a terminal, which an archive would garble")
                .hint(format!("pybox save --output FILE {}", self.images.join(" "))));
        }
        let format = match self.format {
            Kind::DockerArchive => ArchiveFormat::DockerArchive,
            Kind::OciArchive => ArchiveFormat::OciArchive,
        };
        session
            .call(Save { images: self.images, format, target })
            .map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?;
        Ok(DONE)
    }
}
