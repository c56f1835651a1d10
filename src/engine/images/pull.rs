//! `pull`: from a name to an image in the store.
//!
//! # Order
//! 1. The registry says what the name means: manifest and configuration, checked.
//! 2. A lease protects all that the image needs from garbage collection.
//! 3. The layers come, a few at a time ([`layer`]): each ends with its blob and
//!    its unpacked directory in their places.
//! 4. Index, manifest and configuration are put down, then the row with the names.
//!
//! A process that is killed between two of them leaves a whole store: what came
//! of a blob stays and is gone on from, the rest is garbage by definition.

mod feed;
mod layer;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::interruption::{self, Interruption};
use super::{concrete, familiar};
use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, LayerProgress, LayerSize, Pull, Pulled};
use crate::model::container::PullPolicy;
use crate::model::digest::Digest;
use crate::model::event::Kind;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::registry::document::{self, MAX_CONFIG};
use crate::registry::{self, Client, Options, Proxies, RegistryError, Resolved, Timing};
use crate::snapshot::worker::{Compression, WorkerProgram};
use crate::store::image::{Image, ImageNames, NewImage, TagName};
use crate::store::{Access, Store, StoreError};
use crate::sys::failpoint;

/// Layers that are under way at once. More would only wait for the disk and
/// for each other, and each has buffers of its own.
const AT_ONCE: usize = 3;
/// How often a layer's progress is told.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// A layer to bring.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    diff_id: Digest,
    blob: Digest,
    size: u64,
    compression: Compression,
}

/// What all layers of one pull share. One thread uses it.
struct Puller<'a> {
    store: &'a Store,
    worker: WorkerProgram,
    client: &'a Client,
    resolved: &'a Resolved,
    tell: &'a dyn Fn(Event),
    /// Directories that only a worker can remove, when all is over.
    leftovers: RefCell<Vec<PathBuf>>,
}

impl Engine {
    /// Brings an image into the store, if it is not there or the policy wants it asked for.
    ///
    /// # Errors
    /// With the kind that tells unknown, refused, unreachable and damaged apart.
    pub(in crate::engine) fn pull(&self, pull: &Pull, events: &mut dyn FnMut(Event)) -> Result<Pulled, Failure> {
        let store = self.store(Access::Write)?;
        let found = store.find_reference(&pull.reference)?;
        // A list without an image for the platform is no reason not to ask the registry.
        let before = found.and_then(|image| concrete(&store, image, pull.platform.as_ref()).ok());
        if let Some(image) = before.as_ref().filter(|image| serves(image, pull)) {
            // The machine may have gone down before the kernel had written a layer: its blob has it, no registry is asked.
            let image = &self.whole_image(&store, image.clone(), events)?;
            let digest = recorded_digest(&store, image, &pull.reference)?;
            let (reference, id) = (pull.reference.clone(), image.id.clone());
            return Ok(Pulled { reference, digest, id, changed: false });
        }
        if pull.policy == PullPolicy::Never {
            return Err(StoreError::NoSuchImage(pull.reference.to_string()).into());
        }
        let client = Client::new(self.registry_options())?;
        let events = RefCell::new(events);
        let tell = |event| events.borrow_mut()(event);
        let (image, digest) =
            interruption::unless_interrupted(|stop| self.pull_with(&store, &client, pull, (&tell, stop)))?;
        self.index_ahead(&store, [&image], &mut |event| tell(event));
        self.settle_later(&mut |event| tell(event));
        self.tell(Kind::Image, "pull", &familiar(&pull.reference), [("name", pull.reference.familiar_name())]);
        let changed = before.is_none_or(|before| before.id != image);
        Ok(Pulled { reference: pull.reference.clone(), digest, id: image, changed })
    }

