//! From a request to a bundle and a row.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{BoxBuilder, Spec};

use super::start::Ready;
use super::volumes::{Origin, Volumes};
use super::{cgroup, filter, image_limits, inherit, limits, supervision, volumes};
use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::{happenings, host};
use crate::launch::plan::{INIT_ANNOTATION, ROOTFS_ANNOTATION};
use crate::model::container::{ContainerRequest, Mount, UserNamespace};
use crate::model::host::HostFacts;
use crate::model::id::{ContainerId, ContainerName};
use crate::model::lifecycle::Lifecycle;
use crate::model::platform::Platform;
use crate::model::storage::StorageDriver;
use crate::snapshot::layered;
use crate::snapshot::layers::Layers;
use crate::snapshot::recipe::{Layered, Recipe};
use crate::spec::{self, BundleFiles, Composition, files, user};
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;
use crate::store::image::{CONFIG_LIMIT, Image};
use crate::store::{Durability, Store};
use crate::sys::failpoint;

/// How much of a container has to survive a power cut.
pub(super) fn durability(request: &ContainerRequest) -> Durability {
    if request.remove { Durability::Throwaway } else { Durability::Durable }
}

impl Engine {
    /// Makes the bundle and the row of a new container. Only what may be started
    /// `again` is told how: a bundle with `--rm` that lacks it belongs to a `run` that was killed.
    ///
    /// # Errors
    /// With what is wrong with the request, or missing on this host; nothing is left behind then.
    pub(super) fn create(
        &self,
        store: &Store,
        request: ContainerRequest,
        image: &Image,
        (again, id): (bool, ContainerId),
        events: &mut dyn FnMut(Event),
    ) -> Result<Ready, Failure> {
        let mut request = request;
        limits::find_devices(&mut request.limits)?;
        let choice = self.choose_cgroup(&request)?;
        cgroup::check(&request, &choice)?;
        let cgroups_path = cgroup::oci_path(&choice, (&id, &request));
        limits::check_log(&request.log)?;
        volumes::check_devices(&request.devices)?;
        let text = store.read_blob(&image.id, CONFIG_LIMIT)?;
        let config = parse_config(&text, image)?;
        let check = |limits: &_| limits::check(limits, &choice, cgroup::controllers(&choice).as_deref());
        let (limits, warnings) = image_limits::with_defaults(&request.limits, &config, check);
        request.limits = limits;
        warnings.into_iter().for_each(|warning| events(Event::Warning(warning)));
        let asked = request.mounts.clone();
        // A volume in a reserved place is refused, used or not.
        volumes::name_all(&mut request, &config)?;
        let config = without_volumes(config);
        Self::settle_network(&mut request, &config, events)?;
        let mut facts = host::facts(&request)?;
        let networks = self.find_networks(store, &request)?;
        self.see_through(store, &request, &mut facts)?;
        let network = Self::connection(store, &request, &networks, &mut facts)?;
        self.tell_of_one_id(store, &facts, events);
        let bundle = new_bundle(store, &id)?;
        failpoint::reach!("create.bundle_locked");
        let held = self.volumes_of(store, (&request, &asked), (image, &bundle), &facts);
        let made = held.and_then(|held| {
            failpoint::reach!("create.volumes_held");
            let layers = self.layers_for(store, (&request, &facts), &store.layer_dirs(image)?)?;
            self.tell_of_owners(&layers, events);
            let made = (&bundle, &held, layers);
            let subject = (&id, &request, cgroups_path.as_deref());
            let filter = fill(store, made, (subject, image), (&config, &facts), events)?;
            self.introduce(store, &bundle, (&request, &facts), image)?;
            inherit::complete(&mut request, &config);
            failpoint::reach!("create.filled");
            let container = row(&id, request, image);
            let start = self.start_of(store, (&container, network), &facts, (&config, &text))?;
            if again {
                supervision::keep(&bundle, &container, &start)?;
            }
            failpoint::reach!("create.start_kept");
            let container = insert(store, container)?;
            failpoint::reach!("create.row_inserted");
            Ok((filter, start, container))
        });
        match made {
            Ok((filter, mut start, container)) => {
                if let Err(error) = bundle.keep(&container) {
                    events(Event::Warning(Failure::from(error).to_string()));
                }
                failpoint::reach!("create.row_kept");
                start.subject.name = container.name.to_string();
                Ok(Ready { container, bundle, filter, start, inherited: Vec::new() })
            }
            Err(failure) => {
                // The first failure is the one to tell; what it left is ours alone.
                let _ = store.remove_bundle(&id);
                Err(failure)
            }
        }
    }

