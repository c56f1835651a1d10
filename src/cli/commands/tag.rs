//! `pybox tag`.

use super::{DONE, SHOW_IMAGES, reference};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::Tag;

/// Give an image another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image: a name, or an id or its beginning
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let reference = reference(&self.name, "pybox tag --help")?;
        if reference.digest().is_some() {
            return Err(Problem::user(format!(
                "invalid name {:?}: a name that is given cannot have a digest",
                self.name
            ))
            .hint("pybox tag --help"));
        }
        session.call(Tag { image: self.image, reference }).map_err(|problem| problem.hint_if_missing(SHOW_IMAGES))?;
        Ok(DONE)
    }
}