    async fn pull_with(
        &self,
        store: &Store,
        client: &Client,
        pull: &Pull,
        (tell, stop): (&dyn Fn(Event), Interruption),
    ) -> Result<(Digest, Digest), Failure> {
        tell(Event::Resolving(pull.reference.clone()));
        let platform = pull.platform.clone().unwrap_or_else(Platform::host);
        let found = async {
            let resolved = client.manifest(&pull.reference, &platform).await?;
            let config = configuration(store, client, &resolved, &platform).await?;
            Ok::<_, Failure>((resolved, config))
        };
        let (resolved, config) = stop.or(found).await?;
        let new = NewImage::describe(&resolved.manifest_digest, &resolved.manifest, &config)?;
        let jobs = jobs(&resolved, &new);
        failpoint::reach!("pull.resolved");
        tell(Event::Layers(sizes(&jobs)));
        let lease = store.lease(needed(&resolved, &new))?;
        failpoint::reach!("pull.leased");
        let outcome = self
            .bring(store, &jobs, Remote { client, resolved: &resolved }, (tell, stop))
            .await
            .and_then(|()| put(store, &resolved, &new, &config, tell));
        // Whether the image is there or not, the lease has done its work; one that stays runs out.
        let released = store.release(lease);
        outcome?;
        released?;
        Ok((new.id, resolved.digest().clone()))
    }

    /// Brings the layers, and clears away what failed ones left.
    async fn bring(
        &self,
        store: &Store,
        jobs: &[Job],
        remote: Remote<'_>,
        (tell, stop): (&dyn Fn(Event), Interruption),
    ) -> Result<(), Failure> {
        let missing = jobs.iter().filter(|job| !store.has_blob(&job.blob));
        store.check_space(missing.map(|job| job.size).sum())?;
        let puller = Puller {
            store,
            worker: self.unpacker(store)?,
            client: remote.client,
            resolved: remote.resolved,
            tell,
            leftovers: RefCell::default(),
        };
        let outcome = stop.or(puller.all(jobs)).await;
        let cleared = self.remove_foreign(&puller.leftovers.take());
        outcome.and(cleared)
    }

    /// What a client of registries is made of.
    pub(in crate::engine) fn registry_options(&self) -> Options {
        let settings = &self.settings;
        let proxies = &settings.proxies;
        Options {
            auth_files: settings.auth_files.clone(),
            registries_conf: settings.registries_conf.clone(),
            certs_dirs: settings.certs_dirs.clone(),
            helper_dirs: settings.helper_dirs.clone(),
            allow_realm: settings.allow_realms.clone(),
            user_agent: concat!("pybox/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies {
                https: proxies.https.clone(),
                http: proxies.http.clone(),
                except: proxies.except.clone(),
            },
            timing: Timing::default(),
            blob_caches: settings.blob_caches.clone(),
            chunk: None,
        }
    }
}

/// An image as its registry has it.
struct Remote<'a> {
    client: &'a Client,
    resolved: &'a Resolved,
}

impl Puller<'_> {
    /// All layers, the large ones first: a large one that begins last would be waited for alone.
    async fn all(&self, jobs: &[Job]) -> Result<(), Failure> {
        let mut jobs: Vec<&Job> = jobs.iter().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
        stream::iter(jobs).map(Ok).try_for_each_concurrent(AT_ONCE, |job| self.layer(job)).await
    }

    fn tell(&self, job: &Job, progress: LayerProgress) {
        (self.tell)(Event::Layer { digest: job.blob.clone(), progress });
    }
}

/// Tells how far a download is, but not for every packet.
struct Ticker {
    last: Option<Instant>,
}

impl Ticker {
    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= TELL_EVERY);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// Whether `image` is what `pull` wants, without asking anybody.
fn serves(image: &Image, pull: &Pull) -> bool {
    // What is named by digest cannot have become something else.
    let policy = match pull.policy {
        PullPolicy::Missing | PullPolicy::Never => true,
        PullPolicy::Always | PullPolicy::Newer => pull.reference.digest().is_some(),
    };
    policy && pull.platform.as_ref().is_none_or(|platform| platform.accepts(&image.platform))
}

