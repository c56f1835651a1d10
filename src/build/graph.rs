//! Stages and their steps: what both kinds of files are read to.
//!
//! Texts stand here as they were written, variables and all: what they mean depends on the
//! image that a stage begins with, and on the arguments of the build (see [`super::state`]).

use serde::Serialize;

use super::Position;
use super::expand::Quotes;
use crate::model::permissions::Permissions;

/// All that one file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// What the image is called if nobody says otherwise.
    pub name: Option<String>,
    /// Arguments that the bases may use.
    pub arguments: Vec<Argument>,
    /// In the order of the file; the last one is the image.
    pub stages: Vec<Stage>,
    /// What quotes mean in its texts.
    pub quotes: Quotes,
}

/// An argument of the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value, unless the command line gives another.
    pub default: Option<String>,
}

/// One image in the making.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// What other stages call it.
    pub name: Option<String>,
    /// What it begins with: an image, an earlier stage, `scratch`, `rootfs:…` or `debootstrap:…`.
    pub base: String,
    /// Which platform of it, if not the build's.
    pub platform: Option<String>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// Where it stands.
    pub position: Position,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it is called.
    pub name: Option<String>,
    /// How progress and history show it.
    pub shown: String,
    /// What is done.
    pub action: Action,
    /// Where it stands.
    pub position: Position,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Run a command, and keep what it changes.
    Run(Run),
    /// Bring files in.
    Copy(Copy),
    /// Declare an argument.
    Argument(Argument),
    /// Set variables.
    Environment(Vec<(String, String)>),
    /// Change the working directory; it is made.
    Directory(String),
    /// Change the user.
    User(String),
    /// Add labels.
    Labels(Vec<(String, String)>),
    /// Name ports, as in `80` or `53/udp`.
    Expose(Vec<String>),
    /// Name directories that are volumes.
    Volumes(Vec<String>),
    /// The program of the image.
    Entrypoint(Command),
    /// Its arguments, or the program where there is no entrypoint.
    Command(Command),
    /// How to see whether it is well; none for not at all.
    Health(Option<Health>),
    /// What runs commands that are text.
    Shell(Vec<String>),
    /// What stops it.
    StopSignal(String),
    /// Who made it.
    Author(String),
    /// An instruction of a Dockerfile for those who build on the image.
    Trigger(String),
}

/// A command: words, or text for a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Executed as they are.
    Words(Vec<String>),
    /// For the shell of the stage.
    Text(String),
}

/// A command and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// What is mounted meanwhile.
    pub mounts: Vec<Mount>,
    /// Which network, if not the build's: `none`, `host`, `default`.
    pub network: Option<String>,
    /// Variables for this command alone.
    pub environment: Vec<(String, String)>,
}

/// Something that a command sees, and the image does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// A directory that stays from build to build.
    Cache(Cache),
    /// A file of the caller's.
    Secret {
        /// Which one.
        id: String,
        /// Where it is seen, if anywhere.
        target: Option<String>,
        /// The variable that has it, if any.
        variable: Option<String>,
        /// Whether it is a mistake not to give it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// Whose it is: user and group.
        owner: (u32, u32),
    },
    /// The caller's agent of ssh.
    Ssh(Ssh),
    /// Files of the context, another stage or an image.
    Bind {
        /// A stage or an image; none for the context.
        from: Option<String>,
        /// The path there.
        source: String,
        /// Where it is seen.
        target: String,
        /// Whether it can be written to; what is written is gone after the step.
        writable: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where it is seen.
        target: String,
        /// How much, in bytes.
        size: Option<u64>,
    },
}

/// A socket behind which the caller's agent of ssh answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssh {
    /// Which one.
    pub id: String,
    /// Where it is seen, if not where programs that know of builds look for it.
    pub target: Option<String>,
    /// Whether it is a mistake not to give it.
    pub required: bool,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Whose the socket is: user and group.
    pub owner: (u32, u32),
}

impl Ssh {
    /// What an agent is called that nobody has given a name.
    pub const USUAL: &str = "default";
    /// Permission bits of a socket that nobody has given others.
    pub const MODE: u32 = 0o600;

    /// Where the agent is seen that is the `number`th of its step, counted from zero.
    pub fn place(&self, number: usize) -> String {
        self.target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}"))
    }
}

/// A directory that stays from build to build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Which one.
    pub id: String,
    /// Where it is seen.
    pub target: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// What becomes of steps that want it at the same time.
    pub sharing: Sharing,
    /// A stage or an image that a new one has its files from.
    pub from: Option<String>,
    /// The directory there.
    pub source: String,
    /// Whose a new one is: user and group.
    pub owner: (u32, u32),
    /// Permission bits of a new one.
    pub mode: Option<u32>,
}

/// What becomes of steps that want the same cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// They all have it.
    #[default]
    Shared,
    /// Each has one that nobody else has meanwhile.
    Private,
    /// They wait for each other.
    Locked,
}

impl Sharing {
    /// The words for it.
    pub const WORDS: [&str; 3] = ["shared", "private", "locked"];

    /// What a word means.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "shared" => Some(Self::Shared),
            "private" => Some(Self::Private),
            "locked" => Some(Self::Locked),
            _ => None,
        }
    }
}

/// Files that come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// A stage or an image; none for the context.
    pub from: Option<String>,
    /// Paths there, or patterns; and addresses, if these are taken.
    pub sources: Vec<String>,
    /// Whether what looks like an address is downloaded.
    pub addresses: bool,
    /// The digest of what is downloaded, as `sha256:…`.
    pub checksum: Option<String>,
    /// Whether directories above what is copied are made, too.
    pub parents: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Files that the build file itself has: name and content.
    pub inline: Vec<Inline>,
    /// Where they go; a slash at the end makes it a directory.
    pub to: String,
    /// `user[:group]`, whose they become.
    pub owner: Option<String>,
    /// What becomes of their permission bits.
    pub mode: Option<Permissions>,
    /// Whether archives are unpacked.
    pub unpack: bool,
}

/// A file that stands in the build file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inline {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Whether variables are replaced.
    pub expand: bool,
}

/// A health check; times are nanoseconds, as images have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What is run.
    pub command: Option<Command>,
    /// From check to check.
    pub interval: Option<u64>,
    /// How long one may take.
    pub timeout: Option<u64>,
    /// How long it may fail at first.
    pub start_period: Option<u64>,
    /// How long between checks meanwhile.
    pub start_interval: Option<u64>,
    /// How many failures make it unhealthy.
    pub retries: Option<u64>,
}
