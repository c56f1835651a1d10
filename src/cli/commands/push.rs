//! `pybox push`.

use std::io::Write as _;

use super::{DONE, SHOW_IMAGES, reference};
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner};
use crate::engine::api;
use crate::model::compression::Compression;
use crate::model::reference::Reference;

/// Send an image to a registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The complete name goes to standard output, progress to standard error. Blobs that the registry \
    has are not sent. An image of several platforms is sent whole if all of it is here, or there.\n\nExamples:\n  \
    pybox push r.example/me/app:v1                         by the name that it has here\n  \
    pybox push app:v1 r.example/me/app:v1                  by another one\n  \
    pybox push app:v1 r.example/app:v1 r.example/app       under two tags\n  \
    pybox push --all-tags r.example/me/app                 all that is here of it"
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

    /// Compress layers that are not: gzip or zstd
    #[arg(long, value_name = "FORMAT")]
    compression_format: Option<Compression>,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let Self { image, destinations, all_tags, compression_format: compression, quiet } = self;
        ask(session, api::Push { image, destinations: references(&destinations)?, all_tags, compression }, quiet)
    }
}

/// A list on its way.
pub(super) struct Sent<'a> {
    pub(super) image: String,
    pub(super) names: &'a [String],
    pub(super) quiet: bool,
}

/// Pushes a list of images.
pub(super) fn send(session: &mut Session, sent: Sent<'_>) -> Result<u8, Problem> {
    let (image, destinations) = (sent.image, references(sent.names)?);
    let question = api::Push { image, destinations, all_tags: false, compression: None };
    ask(session, question, sent.quiet)
}

fn references(names: &[String]) -> Result<Vec<Reference>, Problem> {
    // podman writes the transport in front.
    let name = |text: &String| reference(text.strip_prefix("docker://").unwrap_or(text), "pybox push --help");
    names.iter().map(name).collect()
}

fn ask(session: &mut Session, question: api::Push, quiet: bool) -> Result<u8, Problem> {
    let manner = if quiet { Manner::Quiet } else { progress_manner() };
    let pushed = session.call_with(question, manner).map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?;
    for one in pushed {
        if !quiet {
            let status = if one.sent == 0 { "all layers were there" } else { "pushed" };
            // Progress, so not for standard output; if nobody can read it, so be it.
            let _ = writeln!(std::io::stderr(), "digest: {}\nstatus: {status}", one.digest);
        }
        writeln!(session.output(), "{}", one.reference)?;
    }
    Ok(DONE)
}
