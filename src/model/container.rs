//! What a user asks of a container: the flags of `run`, resolved into types.
//!
//! The command line builds a [`ContainerRequest`], the engine keeps it beside
//! the container, and `spec` turns it into an OCI document.

use serde::{Deserialize, Serialize};

use super::id::ContainerName;
use super::limits::{CgroupRequest, Limits};
use super::network::{Attachment, Mac};
use super::platform::Platform;
use super::port::Published;
use super::supervision::{HealthRequest, LogRequest, RestartPolicy};

/// Everything `run` and `create` take, apart from how to attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRequest {
    /// The image as it was typed: a reference, an id or a prefix of one.
    pub image: String,
    /// The arguments after the image; empty means the image's own.
    pub command: Vec<String>,
    /// `--entrypoint`; an empty list clears the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `--name`.
    pub name: Option<ContainerName>,
    /// `--rm`: nothing stays when the container has ended.
    pub remove: bool,
    /// `-i`: standard input stays open.
    pub interactive: bool,
    /// `-t`: a terminal of its own.
    pub tty: bool,
    /// `-e` and `--env-file`, in order; later ones win.
    pub env: Vec<(String, String)>,
    /// `-v`, `--mount` and `--tmpfs`, in order.
    pub mounts: Vec<Mount>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`: `user[:group]`, by name or number.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: NetworkMode,
    /// The container whose network it is, by name or id as it was typed, with [`NetworkMode::Container`].
    pub network_of: Option<String>,
    /// The networks of many that it is on; the first one leads out, if it leads anywhere.
    pub attachments: Vec<Attachment>,
    /// `--mac-address` of a network of its own.
    pub mac: Option<Mac>,
    /// Whether it was named by the user, and so is not to be done without.
    pub network_named: bool,
    /// `-p`; those of `-P` are added when the image is known.
    pub ports: Vec<Published>,
    /// `-P`: publish what the image exposes.
    pub publish_all: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--cap-add`, upper case with `CAP_`; or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, the same.
    pub cap_drop: Vec<String>,
    /// `--security-opt`.
    pub security: Security,
    /// `--privileged`.
    pub privileged: bool,
    /// `--init`: a reaper as first process.
    pub init: bool,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--add-host`: name and address; the address may be `host-gateway`.
    pub add_hosts: Vec<(String, String)>,
    /// `--dns`.
    pub dns: Vec<std::net::IpAddr>,
    /// `--dns-search`; a single dot is none at all.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--label`.
    pub labels: std::collections::BTreeMap<String, String>,
    /// `--pull`.
    pub pull: PullPolicy,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--userns`.
    pub userns: UserNamespace,
    /// `--sysctl`, name in dots and value.
    pub sysctls: Vec<(String, String)>,
    /// `--stop-signal` as a number.
    pub stop_signal: Option<i32>,
    /// `--memory`, `--cpus`, `--pids-limit` and their like.
    pub limits: Limits,
    /// `--oom-score-adj`: how gladly the kernel kills it when memory is scarce.
    pub oom_score_adj: Option<i32>,
    /// Where its cgroup is, and who sees it.
    pub cgroup: CgroupRequest,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--health-*`.
    pub health: HealthRequest,
    /// `--log-driver`, `--log-opt`.
    pub log: LogRequest,
    /// `--timeout`: seconds until it is stopped.
    pub timeout: Option<u64>,
    /// `--stop-timeout`: seconds between the stop signal and SIGKILL; none for ten.
    pub stop_timeout: Option<u64>,
}

/// One mount that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where in the container; absolute, without `..`.
    pub target: String,
    /// Whether it can be written.
    pub read_only: bool,
    /// Further options, each one of the closed list in `model::flags::mount`
    /// (`rslave`, `noexec`, `size=…`, `mode=…`).
    pub options: Vec<String>,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A file or directory of the host, by absolute path.
    Bind {
        /// The path.
        path: String,
        /// Whether a missing directory is made (`-v`), or refused (`--mount`).
        create: bool,
    },
    /// A named volume.
    Volume(String),
    /// A volume without a name, gone with the container.
    AnonymousVolume,
    /// An empty file system in memory.
    Tmpfs,
}

/// `--network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A network namespace with a loopback interface only.
    #[default]
    None,
    /// The host's network.
    Host,
    /// A network namespace that pasta connects to the host's networks.
    Pasta,
    /// The same by slirp4netns, which publishes no ports.
    Slirp,
    /// A network namespace on networks that it shares with others.
    Bridge,
    /// The network namespace of another container.
    Container,
}

impl NetworkMode {
    /// As in `--network`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
            Self::Pasta => "pasta",
            Self::Slirp => "slirp4netns",
            Self::Bridge => "bridge",
            Self::Container => "container",
        }
    }

    /// Whether the network namespace is the container's own.
    pub fn is_own(self) -> bool {
        !matches!(self, Self::Host | Self::Container)
    }
}

/// `--security-opt`, gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=…`.
    pub seccomp: Seccomp,
    /// `apparmor=PROFILE`.
    pub apparmor: Option<String>,
    /// `label=disable`, `label=type:…`: SELinux, kept as typed.
    pub labels: Vec<String>,
    /// `mask=PATH[:PATH]`: masked beside the default ones.
    pub mask: Vec<String>,
    /// `unmask=ALL|PATH[:PATH]`: default masks and read-only paths that are left out.
    pub unmask: Vec<String>,
}

/// Which system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The profile that pybox ships.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in docker's JSON format: its text, read when the container was made.
    Profile(String),
}

/// `--ulimit name=soft[:hard]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; not below the soft one.
    pub hard: u64,
}

/// `--device host[:container[:rwm]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// A subset of `rwm`.
    pub permissions: String,
}

/// `--userns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserNamespace {
    /// Root inside is the user outside.
    #[default]
    Default,
    /// The user keeps the own id inside (`keep-id[:uid=U,gid=G]`).
    KeepId {
        /// Id inside, else the user's own.
        uid: Option<u32>,
        /// Group id inside, else the user's own.
        gid: Option<u32>,
    },
    /// No namespace of its own: root mode only.
    Host,
}

/// `--pull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Ask the registry each time.
    Always,
    /// Only if the image is not here.
    #[default]
    Missing,
    /// Never.
    Never,
    /// If the registry has another one than we have.
    Newer,
}