    /// The volumes of a new container, with what the image has in their places.
    fn volumes_of(
        &self,
        store: &Store,
        (request, asked): (&ContainerRequest, &[Mount]),
        (image, bundle): (&Image, &Bundle),
        facts: &HostFacts,
    ) -> Result<Volumes, Failure> {
        if request.mounts.is_empty() {
            return Ok(Volumes::default());
        }
        let layers = self.layers_for(store, (request, facts), &store.layer_dirs(image)?)?;
        let worker = self.worker_for(facts);
        self.hold_volumes(store, (request, asked), &Origin { layers, place: bundle.rootfs(), worker: &worker })
    }
}

/// A new bundle, locked before there is a row: whoever finds either without a lock
/// takes its maker for dead. One who looked between the two steps has removed it.
pub(super) fn new_bundle(store: &Store, id: &ContainerId) -> Result<Bundle, Failure> {
    loop {
        let bundle = store.create_bundle(id)?;
        failpoint::reach!("create.bundle_made");
        rustix::fs::flock(&bundle, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| Failure::say(FailureKind::Store, format!("lock {}: {error}", bundle.path().display())))?;
        if bundle.path().exists() {
            return Ok(bundle);
        }
    }
}

pub(super) fn parse_config(text: &[u8], image: &Image) -> Result<ImageConfiguration, Failure> {
    serde_json::from_slice(text).map_err(|error| {
        Failure::say(FailureKind::Corrupt, format!("read the configuration of image {}: {error}", image.id.short()))
            .hint("pull or load the image again".to_owned())
    })
}

/// The volumes of the image are in the request by now.
pub(super) fn without_volumes(mut image: ImageConfiguration) -> ImageConfiguration {
    if let Some(mut config) = image.config().clone() {
        config.set_volumes(None);
        image.set_config(Some(config));
    }
    image
}

/// 32 bytes of the kernel's randomness.
pub(in crate::engine) fn new_id() -> Result<ContainerId, Failure> {
    let mut bytes = [0; 32];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(32) => Ok(ContainerId::from_random(&bytes)),
        Ok(_) => Err(Failure::say(FailureKind::Internal, "get random bytes: too few came")),
        Err(error) => Err(Failure::say(FailureKind::Internal, format!("get random bytes: {error}"))),
    }
}

/// A container that is made: its id, what was asked for, and where its cgroup will be.
pub(super) type Subject<'a> = (&'a ContainerId, &'a ContainerRequest, Option<&'a str>);

