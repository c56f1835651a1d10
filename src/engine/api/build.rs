//! Images made here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::compression::Compression;
use crate::model::container::NetworkMode;
use crate::model::digest::Digest;
use crate::model::limits::{CgroupRequest, Limits};
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// Makes an image as a `boxfile.toml` or `Dockerfile` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The directory whose files can be copied; absolute.
    pub context: PathBuf,
    /// The file; the one of the context that has a usual name if none.
    pub file: Option<PathBuf>,
    /// What the image is called.
    pub names: Vec<Reference>,
    /// Whether every step is done anew.
    pub fresh: bool,
    /// Whether bases are asked for at their registries.
    pub pull: bool,
    /// Arguments, by name.
    pub arguments: Vec<(String, String)>,
    /// Variables for commands that are in no image and no cache key: proxies.
    pub proxies: Vec<(String, String)>,
    /// The stage that is wanted; the last one if none.
    pub target: Option<String>,
    /// What steps may ask for by id.
    pub secrets: Vec<BuildSecret>,
    /// Agents of ssh that steps may ask for by id.
    pub agents: Vec<BuildAgent>,
    /// For which platform; the host's if none.
    pub platform: Option<Platform>,
    /// The network of commands.
    pub network: NetworkMode,
    /// Whether it was named by the user.
    pub network_named: bool,
    /// What each command may use.
    pub limits: Limits,
    /// The slice, or directory, that cgroups of commands are below.
    pub cgroup_parent: Option<String>,
    /// Names that commands know, and their addresses.
    pub hosts: Vec<(String, String)>,
    /// Labels of the image.
    pub labels: Vec<(String, String)>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// Where the files of the image go, if they are wanted as files.
    pub output: Option<BuildOutput>,
    /// What comes by standard input.
    pub standard: Option<BuildInput>,
    /// Where the id is written to.
    pub id_file: Option<PathBuf>,
    /// Whether commands are heard.
    pub quiet: bool,
    /// The latest time in the image, in seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub epoch: Option<u64>,
    /// How layers that are made here are compressed.
    pub compression: Compression,
    /// Certificates that commands are to trust, and the image need not.
    pub authorities: Option<PathBuf>,
}

impl Build {
    /// Where the cgroup of a command is to be.
    pub(in crate::engine) fn cgroup(&self) -> CgroupRequest {
        CgroupRequest { parent: self.cgroup_parent.clone(), ..CgroupRequest::default() }
    }
}

/// Something that the image must not have.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSecret {
    /// What steps call it.
    pub id: String,
    /// What it is.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for BuildSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where the files of an image go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildOutput {
    /// A directory, which is made if it is not there.
    Directory(PathBuf),
    /// An archive: a file, or standard output.
    Archive(Option<PathBuf>),
}

/// What comes by standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildInput {
    /// The file.
    File,
    /// The context, as an archive; or the file, of a build that has none.
    Context,
}

/// An agent of ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildAgent {
    /// What steps call it.
    pub id: String,
    /// Where it listens.
    pub socket: PathBuf,
}

/// An image was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The image.
    pub id: Digest,
    /// Its names.
    pub names: Vec<Reference>,
    /// Whether it is here now: one that is wanted as files, and has no name, is not.
    pub kept: bool,
}

/// Removes what builds have kept for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneBuilds {
    /// Only what was not used since, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// Whether cache mounts go, too.
    pub mounts: bool,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildsPruned {
    /// The steps that are forgotten.
    pub steps: Vec<String>,
    /// Bytes that are free again.
    pub reclaimed: u64,
}

/// What builds have kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRoom {
    /// Steps whose layers are kept, and cache mounts.
    pub entries: u64,
    /// Those whose layer an image has.
    pub active: u64,
    /// Bytes that are of no image.
    pub size: u64,
}
