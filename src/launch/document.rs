//! The part of an OCI runtime document (runtime-spec 1.2, config.md and
//! config-linux.md) that a launch reads.
//!
//! Not the types of the `oci-spec` crate, which `spec` composes with: reading
//! those brings a regular expression engine and builders into the monitor,
//! a megabyte and a half that is copied into sealed memory at each start
//! (docs/PERFORMANCE.md). Fields that are not listed are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The first process.
    pub process: Option<Process>,
    /// The root file system.
    pub root: Option<Root>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Hooks, which are refused.
    pub hooks: Option<IgnoredAny>,
    /// Annotations; ours start with `dev.pybox.`.
    pub annotations: BTreeMap<String, String>,
    /// What is Linux's own.
    pub linux: Option<Linux>,
}

/// `process`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The terminal's size.
    pub console_size: Option<ConsoleSize>,
    /// Who it is.
    pub user: User,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Whether it can gain nothing by executing a file.
    pub no_new_privileges: bool,
    /// AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// Score for the kernel's OOM killer.
    pub oom_score_adj: Option<i32>,
    /// SELinux label.
    pub selinux_label: Option<String>,
}

/// `process.consoleSize`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// `process.user`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// umask.
    pub umask: Option<u32>,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
}

/// `process.capabilities`: names as `CAP_CHOWN`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What no execution can give back once it is gone.
    pub bounding: Vec<String>,
    /// What counts now.
    pub effective: Vec<String>,
    /// What can be made effective.
    pub permitted: Vec<String>,
    /// What a file's inheritable set can raise.
    pub inheritable: Vec<String>,
    /// What stays over an execution without root.
    pub ambient: Vec<String>,
}

/// An entry of `process.rlimits`.
#[derive(Debug, Deserialize)]
pub struct Rlimit {
    /// As in `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// `root`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Root {
    /// The directory, relative to the bundle.
    pub path: String,
    /// Whether it is read-only.
    pub readonly: bool,
}

/// An entry of `mounts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Where.
    pub destination: String,
    /// File system type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Device, name or path.
    pub source: Option<String>,
    /// Options as of fstab(5).
    pub options: Vec<String>,
}

/// `linux`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    /// User id map.
    pub uid_mappings: Vec<IdMapping>,
    /// Group id map.
    pub gid_mappings: Vec<IdMapping>,
    /// Settings of the kernel, names in dots.
    pub sysctl: BTreeMap<String, String>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Devices beside the default ones.
    pub devices: Vec<Device>,
    /// Propagation of the root mount.
    pub rootfs_propagation: Option<String>,
    /// Paths that are hidden.
    pub masked_paths: Vec<String>,
    /// Paths that are read-only.
    pub readonly_paths: Vec<String>,
}

/// A line of an id map.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// An entry of `linux.namespaces`.
#[derive(Debug, Deserialize)]
pub struct Namespace {
    /// As in `mount`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An existing one.
    #[serde(default)]
    pub path: Option<String>,
}

/// An entry of `linux.devices`.
#[derive(Debug, Deserialize)]
pub struct Device {
    /// Where.
    pub path: String,
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Major number.
    #[serde(default)]
    pub major: u32,
    /// Minor number.
    #[serde(default)]
    pub minor: u32,
}
