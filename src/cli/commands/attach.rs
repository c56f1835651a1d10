//! `pybox attach`.

use super::{DONE, SHOW_CONTAINERS};
use crate::cli::error::{OURS, Problem};
use crate::cli::session::Session;
use crate::engine::api;
use crate::model::flags::detach_keys;

/// Connect the terminal to a running container
#[derive(Debug, clap::Args)]
#[command(after_help = "Shows what the container writes from now on (see `pybox logs` for what it wrote before), and \
    returns its exit code when it ends. Signals are the container's.\n\nExamples:\n  \
    pybox attach --detach-keys ctrl-p,ctrl-q shell\n  \
    pybox attach --no-stdin web")]
pub(crate) struct Args {
    /// Name, or id and its beginning
    container: String,

    /// Keys that leave it running, as in ctrl-p,ctrl-q; none by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Hand no standard input on
    #[arg(long)]
    no_stdin: bool,

    /// Hand signals on to the container; with =false they end the attachment
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let detach_keys = self.detach_keys.as_deref().map(detach_keys::parse).transpose()?.unwrap_or_default();
        let options = api::AttachOptions { input: !self.no_stdin, detach_keys, pass_signals: self.sig_proxy };
        let attached = session
            .call(api::Attach { name: self.container, options })
            .map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(attached.code.map_or(DONE, |code| u8::try_from(code).unwrap_or(OURS)))
    }
}
