//! The tree of the command line. Each verb's own options stand in its file.

use clap::{Args, Parser, Subcommand};

use super::commands::{
    attach, check, commit, control, cp, create, df, diff, events, exec, export, history, images, import, info, inspect,
    install_completion, load, logs, port, prune, ps, pull, rename, rm, rmi, run, save, start, stats, tag, top, update,
    version, volume, wait,
};
use super::environment::Wishes;

/// Run containers as yourself: no daemon, no root.
#[derive(Debug, Parser)]
#[command(
    name = "pybox",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    override_usage = "pybox [OPTIONS] COMMAND",
    after_help = "Help on a command: pybox COMMAND --help\n\
        Words for the Tab key: pybox --install-completion bash|zsh|fish\n\n\
        Examples:\n  \
        pybox run --rm -it debian:12 bash\n  \
        pybox run --rm --image alpine -- cat /etc/os-release\n  \
        pybox images"
)]
pub(crate) struct Arguments {
    /// Print the version and exit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Keep everything below DIR [env: PYBOX_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<std::path::PathBuf>,

    /// Say how things are done, on standard error
    #[arg(short = 'D', long, global = true)]
    debug: bool,

    /// How much to say: off, error, warn, info, debug or trace [env: PYBOX_LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Arguments {
    /// The global options.
    pub(crate) fn wishes(&self) -> Wishes {
        let Global { root, debug, log_level } = &self.global;
        Wishes { root: root.clone(), debug: *debug, log_level: log_level.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(Box<run::Args>),
    Create(Box<create::Args>),
    Start(start::Args),
    Stop(control::Stop),
    Restart(control::Restart),
    Kill(control::Kill),
    Pause(control::Pause),
    Unpause(control::Unpause),
    Wait(wait::Args),
    Attach(attach::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Cp(cp::Args),
    Diff(diff::Args),
    Commit(commit::Args),
    Export(export::Args),
    Pull(pull::Args),
    Images(images::Args),
    Rmi(rmi::Args),
    Import(import::Args),
    Load(load::Args),
    Save(save::Args),
    Tag(tag::Args),
    History(history::Args),
    Inspect(inspect::Args),
    Ps(ps::Args),
    Rm(rm::Args),
    Rename(rename::Args),
    Update(update::Args),
    Port(port::Args),
    Top(top::Args),
    Stats(stats::Args),
    Events(events::Args),
    Check(check::Args),
    #[command(subcommand)]
    Volume(volume::Volume),
    /// Remove unused images; and verbs about images by docker's grouped names
    #[command(subcommand)]
    Image(Image),
    /// Remove stopped containers; and verbs about containers by docker's grouped names
    #[command(subcommand)]
    Container(Container),
    /// Show what the disk holds, and remove what is not in use
    #[command(subcommand)]
    System(System),
    Info(info::Args),
    Version(version::Args),
    #[command(hide = true, long_flag = "install-completion")]
    InstallCompletion(install_completion::Args),
}

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    Prune(prune::Images),
    #[command(alias = "list")]
    Ls(images::Args),
    #[command(alias = "remove")]
    Rm(rmi::Args),
    Pull(pull::Args),
    Import(import::Args),
    Load(load::Args),
    Save(save::Args),
    Tag(tag::Args),
    History(history::Args),
    Inspect(inspect::Args),
}

#[derive(Debug, Subcommand)]
pub(super) enum Container {
    Update(update::Args),
    Prune(prune::Containers),
    Rename(rename::Args),
    Port(port::Args),
    Top(top::Args),
    Stats(stats::Args),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Args),
    #[command(alias = "remove")]
    Rm(rm::Args),
    Run(Box<run::Args>),
    Create(Box<create::Args>),
    Start(start::Args),
    Stop(control::Stop),
    Restart(control::Restart),
    Kill(control::Kill),
    Pause(control::Pause),
    Unpause(control::Unpause),
    Wait(wait::Args),
    Attach(attach::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Cp(cp::Args),
    Diff(diff::Args),
    Commit(commit::Args),
    Export(export::Args),
    Inspect(inspect::Args),
}

#[derive(Debug, Subcommand)]
pub(super) enum System {
    Check(check::Args),
    Df(df::Args),
    Prune(prune::Everything),
    Events(events::Args),
    Info(info::Args),
}
