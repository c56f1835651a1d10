//! How root file systems are made here: the driver, chosen by trying, and the index of
//! an image's layers where a driver needs one.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use pybox_fuse_overlay::record::SIDE_FILE;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::api::{Event, Failure, FailureKind};
use super::{Engine, host};
use crate::model::container::{ContainerRequest, UserNamespace};
use crate::model::digest::{self, Digest};
use crate::model::host::HostFacts;
use crate::model::storage::StorageDriver;
use crate::snapshot::driver::{Found, Needs, Unfit};
use crate::snapshot::kernel_overlay;
use crate::snapshot::layers::{Layers, Owners};
use crate::snapshot::worker::WorkerProgram;
use crate::store::Store;

/// What was found, and where: another kernel or another disk is looked at anew, and so is giving files away by who has
/// got more ids to give them to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Finding {
    kernel: String,
    device: u64,
    /// Whether there was one id to try with.
    one_id: bool,
    found: Found,
}

/// Raised whenever what is looked at changes.
const VERSION: u32 = 3;

impl Engine {
    /// The driver for a container, and the layers as that driver needs them: the init layer on top of
    /// those of the image.
    ///
    /// # Errors
    /// If no driver works here, or not the one that was asked for.
    pub(super) fn layers_for(
        &self,
        store: &Store,
        (request, facts): (&ContainerRequest, &HostFacts),
        image: &[PathBuf],
    ) -> Result<(StorageDriver, Layers), Failure> {
        self.layers_below(store, (request, facts), (Some(store.init_layer()?), image))
    }

    /// The same without the init layer, for who reads what is in an image, and nothing else. There has to be a layer.
    ///
    /// # Errors
    /// As of [`Engine::layers_for`].
    pub(super) fn layers_of(
        &self,
        store: &Store,
        (request, facts): (&ContainerRequest, &HostFacts),
        image: &[PathBuf],
    ) -> Result<(StorageDriver, Layers), Failure> {
        self.layers_below(store, (request, facts), (None, image))
    }

    fn layers_below(
        &self,
        store: &Store,
        (request, facts): (&ContainerRequest, &HostFacts),
        (init, image): (Option<PathBuf>, &[PathBuf]),
    ) -> Result<(StorageDriver, Layers), Failure> {
        // Layers that say in a side file whose their files are, and layers whose files belong to ranges of ids.
        let noted = image.iter().filter(|layer| layer.join(SIDE_FILE).exists()).count();
        let known = self.known(store, facts.pretends())?;
        let owners = match (facts.pretends(), &known.owners) {
            (true, _) => Owners::Hidden,
            (false, Some(_)) => Owners::Recorded,
            (false, None) => Owners::Real,
        };
        if facts.pretends() && noted < image.len() {
            return Err(Failure::say(
                FailureKind::Host,
                "unpacked layers belong to ids that this user cannot map any more",
            )
            .hint("use a store of its own: export PYBOX_ROOT=$HOME/pybox-one-id".to_owned()));
        }
        let lower = stack(init, image)?;
        // What was unpacked with one id shows its owners through the index alone.
        let shifted = is_shifted(request, facts)? || (noted > 0 && !owners.are_recorded());
        let needs = Needs { shifted, recorded: owners.are_recorded() };
        let driver = self.driver(store, &known, needs)?;
        let index = (driver != StorageDriver::Overlay).then(|| self.index_of(store, &lower, image)).transpose()?;
        Ok((driver, Layers { lower, index, owners }))
    }

    /// Says, once in the life of a store, that its containers have one id, and how to get more.
    pub(super) fn tell_of_one_id(&self, store: &Store, facts: &HostFacts, events: &mut dyn FnMut(Event)) {
        const TOLD: &str = "one-id-told";
        if !facts.pretends() || store.recall(TOLD).is_some() {
            return;
        }
        if let Some(why) = host::one_id() {
            let hint = why.hint().map(|hint| format!("; for real ones: {hint}")).unwrap_or_default();
            events(Event::Warning(format!("{why}; other ids than root's are recorded and pretended{hint}")));
        }
        // Not noted, it is said again.
        let _ = store.remember(TOLD, b"");
    }

