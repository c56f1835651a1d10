//! `pybox push`.

use std::io::Write as _;

use super::{DONE, SHOW_IMAGES, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner};
use crate::engine::api;

/// Send an image to a registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The complete name goes to standard output, progress to standard error. Blobs that the registry \
    has are not sent. An image of several platforms is sent whole if all of it is here, or there.\n\nExamples:\n  \
    pybox push quay.example/me/app:v1                         by the name that it has here\n  \
    pybox push app:v1 quay.example/me/app:v1                  by another one\n  \
    pybox push app:v1 quay.example/app:v1 quay.example/app    under two tags\n  \
    pybox push --all-tags quay.example/me/app                 all that is here of it"
)]
pub(crate) struct Args {
    /// The image: a name, or an id or its beginning
    #[arg(value_name = "IMAGE")]
    image: String,

    // No doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "DESTINATION", help = "The names that it gets: [REGISTRY/]REPOSITORY[:TAG]")]
    destinations: Vec<String>,

    /// IMAGE is a repository: push all of its tags
    #[arg(short, long)]
    all_tags: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        // podman writes the transport in front.
        let name = |text: &String| reference(text.strip_prefix("docker://").unwrap_or(text), "pybox push --help");
        let destinations = self.destinations.iter().map(name).collect::<Result<_, _>>()?;
        let question = api::Push { image: self.image, destinations, all_tags: self.all_tags };
        let manner = if self.quiet { Manner::Quiet } else { progress_manner() };
        let pushed = session.call_with(question, manner).map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?;
        for one in pushed {
            if !self.quiet {
                let status = if one.sent == 0 { "all layers were there" } else { "pushed" };
                // Progress, so not for standard output; if nobody can read it, so be it.
                let _ = writeln!(std::io::stderr(), "digest: {}\nstatus: {status}", one.digest);
            }
            writeln!(session.output(), "{}", one.reference)?;
        }
        Ok(DONE)
    }
}
