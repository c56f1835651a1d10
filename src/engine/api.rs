//! What a front end can ask of the engine, and what it gets back: plain data.
//!
//! Every front end (the command line today, a daemon's socket later) sends a
//! [`Request`], hears [`Event`]s while it waits, and receives a [`Reply`] or a
//! [`Failure`]. Nothing here acts; [`Call`] only ties a request to its reply, so
//! that a caller gets the right type back without matching on the whole enum.
//!
//! Times are milliseconds since the epoch, sizes are bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::container::{ContainerRequest, PullPolicy};
use crate::model::digest::Digest;
use crate::model::id::{ContainerId, ContainerName};
use crate::model::lifecycle::Lifecycle;
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// What the engine has to know of its surroundings. The front end reads the
/// environment; nothing below it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where everything is kept; absolute.
    pub root: PathBuf,
    /// Our own program, for the personas that the engine starts.
    pub program: PathBuf,
    /// Credential files in the order they are asked; missing ones are fine.
    pub auth_files: Vec<PathBuf>,
    /// `registries.conf` files and `.d` directories, in the order they apply.
    pub registries_conf: Vec<PathBuf>,
    /// Directories with one directory of certificates a registry host.
    pub certs_dirs: Vec<PathBuf>,
}

/// Runs a container in the foreground and waits for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The container, as asked for.
    pub request: ContainerRequest,
}

/// Brings an image from its registry into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Which image.
    pub reference: Reference,
    /// For which platform; the host's if none.
    pub platform: Option<Platform>,
    /// Whether an image that is already here is enough.
    pub policy: PullPolicy,
}

/// Lists images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListImages {}

/// Takes one name from an image; with its last name goes the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveImage {
    /// A reference, a digest, an id or a prefix of an id.
    pub name: String,
    /// All names at once, and stopped containers of the image too.
    pub force: bool,
}

/// Makes an image of one layer from a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// A tar archive (plain, gzip or zstd), or a directory.
    pub source: Source,
    /// The image's name, if it gets one.
    pub reference: Option<Reference>,
    /// Which platform the files are for; the host's if none.
    pub platform: Option<Platform>,
    /// The comment of the one history entry.
    pub message: Option<String>,
    /// `Dockerfile` lines that change the configuration: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
}

/// Reads images from an archive that `docker save` or `podman save` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// A docker-archive or oci-archive (plain, gzip or zstd), or an OCI layout directory.
    pub source: Source,
}

/// Writes images to an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Save {
    /// References, ids or prefixes of ids.
    pub images: Vec<String>,
    /// Which kind of archive.
    pub format: ArchiveFormat,
    /// Where the archive goes.
    pub target: Source,
}

/// Gives an image one more name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The image: a reference, an id or a prefix of one.
    pub image: String,
    /// The new name.
    pub reference: Reference,
}

/// Shows all that is known of one object, in docker's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// A name, an id or a prefix of one.
    pub name: String,
    /// Which kind of object; containers come before images if none is given.
    pub kind: Option<ObjectKind>,
}

/// Lists containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Which ones, the newest first.
    pub scope: ContainerScope,
    /// All of these have to hold, where those of one kind are alternatives
    /// (labels are not); see [`super::filter`].
    pub filters: Vec<ContainerFilter>,
}

/// Removes a container and what is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveContainer {
    /// A name, an id or a prefix of one.
    pub name: String,
    /// Whether a running one is killed first.
    pub force: bool,
    /// Whether its anonymous volumes go too.
    pub volumes: bool,
}

/// Tells of the engine, the host and what each of them can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetInfo {}

/// Where bytes come from or go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A file or directory; absolute.
    Path(PathBuf),
    /// The caller's standard input (load, import) or output (save).
    Standard,
}

/// A kind of image archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveFormat {
    /// What `docker save` writes: `manifest.json`, with an OCI layout beside it.
    #[default]
    DockerArchive,
    /// An OCI image layout in a tar archive.
    OciArchive,
}

/// What can be inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A container.
    Container,
    /// An image.
    Image,
}

/// Which containers a list shows, before its filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerScope {
    /// Those with processes.
    #[default]
    Running,
    /// All.
    All,
    /// The last so many that were made, in any state.
    Last(u32),
}