    /// Says that owners are lost, where they have to be recorded and are not.
    pub(super) fn tell_of_owners(&self, (driver, layers): &(StorageDriver, Layers), events: &mut dyn FnMut(Event)) {
        let needs = Needs { recorded: layers.owners.are_recorded(), ..Needs::default() };
        tell_of_lost(*driver, needs, events);
    }

    /// The same for who builds: of the steps, which all stand on the same driver.
    ///
    /// # Errors
    /// If no driver works here, or not the one that was asked for.
    pub(super) fn tell_builders_of_owners(&self, store: &Store, events: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let one_id = has_one_id();
        let known = self.known(store, one_id)?;
        let needs = Needs { recorded: one_id || known.owners.is_some(), ..Needs::default() };
        if needs.recorded {
            tell_of_lost(self.driver(store, &known, needs)?, needs, events);
        }
        Ok(())
    }

    /// Indexes images that have just come, where ordinary containers of them will need it. What
    /// cannot be done now is told, and tried again by the first container.
    pub(super) fn index_ahead<'i>(
        &self,
        store: &Store,
        images: impl IntoIterator<Item = &'i Digest>,
        events: &mut dyn FnMut(Event),
    ) {
        // Why there is no driver is the first container's to say.
        let one_id = has_one_id();
        let Ok(known) = self.known(store, one_id) else { return };
        let recorded = one_id || known.owners.is_some();
        let needs = Needs { recorded, ..Needs::default() };
        if self.driver(store, &known, needs).map_or(true, |driver| driver == StorageDriver::Overlay) {
            return;
        }
        for id in images {
            if let Err(failure) = self.index_image(store, id) {
                events(Event::Warning(format!("index the layers of {}: {failure}", id.short())));
            }
        }
    }

    fn index_image(&self, store: &Store, id: &Digest) -> Result<(), Failure> {
        let image = store.find_image(&id.to_string())?;
        let image = store.layer_dirs(&image)?;
        self.index_of(store, &stack(Some(store.init_layer()?), &image)?, &image).map(drop)
    }

    /// Workers that unpack layers in this store.
    ///
    /// # Errors
    /// If nothing can be tried, or no worker be started.
    pub(super) fn unpacker(&self, store: &Store) -> Result<WorkerProgram, Failure> {
        let worker = self.worker()?;
        Ok(if self.known(store, has_one_id())?.owners.is_none() { worker } else { worker.recording() })
    }

    /// What works here: as it was noted, or found now.
    fn known(&self, store: &Store, one_id: bool) -> Result<Found, Failure> {
        remembered(store, one_id).map_or_else(|| self.storage_found(store), Ok)
    }

    fn driver(&self, store: &Store, known: &Found, needs: Needs) -> Result<StorageDriver, Failure> {
        let forced = self.settings.storage_driver;
        // One that is second best may have been found when there was no /dev/fuse.
        if let Ok(driver) = known.choose(forced, needs)
            && needs.unmet_by(driver).is_none()
            && (driver == StorageDriver::Overlay || fuse_is_there())
        {
            return Ok(driver);
        }
        // Somebody may have mended what was in the way, or taken away what there was.
        self.storage_found(store)?.choose(forced, needs).map_err(|unfit| {
            let hint = hint(&unfit);
            Failure::new(FailureKind::Host, &unfit).hint(hint)
        })
    }

    /// Tries what can be had where containers are kept, and notes it for the next time.
    ///
    /// # Errors
    /// If nothing can be tried.
    pub(super) fn storage_found(&self, store: &Store) -> Result<Found, Failure> {
        let place = store.trial_directory()?;
        let tried = self.worker().and_then(|worker| Ok(worker.find(place.clone())?));
        let _ = rustix::fs::rmdir(&place);
        let found = tried?;
        if let Some((kernel, device)) = here(store) {
            let finding = Finding { kernel, device, one_id: has_one_id(), found: found.clone() };
            // Not noted, it is tried again.
            let _ = serde_json::to_vec(&finding).map(|text| store.remember(&file_name(), &text));
        }
        Ok(found)
    }

    /// The index of `lower`, the topmost first, which is made if need be. It lies beside the topmost
    /// layer of `image`, and goes with it.
    fn index_of(&self, store: &Store, lower: &[PathBuf], image: &[PathBuf]) -> Result<PathBuf, Failure> {
        let mut hash = Sha256::new();
        for layer in lower {
            // Where the store lies does not matter.
            let name = layer.strip_prefix(store.layout().root()).unwrap_or(layer);
            hash.update(name.as_os_str().as_encoded_bytes());
            hash.update([0]);
        }
        let name = digest::hex(hash.finalize().get(..8).unwrap_or_default());
        let beside = image.first().or(lower.first()).and_then(|diff| diff.parent());
        let path = beside.unwrap_or(Path::new("/")).join(format!("index-{name}"));
        if path.exists() {
            return Ok(path);
        }
        let staging = store.stage(&path)?;
        self.worker()?.index(lower.to_vec(), staging.file().as_fd())?;
        Ok(staging.keep()?)
    }
}