/// Composes the document and writes the bundle.
pub(super) fn fill(
    store: &Store,
    (bundle, volumes, layers): (&Bundle, &Volumes, (StorageDriver, Layers)),
    ((id, request, cgroups_path), image): (Subject<'_>, &Image),
    (config, facts): (&ImageConfiguration, &HostFacts),
    events: &mut dyn FnMut(Event),
) -> Result<Option<OwnedFd>, Failure> {
    let image_layers = store.layer_dirs(image)?;
    let account = |path: &str| account_file(&image_layers, path);
    let (passwd, group) = (account("etc/passwd")?, account("etc/group")?);
    let accounts = user::AccountFiles { passwd: &passwd, group: &group };
    let resolved = user::resolve(&wanted_user(request, config, facts), accounts, &request.groups)?;
    let hostname = files::hostname_of(request, facts, id);
    let bundle_files = BundleFiles {
        hosts: bundle.file(BundleFile::Hosts),
        hostname: bundle.file(BundleFile::Hostname),
        resolv_conf: bundle.file(BundleFile::ResolvConf),
    };
    let places = volumes.places();
    let annotations = annotations(bundle, request, layers)?;
    let composed = spec::compose(&Composition {
        request,
        image: config,
        host: facts,
        user: &resolved,
        hostname: &hostname,
        files: &bundle_files,
        volumes: &places,
        annotations: &annotations,
        architecture: &Platform::host().architecture,
        processors: std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
        cgroups_path,
    })?;
    composed.warnings.into_iter().for_each(|warning| events(Event::Warning(warning)));
    let mut spec = composed.spec;
    give_terminal_its_size(&mut spec);

    let durability = durability(request);
    let write = |file, text: &str| bundle.write(file, text.as_bytes(), durability);
    failpoint::fails!("create.files").map_err(crate::store::StoreError::errno("write", bundle.path()))?;
    write(BundleFile::Hosts, &files::hosts(request, facts, &hostname)?)?;
    write(BundleFile::Hostname, &files::hostname(&hostname))?;
    write(BundleFile::ResolvConf, &files::resolv_conf(request, facts))?;
    write(BundleFile::Config, &document(&spec)?)?;
    failpoint::reach!("create.config_written");
    filter::compiled(store, &spec, events)
}

/// The container's terminal starts with the size of ours.
fn give_terminal_its_size(spec: &mut Spec) {
    let (Some((rows, columns)), Some(process)) = (super::attach::terminal_size(), spec.process_mut()) else { return };
    if process.terminal().unwrap_or(false) {
        let size = BoxBuilder::default().height(u64::from(rows)).width(u64::from(columns)).build();
        process.set_console_size(size.ok());
    }
}

pub(super) fn document(spec: &Spec) -> Result<String, Failure> {
    serde_json::to_string(spec)
        .map_err(|error| Failure::say(FailureKind::Internal, format!("write config.json: {error}")))
}

/// An account file of the image, as the merged layers show it; empty where there is none.
pub(super) fn account_file(layers: &[PathBuf], path: &str) -> Result<String, Failure> {
    let limit = spec::MOST_ACCOUNT_BYTES as u64;
    let bytes = layered::read_file(layers, std::path::Path::new(path), limit).map_err(|error| {
        Failure::new(FailureKind::Invalid, &error).hint("use another image, or a numeric --user".to_owned())
    })?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}

/// With `--userns=keep-id` the program is the user, as podman's is, unless a user was asked for.
fn wanted_user(request: &ContainerRequest, config: &ImageConfiguration, facts: &HostFacts) -> String {
    match (&request.userns, &request.user) {
        (UserNamespace::KeepId { uid, gid }, None) => {
            format!("{}:{}", uid.unwrap_or(facts.uid), gid.unwrap_or(facts.gid))
        }
        _ => user::wanted(request, config).to_owned(),
    }
}

/// What the launcher reads beside the OCI document; never anything of the image.
fn annotations(
    bundle: &Bundle,
    request: &ContainerRequest,
    (driver, layers): (StorageDriver, Layers),
) -> Result<BTreeMap<String, String>, Failure> {
    let layered = Layered { layers, upper: bundle.upper(), work: bundle.work(), volatile: request.remove };
    let recipe = Recipe::of(driver, layered);
    let recipe = serde_json::to_string(&recipe)
        .map_err(|error| Failure::say(FailureKind::Internal, format!("write the rootfs recipe: {error}")))?;
    let mut annotations = BTreeMap::from([(ROOTFS_ANNOTATION.to_owned(), recipe)]);
    if request.init {
        annotations.insert(INIT_ANNOTATION.to_owned(), "1".to_owned());
    }
    Ok(annotations)
}

pub(super) fn row(id: &ContainerId, request: ContainerRequest, image: &Image) -> Container {
    Container {
        id: id.clone(),
        name: request.name.clone().unwrap_or_else(|| made_up_name(id, 0)),
        image: image.id.clone(),
        manifest: image.manifest.clone(),
        created: crate::monitor::record::now(),
        auto_remove: request.remove,
        lifecycle: Lifecycle::Created,
        request,
    }
}

/// Adds the row. A name that was made up gives way to another if it is taken.
fn insert(store: &Store, mut container: Container) -> Result<Container, Failure> {
    for attempt in 1.. {
        match store.insert_container(&container, durability(&container.request)) {
            Err(crate::store::StoreError::NameInUse { .. }) if container.request.name.is_none() && attempt < 100 => {
                container.name = made_up_name(&container.id, attempt);
            }
            other => {
                other?;
                happenings::of_container(store, "create", &container);
                return Ok(container);
            }
        }
    }
    Err(Failure::say(FailureKind::Internal, "no free name was found"))
}

/// A name that the id determines; the second and later ones have a number.
fn made_up_name(id: &ContainerId, attempt: u64) -> ContainerName {
    let seed = id.as_str().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    ContainerName::generate(seed.wrapping_mul(attempt.wrapping_mul(2).wrapping_add(1)))
}
