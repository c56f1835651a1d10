//! `pybox pull`.

use std::io::Write as _;

use super::{DONE, platform, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner};
use crate::engine::api;
use crate::model::container::PullPolicy;

/// Download an image from a registry
#[derive(Debug, clap::Args)]
#[command(after_help = "The complete name of the image goes to standard output, progress to standard error. Layers \
    that are here already are not downloaded again. Mirrors that registries.conf names are asked first; before them, \
    the directories of PYBOX_BLOB_CACHE=DIR[:DIR...] are looked into, and the first one keeps what comes.\n\nExamples:\n  \
    pybox pull debian:12                      docker.io/library/debian:12\n  \
    pybox pull ghcr.io/owner/app:v1           from another registry\n  \
    pybox pull debian@sha256:…                exactly this one\n  \
    pybox pull --platform linux/arm64 alpine  for another architecture")]
pub(crate) struct Args {
    // No doc comment: rustdoc would take the brackets for links.
    #[arg(help = "The image: [REGISTRY/]REPOSITORY[:TAG][@DIGEST]")]
    image: String,

    /// Take the image for this platform, as in linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        const HELP: &str = "pybox pull --help";
        let question = api::Pull {
            reference: reference(&self.image, HELP)?,
            platform: platform(self.platform.as_deref(), HELP)?,
            policy: PullPolicy::Always,
        };
        let manner = if self.quiet { Manner::Quiet } else { progress_manner() };
        let pulled = session.call_with(question, manner)?;
        if !self.quiet {
            let status = if pulled.changed { "downloaded" } else { "up to date" };
            // Progress, so not for standard output; if nobody can read it, so be it.
            let _ = writeln!(std::io::stderr(), "digest: {}\nstatus: {status}", pulled.digest);
        }
        writeln!(session.output(), "{}", pulled.reference)?;
        Ok(DONE)
    }
}
