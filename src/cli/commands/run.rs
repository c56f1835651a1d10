//! `pybox run`.
//!
//! Two steps: [`Args`] mirrors the command line and touches nothing; `resolve`
//! reads files, the environment and the working directory, and makes the
//! request. The words from the image on are the container's own.

mod options;
mod resolve;

use std::io::IsTerminal as _;

use crate::cli::error::{OURS, Problem};
use crate::cli::render::progress::Manner;
use crate::cli::session::{Session, progress_manner};
use crate::engine::api;
use options::{Files, Limits, Network, Process, Security};

/// Run a command in a new container
#[derive(Debug, clap::Args)]
#[command(
    // As docker has it, -h is the host's name.
    disable_help_flag = true,
    override_usage = "pybox run [OPTIONS] IMAGE [COMMAND] [ARG]...\n       \
        pybox run [OPTIONS] --image IMAGE [--] [COMMAND] [ARG]...",
    after_help = "The container ends when its command does, and run returns the command's exit code; 125 says that \
        pybox failed, 126 that the command cannot be executed, 127 that it was not found, and 128 + n that signal n \
        ended it.\n\nExamples:\n  \
        pybox run --rm -it debian:12 bash\n  \
        pybox run --rm --image alpine -- cat /etc/os-release\n  \
        pybox run --rm -v \"$PWD:/src\" -w /src -u 1000 python:3.12 python build.py\n  \
        pybox run --name db --read-only --tmpfs /tmp -v data:/var/lib/db database:1\n  \
        pybox run --rm --memory 256m --cpus 0.5 busybox sha256sum /dev/zero"
)]
pub(crate) struct Args {
    /// The image, unless it is the first word
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Image and command: everything after the image belongs to the command
    #[arg(trailing_var_arg = true, value_name = "IMAGE|COMMAND", hide = true)]
    words: Vec<String>,

    /// Name the container
    #[arg(long)]
    name: Option<String>,

    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,

    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,

    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,

    /// Pull the image always, if it is missing, never, or if the registry has a newer one
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    pull: String,

    /// Take the image for this platform, as in linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,

    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,

    /// Show no progress of a pull
    #[arg(short, long)]
    quiet: bool,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    process: Process,

    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    network: Network,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    security: Security,
}

impl Args {
    pub(in crate::cli) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        if self.tty && !std::io::stdin().is_terminal() {
            return Err(Problem::user("--tty needs a terminal, and standard input is none")
                .hint("leave out -t; -i alone hands standard input on")
                .code(OURS));
        }
        let manner = if self.quiet { Manner::Quiet } else { progress_manner() };
        let request = resolve::request(self)?;
        let exit = session.call_with(api::Run { request }, manner)?;
        // A wait status has eight bits; anything else would be a fault of the engine.
        Ok(u8::try_from(exit.code).unwrap_or(OURS))
    }
}
