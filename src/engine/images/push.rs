//! `push`: from the store to a registry.
//!
//! # Order
//! 1. What each name means here: an index with all that is here of it, or one manifest.
//! 2. A lease keeps it from garbage collection.
//! 3. Blobs, a few at a time; then manifests; then the document that the name is to mean. So a
//!    registry never has a name for something that is not whole.
//!
//! Documents go byte for byte as they were kept, so that their digests stay; but if layers are to be compressed that
//! are not, the image gets another manifest there ([`pressed`]).

mod pressed;
mod shipment;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::familiar;
use super::interruption::{self, Interruption};
use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, LayerProgress, LayerSize, Push, Pushed};
use crate::model::digest::Digest;
use crate::model::event::Kind;
use crate::model::reference::Reference;
use crate::registry::target::Manifest;
use crate::registry::{Client, Delivered, Outgoing, Sending, Target};
use crate::store::image::{Image, ImageLayer};
use crate::store::{Access, Lease, Store, StoreError};
use shipment::{Document, Shipment};

/// Blobs that are under way at once.
const AT_ONCE: usize = 3;
/// How often a blob's progress is told.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// One name to push, and what it means here.
struct Order {
    image: Image,
    /// The index that the name means, where it came as one.
    index: Option<Digest>,
    destination: Reference,
    /// What takes the place of the layers, where some are compressed for it.
    layers: Option<Vec<ImageLayer>>,
}

/// Which repositories of which registries have a blob, as far as names here tell.
type Homes = HashMap<Digest, Vec<Target>>;

/// What all parts of one push share. One thread uses it.
struct Pusher<'a> {
    store: &'a Store,
    client: &'a Client,
    homes: Homes,
    /// Blobs that are not here, but there, as has been asked.
    there: RefCell<BTreeSet<Digest>>,
    tell: &'a dyn Fn(Event),
    stop: Interruption,
}

impl Engine {
    /// Sends images to their registries.
    ///
    /// # Errors
    /// With the kind that tells unknown, refused and unreachable apart; what came before it is there.
    pub(in crate::engine) fn push(&self, push: &Push, events: &mut dyn FnMut(Event)) -> Result<Vec<Pushed>, Failure> {
        let store = self.store(Access::Write)?;
        let mut orders = orders(&store, push)?;
        let lease = store.lease([])?;
        let mut brought = Vec::new();
        let pressed = pressed::press((&store, &lease), &mut orders, push.compression, &mut brought);
        let pushed = pressed.and_then(|()| self.ship(&store, &orders, events));
        store.release(lease)?;
        // Who pushes again finds noted what they were called.
        let swept = store.discard_unused(brought)?;
        self.remove_foreign(&swept.leftovers)?;
        pushed
    }

    fn ship(&self, store: &Store, orders: &[Order], events: &mut dyn FnMut(Event)) -> Result<Vec<Pushed>, Failure> {
        let client = Client::new(self.registry_options())?;
        let homes = homes(store, &client, orders)?;
        let events = RefCell::new(events);
        let tell = |event| events.borrow_mut()(event);
        interruption::unless_interrupted(|stop| async {
            let pusher = Pusher { store, client: &client, homes, there: RefCell::default(), tell: &tell, stop };
            let mut done = Vec::new();
            for order in orders {
                let pushed = pusher.ship(order).await?;
                store.note_pushed(&order.image.manifest, &order.destination, &pushed.digest)?;
                let name = [("name", order.destination.familiar_name())];
                self.tell(Kind::Image, "push", &familiar(&order.destination), name);
                done.push(pushed);
            }
            Ok(done)
        })
    }
}

/// What is to be sent where.
fn orders(store: &Store, push: &Push) -> Result<Vec<Order>, Failure> {
    if push.all_tags {
        return orders_of_repository(store, push);
    }
    let image = store.find_image(&push.image)?;
    let name = push.image.parse::<Reference>().ok().filter(|name| is_named(store, name, &image));
    let destinations = match (push.destinations.as_slice(), &name) {
        ([], Some(name)) if name.digest().is_none() => vec![name.clone()],
        ([], _) => {
            let message = format!("{} is no name with a tag, so it says not where to push to", push.image);
            let hint = format!("pybox push {} REGISTRY/NAME:TAG", push.image);
            return Err(Failure::say(FailureKind::Invalid, message).hint(hint));
        }
        (given, _) => given.to_vec(),
    };
    let index = index_of(store, &image, name.as_ref())?;
    let order = |destination| Order { image: image.clone(), index: index.clone(), destination, layers: None };
    destinations.into_iter().map(|destination| check(&destination).map(|()| order(destination))).collect()
}

