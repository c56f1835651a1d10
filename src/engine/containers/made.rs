//! What a container was made of, as its `config.json` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;
use serde::Deserialize;

use crate::engine::api::{Failure, FailureKind};
use crate::launch::plan::ROOTFS_ANNOTATION;
use crate::model::host::{IdMap, IdRange};
use crate::snapshot::recipe::Recipe;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;

/// What of `config.json` counts here: the rest, a system call profile most of all, is passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    /// The first process.
    pub(super) process: Process,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    linux: Linux,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    inside: u32,
    #[serde(rename = "hostID")]
    outside: u32,
    size: u32,
}

#[derive(Debug, Deserialize)]
struct Mount {
    destination: PathBuf,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    source: Option<PathBuf>,
    #[serde(default)]
    options: Vec<String>,
}

/// A mount of a file or directory of the host.
pub(super) struct Bound {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

impl Made {
    /// Reads it from the bundle.
    ///
    /// # Errors
    /// [`FailureKind::Corrupt`] if it is not there, or no such document.
    pub(super) fn read(container: &Container, bundle: &Bundle) -> Result<Self, Failure> {
        let path = bundle.file(BundleFile::Config);
        let damaged = |error: String| {
            Failure::say(FailureKind::Corrupt, format!("read {}: {error}", path.display()))
                .hint(format!("remove the container and create it again: pybox rm -f {}", container.name))
        };
        let text = std::fs::read(&path).map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
    }

    /// The map of its user namespace; none if it has none of its own.
    pub(super) fn map(&self) -> Option<IdMap> {
        let ranges = |lines: &[Mapping]| {
            lines.iter().map(|line| IdRange { inside: line.inside, outside: line.outside, count: line.size }).collect()
        };
        let map = IdMap { uids: ranges(&self.linux.uid_mappings), gids: ranges(&self.linux.gid_mappings) };
        (!map.uids.is_empty()).then_some(map)
    }

    /// How its root file system is made, if that can be read.
    pub(super) fn recipe(&self) -> Option<Recipe> {
        self.annotations.get(ROOTFS_ANNOTATION).and_then(|text| serde_json::from_str(text).ok())
    }

    /// The directories that its root file system is made of, the topmost first.
    pub(super) fn layers(&self) -> Vec<PathBuf> {
        let recipe = self.recipe();
        recipe.iter().flat_map(Recipe::directories).map(Path::to_owned).collect()
    }

    /// Where something is mounted in it.
    pub(super) fn mounted_on(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().map(|mount| mount.destination.as_path())
    }

    /// What of the host is mounted in it, in the order of mounting.
    pub(super) fn bound(&self) -> Vec<Bound> {
        let binds = self.mounts.iter().filter(|mount| mount.kind == "bind");
        let bound = |mount: &Mount| {
            let read_only = mount.options.iter().any(|option| option == "ro");
            Some(Bound { source: mount.source.clone()?, target: mount.destination.clone(), read_only })
        };
        binds.filter_map(bound).collect()
    }
}