/// One `--filter` of a list of containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerFilter {
    /// The id starts with this.
    Id(String),
    /// The name contains this.
    Name(String),
    /// The state's word, as [`Lifecycle::word`] has it.
    Status(String),
    /// It has the label, with the value if one is given.
    Label {
        /// The label.
        key: String,
        /// Its value.
        value: Option<String>,
    },
    /// It was made from this image: a reference, an id or a prefix of one.
    Ancestor(String),
    /// It ended with this code.
    Exited(i32),
}

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// The digest of its configuration: what docker calls the image's id.
    pub id: Digest,
    /// Its names, sorted; none for an image that lost them.
    pub names: Vec<ImageName>,
    /// When it was built, if it says.
    pub created: Option<i64>,
    /// What it takes unpacked, shared layers counted in full.
    pub size: u64,
    /// How many containers were made from it.
    pub containers: u32,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
}

/// One name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// The name; with a digest and no tag if it was pulled so.
    pub reference: Reference,
    /// What the registry says the name means: the digest of an index or a manifest.
    pub digest: Option<Digest>,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as it was typed.
    pub image: String,
    /// The id of that image.
    pub image_id: Digest,
    /// Program and arguments of the first process.
    pub command: Vec<String>,
    /// When it was made.
    pub created: i64,
    /// Its state.
    pub lifecycle: Lifecycle,
    /// Its labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Sources of its mounts: volume names and host paths.
    pub mounts: Vec<String>,
    /// Its networks.
    pub networks: Vec<String>,
}

/// How a foreground container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which container.
    pub container: ContainerId,
    /// As a shell would report it: the exit code, or 128 + the signal.
    pub code: i32,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The complete name.
    pub reference: Reference,
    /// What the registry says the name means: the digest of an index or a manifest.
    pub digest: Digest,
    /// The image's id.
    pub id: Digest,
    /// Whether the store had another image by that name, or none.
    pub changed: bool,
}

/// What removing an image did, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageRemoval {
    /// The name is gone.
    Untagged(Reference),
    /// The image is gone.
    Deleted(Digest),
}

/// An image that came from an archive or a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The image's id.
    pub id: Digest,
    /// Its names; none if the archive gave it none.
    pub references: Vec<Reference>,
}

/// What a save wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The archive's size.
    pub bytes: u64,
}

/// The image that got a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    /// Its id.
    pub id: Digest,
}

/// The container that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRemoved {
    /// Its id.
    pub id: ContainerId,
}

/// The engine, the host and what each driver can do. Names are docker's where
/// docker has one, because `info --format` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// Our version.
    pub server_version: String,
    /// Where everything is kept.
    #[serde(rename = "PyboxRootDir")]
    pub root: PathBuf,
    /// Bytes used and free on the root's file system.
    pub disk: Disk,
    /// Which kind of file system the root is on.
    pub backing_filesystem: String,
    /// The storage driver in use.
    pub driver: String,
    /// Whether we run without root.
    pub rootless: bool,
    /// Our user id.
    pub user_id: u32,
    /// Our group id.
    pub group_id: u32,
    /// The map of a container's user ids, as `inside outside count` lines.
    #[serde(rename = "UIDMap")]
    pub uid_map: Vec<String>,
    /// The map of a container's group ids.
    #[serde(rename = "GIDMap")]
    pub gid_map: Vec<String>,
    /// `uname -r`.
    pub kernel_version: String,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// Always `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// As `uname -m` says it.
    pub architecture: String,
    /// Processors we may run on.
    #[serde(rename = "NCPU")]
    pub cpus: usize,
    /// The machine's memory.
    pub mem_total: u64,
    /// The machine's name.
    pub name: String,
    /// `1`, `2`, or empty where there are none.
    pub cgroup_version: String,
    /// The network modes that `--network` takes.
    pub networks: Vec<String>,
    /// `seccomp`, `apparmor`, `selinux`, `rootless` where they are active.
    pub security_options: Vec<String>,
    /// How many containers there are.
    pub containers: u64,
    /// How many of them run.
    pub containers_running: u64,
    /// How many are frozen.
    pub containers_paused: u64,
    /// How many have ended or never started.
    pub containers_stopped: u64,
    /// How many images there are.
    pub images: u64,
    /// What was probed, in the order it is needed.
    pub drivers: Vec<Driver>,
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Disk {
    /// What our root holds; 0 if it was not measured.
    pub used: u64,
    /// What an unprivileged user can still write.
    pub available: u64,
}

/// One thing the engine relies on, and whether this host has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Driver {
    /// As in `user namespace`.
    pub name: String,
    /// Whether it can be used.
    pub state: DriverState,
}

/// Whether a driver can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase")]
pub enum DriverState {
    /// It can.
    Ready {
        /// With what, as in `0 1000 1, 1 100000 65536`.
        detail: String,
    },
    /// It cannot.
    Unfit {
        /// One sentence.
        why: String,
        /// What to do about it; a command where there is one.
        hint: Option<String>,
    },
}

