//! `pybox rmi`.

use super::{SHOW_IMAGES, for_each};
use crate::cli::error::Problem;
use crate::cli::render::human::familiar;
use crate::cli::session::Session;
use crate::engine::api::{ImageRemoval, RemoveImage};

/// Remove images
#[derive(Debug, clap::Args)]
#[command(after_help = "Takes the name away, and the image with its last name. Layers that other images share stay.")]
pub(crate) struct Args {
    /// Names, digests, or ids and their beginnings
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    /// Remove all names of an id, and stopped containers of the image; a missing image is no failure
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let force = self.force;
        for_each(&self.images, session, |name, session| {
            let done = session.call(RemoveImage { name: name.to_owned(), force });
            for step in Problem::forgive_missing(done, force)
                .map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?
                .unwrap_or_default()
            {
                match step {
                    ImageRemoval::Untagged(name) => writeln!(session.output(), "Untagged: {}", familiar(&name))?,
                    ImageRemoval::Deleted(id) => writeln!(session.output(), "Deleted: {id}")?,
                }
            }
            Ok(())
        })
    }
}