/// What the name meant at the registry when the image came; the manifest where it never was there.
fn recorded_digest(store: &Store, image: &Image, reference: &Reference) -> Result<Digest, Failure> {
    if let Some(digest) = reference.digest() {
        return Ok(digest.clone());
    }
    let tags = store.image_names(&image.id)?.tags;
    let target = tags.into_iter().find(|tag| tag.reference == *reference).and_then(|tag| tag.target);
    Ok(target.unwrap_or_else(|| image.manifest.clone()))
}

/// The configuration: the store's copy, else the registry's.
async fn configuration(
    store: &Store,
    client: &Client,
    resolved: &Resolved,
    platform: &Platform,
) -> Result<Bytes, Failure> {
    match store.read_blob(&resolved.config.digest, MAX_CONFIG) {
        Ok(bytes) => {
            document::check_config(&bytes, platform, &resolved.reference.to_string())?;
            Ok(bytes.into())
        }
        Err(_) => Ok(client.config(resolved, platform).await?),
    }
}

/// One job a layer; a layer that stands twice in an image is brought once.
fn jobs(resolved: &Resolved, new: &NewImage) -> Vec<Job> {
    let mut seen = HashSet::new();
    let pairs = new.layers.iter().zip(&resolved.layers);
    let job = |(layer, descriptor): (&crate::store::image::ImageLayer, &crate::registry::LayerDescriptor)| Job {
        diff_id: layer.diff_id.clone(),
        blob: descriptor.digest.clone(),
        size: descriptor.size,
        compression: match descriptor.compression {
            registry::Compression::None => Compression::None,
            registry::Compression::Gzip => Compression::Gzip,
            registry::Compression::Zstd => Compression::Zstd,
        },
    };
    pairs.map(job).filter(|job| seen.insert((job.diff_id.clone(), job.blob.clone()))).collect()
}

fn sizes(jobs: &[Job]) -> Vec<LayerSize> {
    jobs.iter().map(|job| LayerSize { digest: job.blob.clone(), size: job.size }).collect()
}

/// All objects that the image is made of.
fn needed<'a>(resolved: &'a Resolved, new: &'a NewImage) -> impl Iterator<Item = &'a Digest> {
    let layers = new.layers.iter().flat_map(|layer| [&layer.blob, &layer.diff_id]);
    [resolved.digest(), &resolved.manifest_digest, &resolved.config.digest].into_iter().chain(layers)
}

/// Puts the documents down, and the row that makes them an image.
fn put(store: &Store, resolved: &Resolved, new: &NewImage, config: &[u8], tell: &dyn Fn(Event)) -> Result<(), Failure> {
    tell(Event::Committing);
    failpoint::reach!("pull.layers_here");
    store.put_blob(&resolved.config.digest, config)?;
    store.put_blob(&resolved.manifest_digest, &resolved.manifest)?;
    if let Some((digest, bytes)) = &resolved.index {
        store.put_blob(digest, bytes)?;
    }
    let reference = &resolved.reference;
    let tag = || TagName { reference: reference.clone(), target: Some(resolved.digest().clone()) };
    let names = ImageNames {
        // A name with a digest in it never moves, so it is no tag.
        tags: reference.digest().is_none().then(tag).into_iter().collect(),
        digests: vec![reference.with_digest(resolved.digest().clone())],
    };
    failpoint::reach!("pull.documents_put");
    store.put_image(new, &names)?;
    failpoint::reach!("pull.row_put");
    Ok(())
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let kind = match &error {
            E::NotFound { .. } | E::PlatformMissing { .. } => FailureKind::NotFound,
            E::Unauthorized { .. }
            | E::LoginRefused { .. }
            | E::Blocked { .. }
            | E::RealmRefused { .. }
            | E::RedirectRefused { .. } => FailureKind::Denied,
            E::WrongDigest { .. }
            | E::Truncated { .. }
            | E::TooLarge { .. }
            | E::InvalidManifest { .. }
            | E::NotAnImage { .. }
            | E::NonDistributable { .. } => FailureKind::Corrupt,
            E::Configuration { .. } => FailureKind::Invalid,
            E::NotKept { .. } | E::Helper { .. } => FailureKind::Host,
            _ => FailureKind::Unreachable,
        };
        Self::new(kind, &error).hint(error.hint())
    }
}
