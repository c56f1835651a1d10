//! The volumes that a container mounts: made, filled, and removed with it.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;

use super::changes::open_upper;
use super::copy::{finish, pipe};
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::model::container::{ContainerRequest, Device, Mount, MountSource};
use crate::model::event::Kind;
use crate::model::id::{ContainerName, InvalidId};
use crate::model::storage::StorageDriver;
use crate::monitor::record;
use crate::snapshot::layers::Layers;
use crate::snapshot::worker::WorkerProgram;
use crate::snapshot::worker::view::{Dress, FileKind, Owners, Stage, Task};
use crate::spec::{VolumePlace, mounts};
use crate::store::Store;
use crate::store::volumes::{Held, Record};
use crate::sys::failpoint;

/// Gives each volume without a name one, so that it can be found when the container is gone: all that is mounted in
/// the container is in its request from now on.
pub(super) fn name_all(request: &mut ContainerRequest, config: &ImageConfiguration) -> Result<(), Failure> {
    request.mounts = mounts::wanted(request, config)?;
    for mount in &mut request.mounts {
        if mount.source == MountSource::AnonymousVolume {
            mount.source = MountSource::Volume(super::create::new_id()?.to_string());
        }
    }
    Ok(())
}

/// The volumes of a container that is being made: they cannot go away as long as this lives.
#[derive(Default)]
pub(super) struct Volumes {
    all: Vec<(Held, Mount)>,
}

impl Volumes {
    /// Where each of them is mounted from.
    pub(super) fn places(&self) -> Vec<VolumePlace> {
        let place = |(held, mount): &(Held, Mount)| VolumePlace { target: mount.target.clone(), path: held.data() };
        self.all.iter().map(place).collect()
    }
}

/// What an image has, for volumes that begin with it.
pub(super) struct Origin<'o> {
    /// What its root file system is made of, and by whom.
    pub(super) layers: (StorageDriver, Layers),
    /// A directory to mount on.
    pub(super) place: PathBuf,
    /// The ids of the container.
    pub(super) worker: &'o WorkerProgram,
}

impl Engine {
    /// Makes the volumes of `request` that are missing, and fills those that are empty with what the image has in
    /// their place. `asked` are the mounts as the user has asked for them.
    ///
    /// # Errors
    /// With the volume or path that cannot be had.
    pub(super) fn hold_volumes(
        &self,
        store: &Store,
        (request, asked): (&ContainerRequest, &[Mount]),
        origin: &Origin<'_>,
    ) -> Result<Volumes, Failure> {
        let mut volumes = Volumes::default();
        for mount in &request.mounts {
            let name: ContainerName = match &mount.source {
                MountSource::Volume(name) => {
                    name.parse().map_err(|error: InvalidId| Failure::new(FailureKind::Invalid, &error))?
                }
                MountSource::Bind { path, create } => {
                    check_source(Path::new(path), *create)?;
                    continue;
                }
                MountSource::AnonymousVolume | MountSource::Tmpfs => continue,
            };
            let named = asked.iter().any(|asked| asked.source == mount.source);
            let record = Record { created: record::now(), labels: BTreeMap::new(), anonymous: !named };
            let held = store.hold_volume(&name, &record)?;
            if held.is_new {
                self.tell(Kind::Volume, "create", name.as_str(), [("driver", "local".to_owned())]);
            }
            if !mount.options.iter().any(|option| option == "nocopy") {
                fill(&held, &mount.target, origin)?;
            }
            volumes.all.push((held, mount.clone()));
        }
        Ok(volumes)
    }

    /// Removes the anonymous volumes that only the container of `request` had; it is gone already.
    pub(super) fn discard_volumes(&self, store: &Store, request: &ContainerRequest) {
        for name in names_of(request) {
            if store.volume(&name).is_some_and(|record| record.anonymous) {
                // One that another container has come to use stays.
                let _ = self.remove_volume_of(store, &name);
            }
        }
    }

    /// Removes a volume that no container mounts.
    ///
    /// # Errors
    /// With the containers that do.
    pub(in crate::engine) fn remove_volume_of(&self, store: &Store, name: &ContainerName) -> Result<(), Failure> {
        let is_needed = || match users(store)?.remove(name.as_str()) {
            Some(users) => {
                let sentence = format!("volume {name} is in use by container {}", users.join(", "));
                Err(Failure::say(FailureKind::Conflict, sentence).hint(format!("pybox rm {}", users.join(" "))))
            }
            None => Ok(()),
        };
        let leftovers = store.remove_volume(name, is_needed)?;
        self.remove_foreign(&leftovers)?;
        self.tell(Kind::Volume, "destroy", name.as_str(), [("driver", "local".to_owned())]);
        Ok(())
    }
}

/// The containers that mount each volume, by the volume's name.
///
/// # Errors
/// What the store says.
pub(in crate::engine) fn users(store: &Store) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in store.list_containers()? {
        for name in names_of(&container.request) {
            users.entry(name.to_string()).or_default().push(container.name.to_string());
        }
    }
    Ok(users)
}

fn names_of(request: &ContainerRequest) -> Vec<ContainerName> {
    let name = |mount: &Mount| match &mount.source {
        MountSource::Volume(name) => name.parse().ok(),
        _ => None,
    };
    request.mounts.iter().filter_map(name).collect()
}

/// Copies what the image has at `target` into the volume, if there is nothing in it yet.
fn fill(held: &Held, target: &str, origin: &Origin<'_>) -> Result<(), Failure> {
    let Some(filling) = held.begin_filling()? else { return Ok(()) };
    let (driver, layers) = origin.layers.clone();
    let stage = Stage::Mounted { driver, layers, writable: None, binds: Vec::new(), place: origin.place.clone() };
    let looked = origin.worker.look(stage.clone(), target.into(), &[])?;
    if looked.kind != Some(FileKind::Directory) {
        return Ok(filling.finish()?);
    }
    let data = open_upper(&held.data())?;
    // What an interrupted filling has left.
    origin.worker.empty(data.as_fd())?;
    let (reader, writer) = pipe()?;
    let task = Task::Extract { path: "/".into(), owners: Owners::Archive, root: true };
    let extract = origin.worker.view(Stage::Directory, task, &[data.as_fd(), reader.as_fd()])?;
    drop(reader);
    let task = Task::Archive {
        path: looked.path,
        name: String::new(),
        dress: Dress::default(),
        follow: true,
        cross: false,
        exclude: Vec::new(),
    };
    let archive = origin.worker.view(stage, task, &[writer.as_fd()])?;
    drop(writer);
    finish(archive.done().map(drop), extract)?;
    failpoint::reach!("volume.copied");
    Ok(filling.finish()?)
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

/// As docker: `-v` makes a missing directory, `--mount` wants it to be there.
fn check_source(path: &Path, create: bool) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            std::fs::create_dir_all(path).map_err(|error| {
                Failure::say(FailureKind::Invalid, format!("make the bind source {}: {error}", path.display()))
                    .hint("name a directory that is there, or one that you may make".to_owned())
            })
        }
        Err(error) => {
            let failure = Failure::say(FailureKind::Invalid, format!("bind source {}: {error}", path.display()));
            Err(failure.hint(format!("mkdir -p {}", path.display())))
        }
    }
}