/// All tags of one repository, to the same tags of it or of another one.
fn orders_of_repository(store: &Store, push: &Push) -> Result<Vec<Order>, Failure> {
    let invalid = |message: String| Failure::say(FailureKind::Invalid, message);
    let repository: Reference = push.image.parse().map_err(|error| Failure::new(FailureKind::Invalid, &error))?;
    if push.image.ends_with(&format!(":{}", repository.tag().unwrap_or_default())) || repository.digest().is_some() {
        let hint = format!("pybox push --all-tags {}", repository.familiar_name());
        return Err(invalid(format!("{} is one tag, not all of a repository", push.image)).hint(hint));
    }
    let name = match push.destinations.as_slice() {
        [] => repository.name(),
        [one] => one.name(),
        _ => return Err(invalid("all tags go to one repository".to_owned()).hint("pybox push --help".to_owned())),
    };
    let mut orders = Vec::new();
    for summary in store.list_images()? {
        for tag in summary.names.tags.into_iter().filter(|tag| tag.reference.name() == repository.name()) {
            let destination = format!("{name}:{}", tag.reference.tag().unwrap_or_default());
            let destination = destination.parse().map_err(|error| Failure::new(FailureKind::Invalid, &error))?;
            let image = store.find_image(&tag.reference.to_string())?;
            let index = index_of(store, &image, Some(&tag.reference))?;
            orders.push(Order { image, index, destination, layers: None });
        }
    }
    if orders.is_empty() {
        let message = format!("there is no image named {}", repository.familiar_name());
        return Err(Failure::say(FailureKind::NotFound, message));
    }
    orders.sort_by(|one, other| one.destination.cmp(&other.destination));
    Ok(orders)
}

/// Whether the image was found by this name and not by an id that looks like one.
fn is_named(store: &Store, name: &Reference, image: &Image) -> bool {
    store.find_reference(name).is_ok_and(|found| found.is_some_and(|found| found.id == image.id))
}

fn check(destination: &Reference) -> Result<(), Failure> {
    if destination.digest().is_none() {
        return Ok(());
    }
    let message = format!("{destination} has a digest, and a push gives a name with a tag");
    let hint = format!("pybox push IMAGE {}:TAG", destination.familiar_name());
    Err(Failure::say(FailureKind::Invalid, message).hint(hint))
}

/// The index that the name means; for an image that was found by its id, none.
fn index_of(store: &Store, image: &Image, name: Option<&Reference>) -> Result<Option<Digest>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let target = match name.digest() {
        Some(digest) => Some(digest.clone()),
        None => {
            let tags = store.image_names(&image.id)?.tags;
            tags.into_iter().find(|tag| tag.reference == *name).and_then(|tag| tag.target)
        }
    };
    Ok(target.filter(|target| *target != image.manifest && store.has_blob(target)))
}

/// Where blobs are that other images here have come from, or went to.
fn homes(store: &Store, client: &Client, orders: &[Order]) -> Result<Homes, Failure> {
    let wanted: Vec<Target> = orders.iter().map(|order| client.target(&order.destination)).collect::<Result<_, _>>()?;
    let mut homes = Homes::new();
    for summary in store.list_images()? {
        let tags = summary.names.tags.iter().filter(|tag| tag.target.is_some()).map(|tag| &tag.reference);
        let targets: Vec<Target> = tags
            .chain(&summary.names.digests)
            // A name that leads nowhere any more is no reason to push nothing.
            .filter_map(|name| client.target(name).ok())
            .filter(|home| wanted.iter().any(|wanted| wanted.registry() == home.registry()))
            .collect();
        if targets.is_empty() {
            continue;
        }
        for layer in store.find_image(&summary.id.to_string())?.layers {
            let known = homes.entry(layer.blob).or_default();
            for target in &targets {
                if !known.contains(target) {
                    known.push(target.clone());
                }
            }
        }
    }
    Ok(homes)
}

