//! `pybox logout`.

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::Logout;
use crate::model::reference::DEFAULT_REGISTRY;

/// Forget a login at a registry
#[derive(Debug, clap::Args)]
#[command(after_help = "It goes from every file and credential helper that pulls and pushes look into, docker's and \
    podman's too.")]
pub(crate) struct Args {
    /// The registry, Docker Hub by default
    #[arg(value_name = "HOST[:PORT]")]
    registry: Option<String>,

    /// All logins at all registries
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let registry = self.registry.unwrap_or_else(|| DEFAULT_REGISTRY.to_owned());
        let gone = session.call(Logout { registry: (!self.all).then_some(registry) })?;
        let name = gone.registry.as_deref().unwrap_or("all registries");
        match gone.places.as_slice() {
            // No error, as with docker: a script wants to be logged out, and is.
            [] => writeln!(session.output(), "there was no login for {name}")?,
            places => writeln!(session.output(), "logged out of {name}; removed from {}", places.join(", "))?,
        }
        Ok(DONE)
    }
}
