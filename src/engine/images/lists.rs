//! `manifest`: lists of images for several platforms, made here.
//!
//! A list is an image row whose configuration and manifest are one document, an
//! OCI index, with no layers. Each of its images gets a name by digest in the
//! list's repository, so that it stays as long as the list has it. What changes
//! a list writes a new index and moves the list's tag.

mod index;

use std::collections::HashSet;

use crate::engine::Engine;
use crate::engine::api::{
    ChangeList, Event, Failure, FailureKind, InspectList, ListChange, ListChanged, ListInspected, ListMade, MakeList,
    MemberFacts, Pull,
};
use crate::model::container::PullPolicy;
use crate::model::digest::Digest;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::registry::Client;
use crate::store::image::{Image, ImageNames, MANIFEST_LIMIT, NewImage, TagName};
use crate::store::{Access, Force, Store, StoreError};

use super::interruption::unless_interrupted;
use index::{List, Member};

impl Engine {
    /// Makes a list.
    ///
    /// # Errors
    /// If the name is taken, or an image is nowhere to be had.
    pub(in crate::engine) fn make_list(
        &self,
        make: &MakeList,
        events: &mut dyn FnMut(Event),
    ) -> Result<ListMade, Failure> {
        let store = self.store(Access::Write)?;
        let mut members = Vec::new();
        for image in &make.images {
            members.extend(self.members(&store, (image, make.all), &MemberFacts::default(), events)?);
        }
        let _lock = store.lock_lists()?;
        let before = store.find_reference(&make.list)?;
        let mut list = match &before {
            None => List::empty(),
            Some(image) if make.amend && image.is_list() => read(&store, image)?,
            Some(_) => {
                let name = make.list.familiar_name();
                let failure =
                    Failure::say(FailureKind::Conflict, format!("there is an image named {} already", make.list));
                return Err(failure.hint(format!("pybox manifest create --amend {name}; or pybox rmi {name}")));
            }
        };
        members.iter().for_each(|member| list.add(member, &MemberFacts::default()));
        Ok(ListMade { digest: self.put_list(&store, &make.list, (before.as_ref(), &list))? })
    }

    /// Adds, describes anew or removes an image of a list.
    ///
    /// # Errors
    /// If there is no such list, or no such image in it or anywhere.
    pub(in crate::engine) fn change_list(
        &self,
        change: &ChangeList,
        events: &mut dyn FnMut(Event),
    ) -> Result<ListChanged, Failure> {
        let store = self.store(Access::Write)?;
        let added = match &change.change {
            ListChange::Add { image, all, facts } => self.members(&store, (image, *all), facts, events)?,
            ListChange::Annotate { .. } | ListChange::Remove { .. } => Vec::new(),
        };
        let _lock = store.lock_lists()?;
        let before = find(&store, &change.list)?;
        let mut list = read(&store, &before)?;
        let missing = |image: &str| {
            let message = format!("the list {} has no image {image}", change.list.familiar_name());
            let hint = format!("pybox manifest inspect {}", change.list.familiar_name());
            Failure::say(FailureKind::NotFound, message).hint(hint)
        };
        match &change.change {
            ListChange::Add { facts, .. } => added.iter().for_each(|member| list.add(member, facts)),
            ListChange::Annotate { image, facts } => {
                let known = digest_of(&store, image).is_some_and(|digest| list.annotate(&digest, facts));
                known.then_some(()).ok_or_else(|| missing(image))?;
            }
            ListChange::Remove { image } => {
                let known = digest_of(&store, image).is_some_and(|digest| list.remove(&digest));
                known.then_some(()).ok_or_else(|| missing(image))?;
            }
        }
        Ok(ListChanged { digest: self.put_list(&store, &change.list, (Some(&before), &list))? })
    }