impl Pusher<'_> {
    async fn ship(&self, order: &Order) -> Result<Pushed, Failure> {
        (self.tell)(Event::Sending(order.destination.clone()));
        let target = self.client.target(&order.destination)?;
        let shipment = self.stop.or(self.choose(order, &target)).await?;
        let lease = self.store.lease(shipment.objects())?;
        let outcome = self.stop.or(self.deliver(order, &target, shipment, &lease)).await;
        let released = self.store.release(lease);
        let (digest, sent) = outcome?;
        released?;
        Ok(Pushed { reference: order.destination.clone(), digest, sent })
    }

    /// The digest of what was sent, and how many blobs.
    async fn deliver(
        &self,
        order: &Order,
        target: &Target,
        shipment: Shipment,
        lease: &Lease,
    ) -> Result<(Digest, u32), Failure> {
        let shipment = self.press(order, target, shipment, lease).await?;
        let sent = self.send(order, target, &shipment).await?;
        Ok((shipment.top.digest, sent))
    }

    /// The index, if the registry will have all of it then; else the one manifest. A list has no such one.
    async fn choose(&self, order: &Order, target: &Target) -> Result<Shipment, Failure> {
        let shipment = match &order.index {
            Some(index) => Shipment::of(self.store, index, "")?,
            None => Shipment::of_image(self.store, &order.image)?,
        };
        let mut missing = 0;
        for digest in &shipment.missing {
            if !self.client.has_manifest(target, digest).await? {
                missing += 1;
            }
        }
        if missing == 0 {
            return Ok(shipment);
        }
        let (all, platform) = (shipment.missing.len() + shipment.members.len(), &order.image.platform);
        if order.index.is_none() {
            let registry = target.registry();
            let message = format!("{missing} of the {all} images of the list are neither here nor at {registry}");
            let hint = "pybox manifest inspect NAME; pybox manifest remove NAME DIGEST".to_owned();
            return Err(Failure::say(FailureKind::NotFound, message).hint(hint));
        }
        (self.tell)(Event::Warning(format!(
            "{missing} of the {all} images of {} are not here: the one for {platform} is pushed alone",
            order.destination
        )));
        Shipment::of_image(self.store, &order.image)
    }

    /// How many blobs were sent.
    async fn send(&self, order: &Order, target: &Target, shipment: &Shipment) -> Result<u32, Failure> {
        let sizes = shipment.blobs.iter().map(|(digest, size)| LayerSize { digest: digest.clone(), size: *size });
        (self.tell)(Event::Layers(sizes.collect()));
        let mut blobs: Vec<(&Digest, u64)> = shipment.blobs.iter().map(|(digest, size)| (digest, *size)).collect();
        // A large one that begins last would be waited for alone.
        blobs.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let sent = stream::iter(blobs)
            .map(|(digest, size)| self.blob(target, digest, size))
            .buffer_unordered(AT_ONCE)
            .try_fold(0, |sum, sent| async move { Ok(sum + u32::from(sent)) })
            .await?;
        for document in &shipment.members {
            // A client that lost the race against a manifest's own registry would see a missing one: ask first.
            if !self.client.has_manifest(target, &document.digest).await? {
                self.document(target, &document.digest.to_string(), document).await?;
            }
        }
        let name = order.destination.tag().unwrap_or("latest");
        self.document(target, name, &shipment.top).await?;
        Ok(sent)
    }

    async fn document(&self, target: &Target, name: &str, document: &Document) -> Result<(), Failure> {
        let manifest = Manifest { media_type: &document.media_type, bytes: document.bytes.clone().into() };
        Ok(self.client.send_manifest(target, name, &manifest).await?)
    }

    /// Whether the blob had to be sent.
    async fn blob(&self, target: &Target, digest: &Digest, size: u64) -> Result<bool, Failure> {
        let tell = |progress| (self.tell)(Event::Layer { digest: digest.clone(), progress });
        if self.there.borrow().contains(digest) {
            tell(LayerProgress::There);
            return Ok(false);
        }
        let file = self.store.open_blob(digest)?;
        if !file.metadata().is_ok_and(|facts| facts.len() == size) {
            return Err(StoreError::DamagedBlob(digest.clone()).into());
        }
        let homes = self.homes.get(digest).into_iter().flatten();
        let mut homes = homes.filter(|home| home.registry() == target.registry());
        let elsewhere = homes.find(|home| home.repository() != target.repository());
        let elsewhere = elsewhere.map(|home| home.repository().to_owned());
        let blob = Outgoing { digest: digest.clone(), size, file: Arc::new(file), elsewhere };
        let last: RefCell<Option<Instant>> = RefCell::default();
        let heard = |sending| match sending {
            Sending::Bytes(bytes) => {
                if last.borrow().is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                    last.replace(Some(Instant::now()));
                    tell(LayerProgress::Uploaded(bytes));
                }
            }
            Sending::Retrying { attempt, why } => {
                let why = Failure::from(why).message;
                tell(LayerProgress::Retrying { attempt, why });
            }
        };
        let delivered = self.client.send_blob(target, &blob, &heard).await?;
        tell(match &delivered {
            Delivered::Present => LayerProgress::There,
            Delivered::Mounted(from) => LayerProgress::Mounted(from.clone()),
            Delivered::Sent => LayerProgress::Done,
        });
        Ok(delivered == Delivered::Sent)
    }
}
