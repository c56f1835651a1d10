//! The answer to `info`: the engine, the host, and what was probed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Who makes the cgroups of containers.
    #[serde(default)]
    pub cgroup_driver: String,
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
    /// What the blobs of our root take: the layers as they were pulled, and what describes them.
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