    /// The document that a name means: here, or at its registry.
    ///
    /// # Errors
    /// If it is nowhere.
    pub(in crate::engine) fn inspect_list(&self, inspect: &InspectList) -> Result<ListInspected, Failure> {
        let store = self.store(Access::Read)?;
        let bytes = match store.find_image(&inspect.name) {
            Ok(image) => {
                let name = inspect.name.parse::<Reference>().ok();
                let tags = store.image_names(&image.id)?.tags;
                let target =
                    tags.into_iter().find(|tag| Some(&tag.reference) == name.as_ref()).and_then(|tag| tag.target);
                let digest = target.filter(|target| store.has_blob(target)).unwrap_or(image.manifest);
                store.read_blob(&digest, MANIFEST_LIMIT)?
            }
            Err(StoreError::NoSuchImage(_)) => {
                let reference: Reference =
                    inspect.name.parse().map_err(|error| Failure::new(FailureKind::Invalid, &error))?;
                let client = Client::new(self.registry_options())?;
                unless_interrupted(|stop| async move {
                    stop.or(async { Ok(client.named_document(&reference).await?.to_vec()) }).await
                })?
            }
            Err(other) => return Err(other.into()),
        };
        let document = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::say(FailureKind::Corrupt, format!("read the manifest of {}: {error}", inspect.name))
        })?;
        Ok(ListInspected { document })
    }

    /// The images that a word means, as parts of a list; what is not here is pulled first.
    fn members(
        &self,
        store: &Store,
        (text, all): (&str, bool),
        facts: &MemberFacts,
        events: &mut dyn FnMut(Event),
    ) -> Result<Vec<Member>, Failure> {
        let text = text.strip_prefix("docker://").unwrap_or(text);
        let platform = facts.platform();
        let fits = |image: &Image| platform.as_ref().is_none_or(|platform| platform.accepts(&image.platform));
        let image = match store.find_image(text) {
            Ok(image) if all || image.is_list() || fits(&image) => image,
            // By its id it is that image and no other, whatever is said of it.
            Ok(image) if text.parse::<Reference>().is_err() => image,
            Ok(_) | Err(StoreError::NoSuchImage(_)) => {
                let reference = text.parse().map_err(|error| Failure::new(FailureKind::Invalid, &error))?;
                let pulled =
                    self.pull(&Pull { reference, platform: platform.clone(), policy: PullPolicy::Missing }, events)?;
                store.find_image(&pulled.id.to_string())?
            }
            Err(other) => return Err(other.into()),
        };
        let index = if image.is_list() { Some(image.manifest.clone()) } else { target_of(store, text, &image)? };
        let Some(index) = index.filter(|_| all || image.is_list()) else { return Ok(vec![member(store, &image)?]) };
        let parsed = parse(&store.read_blob(&index, MANIFEST_LIMIT)?, text)?;
        let mut members = Vec::new();
        for (digest, offered) in parsed.members() {
            let wanted =
                all || offered.is_none_or(|offered| platform.clone().unwrap_or_else(Platform::host).accepts(&offered));
            match store.find_image(&digest.to_string()) {
                Ok(image) if wanted => members.push(member(store, &image)?),
                _ => {}
            }
        }
        if members.is_empty() {
            let message = format!("none of the images of {text} is here");
            return Err(Failure::say(FailureKind::NotFound, message).hint(format!("pybox pull {text}")));
        }
        Ok(members)
    }

    /// Puts a list down under its name, instead of what had it.
    fn put_list(
        &self,
        store: &Store,
        name: &Reference,
        (before, list): (Option<&Image>, &List),
    ) -> Result<Digest, Failure> {
        let bytes = list.bytes();
        let digest = Digest::of(&bytes);
        let lease = store.lease([&digest])?;
        let put = (|| {
            store.put_blob(&digest, &bytes)?;
            let created = i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
            let new = NewImage::list(&digest, created.unwrap_or_default());
            let tags = vec![TagName { reference: name.clone(), target: None }];
            store.put_image(&new, &ImageNames { tags, digests: Vec::new() })?;
            for (member, _) in list.members() {
                match store.name_by_digest(&name.with_digest(member.clone()), &member) {
                    // It was removed meanwhile; a push will say so.
                    Ok(()) | Err(StoreError::NoSuchImage(_)) => {}
                    Err(other) => return Err(other),
                }
            }
            Ok(())
        })();
        store.release(lease)?;
        put?;
        if let Some(before) = before.filter(|before| before.is_list() && before.id != digest) {
            let old = read(store, before)?;
            if store.image_names(&before.id)?.tags.is_empty() {
                store.remove_image(&before.id.to_string(), Force::No)?;
            }
            self.release_members(store, name, &old)?;
        }
        self.tell_image("tag", &digest.to_string(), Some(name));
        Ok(digest)
    }

    /// Takes the names by digest from images that no list of the repository has any more; with its last name an
    /// image goes.
    fn release_members(&self, store: &Store, name: &Reference, gone: &List) -> Result<(), Failure> {
        let mut needed = Vec::new();
        for summary in store.list_images()? {
            if !summary.names.tags.iter().any(|tag| tag.reference.name() == name.name()) {
                continue;
            }
            let image = store.find_image(&summary.id.to_string())?;
            needed.push(image.manifest.clone());
            if image.is_list() {
                needed.extend(read(store, &image)?.members().into_iter().map(|(digest, _)| digest));
            }
        }
        for (digest, _) in gone.members().into_iter().filter(|(digest, _)| !needed.contains(digest)) {
            match store.remove_image(&name.with_digest(digest).to_string(), Force::No) {
                Ok(removed) => self.remove_foreign(&removed.leftovers)?,
                // A container may have been made of it: then it stays, with its name.
                Err(StoreError::NoSuchImage(_) | StoreError::ImageInUse { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// The ids of images that lists have: without a tag of their own they are in use all the same.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn kept_by_lists(&self, store: &Store) -> Result<HashSet<Digest>, Failure> {
        let mut kept = HashSet::new();
        for summary in store.list_images()?.into_iter().filter(|summary| !summary.names.tags.is_empty()) {
            let list = store.find_image(&summary.id.to_string())?;
            if list.is_list() {
                let members = read(store, &list)?.members();
                kept.extend(
                    members.iter().filter_map(|(digest, _)| Some(store.find_image(&digest.to_string()).ok()?.id)),
                );
            }
        }
        Ok(kept)
    }

    /// After a list has lost the names in `untagged`: its images lose theirs.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn after_removal(&self, store: &Store, untagged: &[Reference], list: &[u8]) -> Result<(), Failure> {
        let list = parse(list, "a list that was removed")?;
        let tags = untagged.iter().filter(|name| name.digest().is_none());
        tags.into_iter().try_for_each(|name| self.release_members(store, name, &list))
    }
}

/// The image itself; of a list, the one for `platform`, or for this machine.
///
/// # Errors
/// [`StoreError::NoSuchImage`] if the list has none for it that is here, or what the store says.
pub(in crate::engine) fn concrete(
    store: &Store,
    image: Image,
    platform: Option<&Platform>,
) -> Result<Image, StoreError> {
    if !image.is_list() {
        return Ok(image);
    }
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let bytes = store.read_blob(&image.manifest, MANIFEST_LIMIT)?;
    let members = List::parse(&bytes).map(|list| list.members()).unwrap_or_default();
    let fits = |offered: &Option<Platform>| offered.as_ref().is_some_and(|offered| wanted.accepts(offered));
    let found = members.into_iter().find(|(_, offered)| fits(offered));
    let (digest, _) = found.ok_or_else(|| StoreError::NoSuchImage(format!("{} for {wanted}", image.id.short())))?;
    store.find_image(&digest.to_string())
}

fn find(store: &Store, name: &Reference) -> Result<Image, Failure> {
    let familiar = name.familiar_name();
    match store.find_reference(name)? {
        Some(image) if image.is_list() => Ok(image),
        Some(_) => {
            let message = format!("{familiar} is an image and no list of images");
            Err(Failure::say(FailureKind::Invalid, message).hint(format!("pybox manifest create NAME {familiar}")))
        }
        None => {
            let message = format!("there is no list named {familiar}");
            Err(Failure::say(FailureKind::NotFound, message).hint(format!("pybox manifest create {familiar}")))
        }
    }
}

fn read(store: &Store, image: &Image) -> Result<List, Failure> {
    parse(&store.read_blob(&image.manifest, MANIFEST_LIMIT)?, image.id.short())
}

fn parse(bytes: &[u8], name: &str) -> Result<List, Failure> {
    List::parse(bytes).map_err(|why| Failure::say(FailureKind::Corrupt, format!("read the list {name}: {why}")))
}

fn member(store: &Store, image: &Image) -> Result<Member, Failure> {
    let size = store.read_blob(&image.manifest, MANIFEST_LIMIT)?.len() as u64;
    let (media_type, digest, platform) = (image.manifest_type.clone(), image.manifest.clone(), image.platform.clone());
    Ok(Member { media_type, digest, size, platform })
}

/// The index that the image came with, if it is here.
fn target_of(store: &Store, text: &str, image: &Image) -> Result<Option<Digest>, Failure> {
    let Ok(name) = text.parse::<Reference>() else { return Ok(None) };
    let tags = store.image_names(&image.id)?.tags;
    let target = tags.into_iter().find(|tag| tag.reference == name).and_then(|tag| tag.target);
    Ok(target.filter(|target| *target != image.manifest && store.has_blob(target)))
}

/// The manifest that a word means: its digest, or an image that is here.
fn digest_of(store: &Store, text: &str) -> Option<Digest> {
    text.parse().ok().or_else(|| store.find_image(text).ok().map(|image| image.manifest))
}
