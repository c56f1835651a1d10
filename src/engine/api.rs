//! What a front end can ask of the engine, and what it gets back: plain data.
//!
//! Every front end (the command line today, a daemon's socket later) sends a
//! [`Request`], hears [`Event`]s while it waits, and receives a [`Reply`] or a
//! [`Failure`]. Nothing here acts; [`Call`] only ties a request to its reply, so
//! that a caller gets the right type back without matching on the whole enum.
//!
//! Times are milliseconds since the epoch, sizes are bytes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::container::PullPolicy;
use crate::model::limits::CgroupDriver;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::model::storage::StorageDriver;

mod answers;
mod build;
mod changes;
mod check;
mod describe;
mod events;
mod exec;
mod failure;
mod files;
mod happenings;
mod info;
mod lifecycle;
mod lists;
mod logins;
mod logs;
mod names;
mod networks;
mod processes;
mod push;
mod room;
mod volumes;

pub use answers::{
    ContainerRemoved, ContainerSummary, ImageName, ImageRemoval, ImageSummary, Imported, Pulled, Saved, Tagged,
};
pub use build::{Build, BuildAgent, BuildInput, BuildOutput, BuildRoom, BuildSecret, BuildsPruned, Built, PruneBuilds};
pub use changes::{RenameContainer, Renamed, UpdateContainer, Updated};
pub use check::{Check, Finding};
pub use describe::{DescribeContainer, Described};
pub use events::{Event, LayerProgress, LayerSize};
pub use exec::{Exec, Executed};
pub use failure::{Failure, FailureKind};
pub use files::{
    ChangeKind, Changed, Commit, Committed, Copied, CopyFiles, Export, Exported, HistoryStep, ListChanges, ListHistory,
    Place,
};
pub use happenings::{HappeningFilter, Happenings, Position, ReadFrom, ReadHappenings};
pub use info::{Disk, Driver, DriverState, Info};
pub use lifecycle::{
    Act, Acted, Action, Attach, AttachOptions, Attached, Create, Created, Ended, ListDue, Ran, Run, Start,
    StartAttached, Started, Wait,
};
pub use lists::{ChangeList, InspectList, ListChange, ListChanged, ListInspected, ListMade, MakeList, MemberFacts};
pub use logins::{GetLogin, LoggedIn, LoggedOut, Login, LoginFound, Logout, Password};
pub use logs::{LogShown, ShowLog};
pub use names::{ListNames, Named};
pub use networks::{
    ConnectNetwork, CreateNetwork, DisconnectNetwork, ListNetworks, NetworkConnected, NetworkCreated,
    NetworkDisconnected, NetworkRemoved, NetworkSummary, RemoveNetwork,
};
pub use processes::{ListProcesses, Process, Processes, ReadUsage, Usage};
pub use push::{Push, Pushed};
pub use room::{DiskUsage, GetDiskUsage, ImageRoom, Prune, PruneFilter, PruneImages, PruneVolumes, Pruned, VolumeRoom};
pub use volumes::{CreateVolume, ListVolumes, RemoveVolume, VolumeCreated, VolumeRemoved, VolumeSummary};

impl Source {
    /// Says which source it was whose bytes are no good.
    pub(super) fn blame(&self, mut failure: Failure) -> Failure {
        let name = match self {
            Self::Path(path) => path.display().to_string(),
            Self::Standard => "standard input".to_owned(),
        };
        if failure.kind == FailureKind::Corrupt && !failure.message.contains(&name) {
            failure.message = format!("{name}: {}", failure.message);
        }
        match (failure.kind, self) {
            (FailureKind::Corrupt, _) => failure
                .hint("`file` tells what it is; an archive comes from docker save, podman save or tar".to_owned()),
            (FailureKind::Interrupted, _) => failure,
            (_, Self::Path(_)) if failure.hint.is_none() => failure.hint(format!("ls -l {name}")),
            _ => failure,
        }
    }
}

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
    /// The one of them that gets new logins; none where there is no place for it.
    #[serde(default)]
    pub auth_target: Option<PathBuf>,
    /// `registries.conf` files and `.d` directories, in the order they apply.
    pub registries_conf: Vec<PathBuf>,
    /// Directories of blobs that are looked into before a registry is asked; the first one gets what comes.
    #[serde(default)]
    pub blob_caches: Vec<PathBuf>,
    /// Directories with one directory of certificates a registry host.
    pub certs_dirs: Vec<PathBuf>,
    /// The directories of `PATH`, where credential helpers are looked for.
    pub helper_dirs: Vec<PathBuf>,
    /// Hosts of token servers that may have the credentials of any registry.
    pub allow_realms: Vec<String>,
    /// Proxies for registries.
    pub proxies: ProxySettings,
    /// The cgroup driver that has to be used; none for the one that suits this host.
    #[serde(default)]
    pub cgroup_driver: Option<CgroupDriver>,
    /// The directory below which cgroups are made, if the user has named one.
    #[serde(default)]
    pub cgroup_root: Option<PathBuf>,
    /// Where the environment says that the bus is.
    #[serde(default)]
    pub bus_address: Option<String>,
    /// The storage driver that has to be used; none for the fastest that works.
    #[serde(default)]
    pub storage_driver: Option<StorageDriver>,
}

