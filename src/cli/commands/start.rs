//! `pybox start`.

use std::io::IsTerminal as _;

use super::notify::Mode;
use super::{DONE, SHOW_CONTAINERS, for_each};
use crate::cli::error::{OURS, Problem};
use crate::cli::session::Session;
use crate::engine::api;
use crate::model::flags::detach_keys;
use crate::model::supervision::Descriptors;

/// Start containers that have been created, or have ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints what was started, as it was typed; with --attach or --interactive it stays with the \
    one container until that ends, and returns its exit code.\n\nExamples:\n  \
    pybox start web db\n  \
    pybox start -ai shell\n  \
    pybox start --all-due")]
pub(crate) struct Args {
    /// Names, or ids and their beginnings
    #[arg(required_unless_present = "all_due", value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Show its output, and hand signals on to it
    #[arg(short, long)]
    attach: bool,

    /// Hand standard input on to it
    #[arg(short, long)]
    interactive: bool,

    /// Keys that leave it running, as in ctrl-p,ctrl-q; none by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Who tells systemd when it is up: monitor, healthy (the monitor, once its check is good) or ignore
    #[arg(long, value_name = "WHO")]
    sdnotify: Option<String>,

    /// Start every container that --restart always or unless-stopped wants running
    #[arg(long, conflicts_with_all = ["containers", "attach", "interactive", "sdnotify"])]
    all_due: bool,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        if self.all_due {
            return due(session);
        }
        let notify = self.sdnotify.as_deref().map(Mode::parse).transpose()?.unwrap_or(Mode::Ignore);
        if notify == Mode::Container {
            return Err(Problem::user("--sdnotify container is settled when a container is made")
                .hint("pybox create --sdnotify container …")
                .code(OURS));
        }
        let notify = notify.notify();
        let attach = self.attach || self.interactive;
        if !attach {
            return for_each(&self.containers, session, |name, session| {
                let start = api::Start {
                    name: name.to_owned(),
                    attach: None,
                    notify: notify.clone(),
                    descriptors: Descriptors::default(),
                };
                session.call(start).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
                writeln!(session.output(), "{name}")?;
                Ok(())
            });
        }
        let [name] = self.containers.as_slice() else {
            return Err(Problem::user("--attach takes one container").hint("pybox start --attach NAME").code(OURS));
        };
        let detach_keys = self.detach_keys.as_deref().map(detach_keys::parse).transpose()?.unwrap_or_default();
        let attach = api::AttachOptions { input: self.interactive, detach_keys, pass_signals: true };
        let terminal = std::io::stdin().is_terminal();
        let start = api::Start {
            name: name.clone(),
            attach: Some(api::StartAttached { options: attach, terminal }),
            notify,
            descriptors: super::descriptors::descriptors(None),
        };
        let started = session.call(start).map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        Ok(started.code.map_or(DONE, |code| u8::try_from(code).unwrap_or(OURS)))
    }
}

fn due(session: &mut Session) -> Result<u8, Problem> {
    let names = session.call(api::ListDue {})?;
    for_each(&names, session, |name, session| {
        session.call(api::Start {
            name: name.to_owned(),
            attach: None,
            notify: None,
            descriptors: Descriptors::default(),
        })?;
        writeln!(session.output(), "{name}")?;
        Ok(())
    })
}