/// What is heard while a request is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Something to know; the request goes on.
    Warning(String),
    /// The registry is asked what a name means.
    Resolving(Reference),
    /// It has answered: these layers make the image, the lowest first.
    Layers(Vec<LayerSize>),
    /// A layer went on.
    Layer {
        /// Which one, by the digest of its compressed bytes.
        digest: Digest,
        /// How far it is.
        progress: LayerProgress,
    },
    /// All layers are here and the image is being written down.
    Committing,
}

/// A layer that a pull is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    /// The digest of its compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerProgress {
    /// The store has it already.
    Present,
    /// So many compressed bytes have come (they are unpacked as they come).
    Downloaded(u64),
    /// The registry failed us; we ask again.
    Retrying {
        /// Which attempt this is, from 2.
        attempt: u32,
        /// What went wrong.
        why: String,
    },
    /// All bytes are here, checked; the last of them are being unpacked.
    Unpacking,
    /// It is unpacked.
    Done,
}

/// Why a request came to nothing: one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure, for exit codes and for callers that want to go on.
    pub kind: FailureKind,
    /// The sentence, with its causes joined by `: `; lower case, no full stop.
    pub message: String,
    /// What to do about it; begins with a command where there is one.
    pub hint: Option<String>,
}

/// Sorts of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// What was asked for makes no sense.
    Invalid,
    /// There is no such image, container or file.
    NotFound,
    /// The name is taken, or the object is in use.
    Conflict,
    /// The registry wants other credentials, or none will do.
    Denied,
    /// The registry cannot be reached, or fails.
    Unreachable,
    /// What came from a registry or an archive is not what it claims to be.
    Corrupt,
    /// This host lacks something, or forbids it.
    Host,
    /// No room is left on the disk.
    NoSpace,
    /// The store cannot be read or written.
    Store,
    /// The container's command is there but cannot be executed (exit code 126).
    CommandNotExecutable,
    /// The container's command is not there (exit code 127).
    CommandNotFound,
    /// The user asked us to stop.
    Interrupted,
    /// A fault of ours.
    Internal,
}

impl Failure {
    /// A failure of `kind` that `error` and its causes explain.
    pub fn new(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // `#[error(transparent)]` and careless libraries say the same twice.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { kind, message, hint: None }
    }

    /// A failure of `kind` in these words.
    pub fn say(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same, with advice; `None` keeps the advice it has.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A request that knows the type of its reply.
pub trait Call: Into<Request> {
    /// What the engine answers.
    type Answer: TryFrom<Reply, Error = Failure>;
}

macro_rules! calls {
    ($($request:ident($asked:ty) -> $reply:ident($answer:ty)),* $(,)?) => {
        /// Everything a front end can ask for.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Request {
            $(#[doc = concat!("See [`", stringify!($asked), "`].")] $request(Box<$asked>),)*
        }

        /// Everything the engine can answer.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reply {
            $(#[doc = concat!("The answer to [`", stringify!($asked), "`].")] $reply(Box<$answer>),)*
        }

        $(
            impl From<$asked> for Request {
                fn from(request: $asked) -> Self {
                    Self::$request(Box::new(request))
                }
            }

            impl From<$answer> for Reply {
                fn from(answer: $answer) -> Self {
                    Self::$reply(Box::new(answer))
                }
            }

            impl TryFrom<Reply> for $answer {
                type Error = Failure;

                fn try_from(reply: Reply) -> Result<Self, Failure> {
                    match reply {
                        Reply::$reply(answer) => Ok(*answer),
                        _ => Err(Failure::say(FailureKind::Internal, "the engine answered another question")),
                    }
                }
            }

            impl Call for $asked {
                type Answer = $answer;
            }
        )*
    };
}

calls! {
    Run(Run) -> Exited(Exit),
    Pull(Pull) -> Pulled(Pulled),
    ListImages(ListImages) -> Images(Vec<ImageSummary>),
    RemoveImage(RemoveImage) -> ImageRemoved(Vec<ImageRemoval>),
    Import(Import) -> Imported(Imported),
    Load(Load) -> Loaded(Vec<Imported>),
    Save(Save) -> Saved(Saved),
    Tag(Tag) -> Tagged(Tagged),
    Inspect(Inspect) -> Document(serde_json::Value),
    ListContainers(ListContainers) -> Containers(Vec<ContainerSummary>),
    RemoveContainer(RemoveContainer) -> ContainerRemoved(ContainerRemoved),
    GetInfo(GetInfo) -> Info(Info),
}