/// `https_proxy`, `http_proxy` and `no_proxy`, as they stand in the environment.
/// They may have passwords in them, so they are not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySettings {
    /// For https.
    pub https: Option<String>,
    /// For http.
    pub http: Option<String>,
    /// Hosts that are reached directly.
    pub except: Option<String>,
}

impl std::fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxySettings").finish_non_exhaustive()
    }
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
    /// Whether names move here from other images that have them.
    pub force: bool,
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
    /// Whether containers are measured.
    pub sizes: bool,
}

/// Lists containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Which ones, the newest first.
    pub scope: ContainerScope,
    /// All of these have to hold, where those of one kind are alternatives
    /// (labels are not); see [`super::filter`].
    pub filters: Vec<ContainerFilter>,
    /// Whether to measure what each takes.
    pub sizes: bool,
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
    /// The name matches this regular expression somewhere.
    Name(String),
    /// The state's word, as [`crate::model::lifecycle::Lifecycle::word`] has it.
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
    /// The word of its health: `starting`, `healthy`, `unhealthy`, or `none` for one without.
    Health(String),
    /// It mounts this volume, or this path of the host, or something in this place.
    Volume(String),
    /// It is in this network.
    Network(String),
    /// It was made before this one: a name, an id or a prefix of one.
    Before(String),
    /// It was made after this one.
    Since(String),
}

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
    Run(Run) -> Ran(Ran),
    Create(Create) -> Created(Created),
    Start(Start) -> Started(Started),
    Attach(Attach) -> Attached(Attached),
    ListDue(ListDue) -> Due(Vec<String>),
    Act(Act) -> Acted(Acted),
    Wait(Wait) -> Ended(Ended),
    Exec(Exec) -> Executed(Executed),
    ShowLog(ShowLog) -> LogShown(LogShown),
    CopyFiles(CopyFiles) -> Copied(Copied),
    Export(Export) -> Exported(Exported),
    ListChanges(ListChanges) -> Changes(Vec<Changed>),
    Commit(Commit) -> Committed(Committed),
    CreateVolume(CreateVolume) -> VolumeCreated(VolumeCreated),
    ListVolumes(ListVolumes) -> Volumes(Vec<VolumeSummary>),
    RemoveVolume(RemoveVolume) -> VolumeRemoved(VolumeRemoved),
    CreateNetwork(CreateNetwork) -> NetworkCreated(NetworkCreated),
    ListNetworks(ListNetworks) -> Networks(Vec<NetworkSummary>),
    RemoveNetwork(RemoveNetwork) -> NetworkRemoved(NetworkRemoved),
    ConnectNetwork(ConnectNetwork) -> NetworkConnected(NetworkConnected),
    DisconnectNetwork(DisconnectNetwork) -> NetworkDisconnected(NetworkDisconnected),
    ListHistory(ListHistory) -> History(Vec<HistoryStep>),
    Build(Build) -> Built(Built),
    PruneBuilds(PruneBuilds) -> BuildsPruned(BuildsPruned),
    Pull(Pull) -> Pulled(Pulled),
    Push(Push) -> Pushed(Vec<Pushed>),
    MakeList(MakeList) -> ListMade(ListMade),
    ChangeList(ChangeList) -> ListChanged(ListChanged),
    InspectList(InspectList) -> ListInspected(ListInspected),
    Login(Login) -> LoggedIn(LoggedIn),
    GetLogin(GetLogin) -> LoginFound(LoginFound),
    Logout(Logout) -> LoggedOut(LoggedOut),
    ListImages(ListImages) -> Images(Vec<ImageSummary>),
    RemoveImage(RemoveImage) -> ImageRemoved(Vec<ImageRemoval>),
    Import(Import) -> Imported(Imported),
    Load(Load) -> Loaded(Vec<Imported>),
    Save(Save) -> Saved(Saved),
    Tag(Tag) -> Tagged(Tagged),
    Inspect(Inspect) -> Document(serde_json::Value),
    DescribeContainer(DescribeContainer) -> Described(Described),
    ListContainers(ListContainers) -> Containers(Vec<ContainerSummary>),
    RemoveContainer(RemoveContainer) -> ContainerRemoved(ContainerRemoved),
    Check(Check) -> Findings(Vec<Finding>),
    ListNames(ListNames) -> Names(Vec<Named>),
    GetInfo(GetInfo) -> Info(Info),
    ReadHappenings(ReadHappenings) -> Happenings(Happenings),
    RenameContainer(RenameContainer) -> Renamed(Renamed),
    ListProcesses(ListProcesses) -> Processes(Processes),
    ReadUsage(ReadUsage) -> Usage(Vec<Usage>),
    GetDiskUsage(GetDiskUsage) -> DiskUsage(DiskUsage),
    Prune(Prune) -> Pruned(Pruned),
    UpdateContainer(UpdateContainer) -> Updated(Updated),
}
