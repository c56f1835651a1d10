//! The tree of the command line. Each verb's own options stand in its file.

use std::ffi::OsString;

use clap::{ArgMatches, Args, FromArgMatches as _, Parser, Subcommand};

use super::commands::{
    attach, build, builder, check, commit, control, cp, create, df, diff, events, exec, export, generate, history,
    images, import, info, inspect, install_completion, load, login, logout, logs, manifest, network, port, prune, ps,
    pull, push, quadlet, rename, rm, rmi, run, save, start, stats, tag, top, update, version, volume, wait,
};
use super::environment::Wishes;
use super::usage::settle_switches;
use crate::model::limits::CgroupDriver;
use crate::model::storage::StorageDriver;

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

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Keep everything below DIR [env: PYBOX_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<std::path::PathBuf>,

    /// Who makes root file systems: overlay, hybrid or fuse [env: PYBOX_STORAGE_DRIVER]
    #[arg(long, global = true, value_name = "NAME")]
    storage_driver: Option<StorageDriver>,

    /// Who makes cgroups: scope (systemd), delegated, direct (root) or none [env: PYBOX_CGROUP_DRIVER]
    #[arg(long, global = true, value_name = "NAME")]
    cgroup_driver: Option<CgroupDriver>,

    /// Say how things are done, on standard error
    #[arg(short = 'D', long, global = true)]
    debug: bool,

    /// How much to say: off, error, warn, info, debug or trace [env: PYBOX_LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Adds a verb's own options to its command.
type Augment = fn(clap::Command) -> clap::Command;

/// The verbs of which a tree without the others is made first: the tree of all of them takes
/// longer to make (a millisecond) than most of them take.
const OFTEN: [(&str, Augment); 11] = [
    ("run", run::Args::augment_args),
    ("create", create::Args::augment_args),
    ("start", start::Args::augment_args),
    ("stop", control::Stop::augment_args),
    ("kill", control::Kill::augment_args),
    ("exec", exec::Args::augment_args),
    ("logs", logs::Args::augment_args),
    ("images", images::Args::augment_args),
    ("inspect", inspect::Args::augment_args),
    ("ps", ps::Args::augment_args),
    ("rm", rm::Args::augment_args),
];

impl Arguments {
    /// What `words` mean, if they begin with a verb that is used often and mean anything; what is
    /// wrong with them otherwise is for the whole tree to say.
    pub(super) fn quickly(words: &[OsString]) -> Option<Self> {
        let verb = words.get(1)?.to_str()?;
        let tree = Self::tree_of(verb)?;
        let words = settle_switches(&tree, words.to_vec());
        let matches = tree.try_get_matches_from(words).ok()?;
        Self::read(&matches).ok()
    }

    /// A tree with `verb` alone, if it is used often.
    fn tree_of(verb: &str) -> Option<clap::Command> {
        let (name, augment) = OFTEN.iter().find(|(often, _)| *often == verb)?;
        let verb = augment(clap::Command::new(*name));
        Some(Global::augment_args(clap::Command::new("pybox")).subcommand(verb))
    }

    fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (global, command) = (Global::from_arg_matches(matches)?, Command::from_arg_matches(matches)?);
        Ok(Self { version: None, global, command })
    }

    /// The global options.
    pub(crate) fn wishes(&self) -> Wishes {
        let Global { root, storage_driver, cgroup_driver, debug, log_level } = self.global.clone();
        Wishes { root, storage_driver, cgroup_driver, debug, log_level }
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
    Build(Box<build::Args>),
    Pull(pull::Args),
    Push(push::Args),
    Login(login::Args),
    Logout(logout::Args),
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
    Update(Box<update::Args>),
    Port(port::Args),
    Top(top::Args),
    Stats(stats::Args),
    Events(events::Args),
    Check(check::Args),
    #[command(subcommand)]
    Builder(builder::Builder),
    #[command(subcommand)]
    Volume(volume::Volume),
    #[command(subcommand)]
    Network(network::Network),
    #[command(subcommand)]
    Manifest(manifest::Manifest),
    #[command(subcommand)]
    Quadlet(quadlet::Quadlet),
    #[command(subcommand)]
    Generate(generate::Generate),
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
    Build(Box<build::Args>),
    Pull(pull::Args),
    Push(push::Args),
    Import(import::Args),
    Load(load::Args),
    Save(save::Args),
    Tag(tag::Args),
    History(history::Args),
    Inspect(inspect::Args),
}

#[derive(Debug, Subcommand)]
pub(super) enum Container {
    Update(Box<update::Args>),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The options of a command as they are shown and understood.
    fn described(command: &clap::Command) -> Vec<String> {
        let describe = |arg: &clap::Arg| {
            let (names, values) =
                ((arg.get_short(), arg.get_all_aliases()), (arg.get_num_args(), arg.get_value_names()));
            format!("{arg} {names:?} {values:?} {:?} {:?}", arg.get_action(), arg.get_help())
        };
        command.get_arguments().map(describe).collect()
    }

    #[test]
    fn a_tree_of_one_verb_is_a_branch_of_the_whole_tree() {
        let mut whole = Arguments::command();
        whole.build();
        for (verb, _) in OFTEN {
            let mut alone = Arguments::tree_of(verb).expect("a tree");
            alone.build();
            let branch = |tree: &clap::Command| tree.find_subcommand(verb).map(described).expect(verb);
            assert_eq!(branch(&alone), branch(&whole), "{verb}");
        }
    }

    #[test]
    fn words_mean_the_same_in_both_trees() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "pybox run --rm=true --name web -it debian sh -c --rm=true",
            "pybox run --root /r --image debian -- true",
            "pybox ps -aq --format {{.ID}} --root /r",
            "pybox exec -it web sh",
            "pybox rm -f one two",
        ] {
            let whole = Arguments::command().get_matches_from(settle_switches(&Arguments::command(), words(line)));
            let whole = Arguments::read(&whole).expect(line);
            let quick = Arguments::quickly(&words(line)).expect(line);
            assert_eq!(format!("{quick:?}"), format!("{whole:?}"), "{line}");
        }
        for line in ["pybox", "pybox nosuch", "pybox run --nosuch x", "pybox --debug ps", "pybox run --help"] {
            assert!(Arguments::quickly(&words(line)).is_none(), "{line}");
        }
    }
}
