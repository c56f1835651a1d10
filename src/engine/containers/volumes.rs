//! Directories for the volumes that a container mounts.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::engine::api::{Failure, FailureKind};
use crate::model::container::{Device, Mount, MountSource};
use crate::model::id::{ContainerId, ContainerName};
use crate::spec::VolumePlace;
use crate::store::Store;

/// The directory of each volume among `mounts`, made where it is missing. A
/// volume without a name lives in the bundle and goes with it.
///
/// # Errors
/// With the volume or path that cannot be had.
pub(super) fn places(store: &Store, id: &ContainerId, mounts: &[Mount]) -> Result<Vec<VolumePlace>, Failure> {
    let mut places = Vec::new();
    for mount in mounts {
        let directory = match &mount.source {
            MountSource::Volume(name) => {
                let name: ContainerName = name.parse().map_err(|error| Failure::new(FailureKind::Invalid, &error))?;
                store.layout().volume(&name)
            }
            MountSource::AnonymousVolume => anonymous(store, id, &mount.target),
            MountSource::Bind { path, create } => {
                check_source(Path::new(path), *create)?;
                continue;
            }
            MountSource::Tmpfs => continue,
        };
        make(&directory)?;
        places.push(VolumePlace { target: mount.target.clone(), path: directory });
    }
    Ok(places)
}

/// Refuses devices that the host does not have, and files that are none.
///
/// # Errors
/// With the path.
pub(super) fn check_devices(devices: &[Device]) -> Result<(), Failure> {
    for device in devices {
        let why = match std::fs::metadata(&device.host).map(|facts| facts.file_type()) {
            Ok(kind) if kind.is_char_device() || kind.is_block_device() => continue,
            Ok(_) => "it is no device".to_owned(),
            Err(error) => error.to_string(),
        };
        let failure = Failure::say(FailureKind::Invalid, format!("--device {}: {why}", device.host));
        return Err(failure.hint("`ls /dev` lists what the host has; -v passes files and directories".to_owned()));
    }
    Ok(())
}

fn anonymous(store: &Store, id: &ContainerId, target: &str) -> PathBuf {
    let digest = crate::model::digest::Digest::of(target.as_bytes());
    store.layout().container(id).join("volumes").join(digest.short())
}

/// All users of the container may look into a volume; the way to it stays ours.
fn make(directory: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::say(FailureKind::Store, format!("make the volume directory {}: {error}", directory.display()))
    };
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(failed)?;
    rustix::fs::chmod(directory, Mode::from_raw_mode(0o755)).map_err(|error| failed(error.into()))
}

/// As docker: `-v` makes a missing directory, `--mount` wants it to be there.
fn check_source(path: &Path, create: bool) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            std::fs::create_dir_all(path).map_err(|error| {
                Failure::say(FailureKind::Invalid, format!("make the bind source {}: {error}", path.display()))
            })
        }
        Err(error) => {
            let failure = Failure::say(FailureKind::Invalid, format!("bind source {}: {error}", path.display()));
            Err(failure.hint(format!("mkdir -p {}", path.display())))
        }
    }
}