/// What lies below a container's own files, the topmost first, as a driver takes it.
fn stack(init: Option<PathBuf>, image: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let lower: Vec<_> = init.into_iter().chain(image.iter().cloned()).collect();
    kernel_overlay::lower_stack(&lower).map_err(|error| Failure::new(FailureKind::Invalid, &error))
}

/// Whether files have other owners in the container than their ids on disk would give them: layers
/// are unpacked with the ids of containers that asked for nothing else.
fn is_shifted(request: &ContainerRequest, facts: &HostFacts) -> Result<bool, Failure> {
    if !facts.user_namespace || request.userns == UserNamespace::Default {
        return Ok(false);
    }
    Ok(host::id_map(&UserNamespace::Default)?.is_some_and(|map| map != facts.id_map))
}

/// Whether the device is there and ours to use: it comes and goes more easily than all else.
fn fuse_is_there() -> bool {
    let opened = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let device = opened.and_then(rustix::fs::fstat).map(|stat| stat.st_rdev);
    device == Ok(rustix::fs::makedev(10, 229))
}

fn tell_of_lost(driver: StorageDriver, needs: Needs, events: &mut dyn FnMut(Event)) {
    if let Some(why) = needs.unmet_by(driver) {
        let remedy = remedy("/dev/fuse");
        events(Event::Warning(format!("all files belong to root here, whoever they are given to: {why}; {remedy}")));
    }
}

fn hint(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Forced { .. } => "leave --storage-driver out; what works here: pybox info".to_owned(),
        Unfit::None { fuse, .. } => remedy(fuse).to_owned(),
    }
}

/// What to do about a driver that does not work for this reason.
pub(super) fn remedy(why: &str) -> &'static str {
    if why.contains("/dev/fuse") {
        "sudo modprobe fuse && sudo chmod 666 /dev/fuse"
    } else {
        "keep containers on another disk: export PYBOX_ROOT=/a/directory/on/it"
    }
}

fn file_name() -> String {
    format!("storage-{VERSION}.json")
}

/// The kernel, and the file system that containers are on.
fn here(store: &Store) -> Option<(String, u64)> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let device = rustix::fs::stat(store.layout().containers()).ok()?.st_dev;
    Some((kernel, device))
}

fn remembered(store: &Store, one_id: bool) -> Option<Found> {
    let text = store.recall(&file_name())?;
    let finding: Finding = serde_json::from_slice(&text).ok()?;
    (finding.one_id == one_id && here(store)? == (finding.kernel, finding.device)).then_some(finding.found)
}

/// Whether containers that ask for nothing else have one id.
fn has_one_id() -> bool {
    host::id_map(&UserNamespace::Default).is_ok_and(|map| map.is_some_and(|map| map.is_of_one()))
}
