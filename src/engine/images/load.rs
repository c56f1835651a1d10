//! `load`.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, Imported, Load, Source};
use crate::engine::halt::{self, Halt};
use crate::engine::images::archive::{Candidate, Directory, Members, candidates};
use crate::model::digest::Digest;
use crate::model::reference::Reference;
use crate::store::image::{ImageNames, TagName};
use crate::store::{Access, Lease, Store, StoreError};

impl Engine {
    /// Brings the images of an archive into the store. Either all of its names
    /// are free or already mean the same images, or nothing is named (unless forced).
    ///
    /// # Errors
    /// If the archive cannot be read, is not what it claims to be, or wants the name of another image.
    pub(in crate::engine) fn load_images(
        &self,
        load: &Load,
        events: &mut dyn FnMut(Event),
    ) -> Result<Vec<Imported>, Failure> {
        halt::listening(|halt| self.load_until(load, halt, events))
    }

    fn load_until(&self, load: &Load, halt: &Halt, events: &mut dyn FnMut(Event)) -> Result<Vec<Imported>, Failure> {
        let store = self.store(Access::Write)?;
        let lease = store.lease([])?;
        let mut brought = Vec::new();
        let loaded = self.load_from((load, halt), (&store, &lease), &mut brought, events);
        store.release(lease)?;
        // What came and no image needs: files of older formats, or all of it after an error.
        let swept = store.discard_unused(brought)?;
        self.remove_foreign(&swept.leftovers)?;
        let loaded = loaded?;
        events(Event::Committing);
        self.index_ahead(&store, loaded.iter().map(|image| &image.id), events);
        self.settle_later(events);
        for image in &loaded {
            self.tell_image("load", &image.id.to_string(), image.references.first());
        }
        Ok(loaded)
    }

    fn load_from(
        &self,
        (load, halt): (&Load, &Halt),
        (store, lease): (&Store, &Lease),
        brought: &mut Vec<Digest>,
        events: &mut dyn FnMut(Event),
    ) -> Result<Vec<Imported>, Failure> {
        let found = match &load.source {
            Source::Path(path) if path.is_dir() => {
                let mut directory = Directory::open((store, lease, halt), path)?;
                let found = candidates(store, &mut directory);
                brought.extend_from_slice(directory.brought());
                found
            }
            source => {
                let mut members = Members::new((store, lease, halt));
                let read = open(source).and_then(|input| members.read(input));
                let found = read.and_then(|()| candidates(store, &mut members));
                brought.extend_from_slice(members.brought());
                found
            }
        }?;
        for candidate in &found {
            brought.push(candidate.image.manifest.clone());
            if !load.force {
                check_names(store, candidate)?;
            }
        }
        found.into_iter().map(|candidate| self.put((store, halt), candidate, events)).collect()
    }

    fn put(
        &self,
        (store, halt): (&Store, &Halt),
        Candidate { image, names }: Candidate,
        events: &mut dyn FnMut(Event),
    ) -> Result<Imported, Failure> {
        self.unpack_unless((store, Some(halt)), &image.layers, events)?;
        let (digests, tags): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name.tag().is_none());
        let tags = tags.into_iter().map(|reference| TagName { reference, target: None }).collect();
        for (reference, before) in store.put_image(&image, &ImageNames { tags, digests })? {
            let sentence = format!("{reference} was the name of image {} until now", before.short());
            events(Event::Warning(sentence));
        }
        Ok(Imported { id: image.id, references: names })
    }
}

/// An archive from elsewhere does not take a name away from an image that is here.
fn check_names(store: &Store, candidate: &Candidate) -> Result<(), Failure> {
    let taken = |reference: &Reference| match store.tag_owner(reference) {
        Ok(Some(image)) if image != candidate.image.id => {
            Err(StoreError::TagInUse { reference: reference.to_string(), image })
        }
        other => other.map(drop),
    };
    Ok(candidate.names.iter().try_for_each(taken)?)
}

fn open(source: &Source) -> Result<File, Failure> {
    match source {
        Source::Path(path) => File::open(path).map_err(|error| unreadable(path, &error)),
        Source::Standard => std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map(File::from)
            .map_err(|error| unreadable(Path::new("/dev/stdin"), &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => FailureKind::NotFound,
        _ => FailureKind::Invalid,
    };
    Failure::say(kind, format!("open {}: {error}", path.display()))
}
