//! Where everything is kept: the only place that knows a path of the store.
//!
//! Paths are made of checked types only ([`Digest`], [`ContainerId`]), never of
//! strings that came from outside.

use std::path::{Path, PathBuf};

use crate::model::digest::{Algorithm, Digest};
use crate::model::id::{ContainerId, ContainerName};

/// The paths below a root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the store at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("pybox.db")
    }

    /// Blobs of one algorithm.
    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("images/blobs").join(algorithm.name())
    }

    /// One blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    /// Blobs that are still arriving, and their locks.
    pub fn ingests(&self) -> PathBuf {
        self.root.join("images/ingest")
    }

    /// What has arrived of a blob.
    pub fn ingest(&self, digest: &Digest) -> PathBuf {
        self.ingests().join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// The lock of an arriving blob.
    pub fn ingest_lock(&self, digest: &Digest) -> PathBuf {
        self.ingests().join(format!("{}-{}.lock", digest.algorithm().name(), digest.hex()))
    }

    /// All unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.root.join("images/layers")
    }

    /// The directory of one unpacked layer.
    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The files of one unpacked layer.
    pub fn layer_diff(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("diff")
    }

    /// The lock of a layer that is being unpacked.
    pub fn layer_lock(&self, diff_id: &Digest) -> PathBuf {
        self.locks().join(format!("layer-{}", diff_id.hex()))
    }

    /// The layer that lies on top of every image.
    pub fn init_layer(&self) -> PathBuf {
        self.root.join("images/init")
    }

    /// All bundles.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One container's bundle.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// The lock of one container.
    pub fn container_lock(&self, id: &ContainerId) -> PathBuf {
        self.locks().join(format!("container-{}", id.as_str()))
    }

    /// All volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// All there is of a volume.
    pub fn volume_directory(&self, name: &ContainerName) -> PathBuf {
        self.volumes().join(name.as_str())
    }

    /// The files of a volume.
    pub fn volume(&self, name: &ContainerName) -> PathBuf {
        self.volume_directory(name).join("_data")
    }

    /// All networks of many containers.
    pub fn networks(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// All there is of a network.
    pub fn network(&self, name: &ContainerName) -> PathBuf {
        self.networks().join(name.as_str())
    }

    /// What happened, for `pybox events`.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// Things that can be made again at any time.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Layers that builds have made, by what made them.
    pub fn build_cache(&self) -> PathBuf {
        self.root.join("cache/layers")
    }

    /// Directories that steps of builds share.
    pub fn build_mounts(&self) -> PathBuf {
        self.root.join("cache/mounts")
    }

    /// What blobs became when they were compressed in another way.
    pub fn pressings(&self) -> PathBuf {
        self.root.join("cache/pressed")
    }

    /// Which versions of files builds have downloaded.
    pub fn downloads(&self) -> PathBuf {
        self.root.join("cache/downloads")
    }

    /// Lock files.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// What waits to be deleted.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// A file that only takes room, given up when a removal finds the disk full.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Every directory that exists from the first day on.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let fixed =
            ["volumes", "networks", "cache/seccomp", "cache/layers", "cache/pressed"].map(|dir| self.root.join(dir));
        let mut all = vec![
            self.blobs(Algorithm::Sha256),
            self.blobs(Algorithm::Sha512),
            self.ingests(),
            self.layers(),
            self.containers(),
            self.locks(),
            self.trash(),
        ];
        all.extend(fixed);
        all
    }
}
