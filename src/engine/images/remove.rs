//! `rmi`; and, as room is what its user wants, what killed commands have left goes too.

use crate::engine::Engine;
use crate::engine::api::{Event, Failure, ImageRemoval, RemoveImage};
use crate::store::image::MANIFEST_LIMIT;
use crate::store::{Access, Age, Force};

impl Engine {
    /// Takes a name from an image; the image goes with its last name.
    ///
    /// # Errors
    /// If there is no such image, or it is in use.
    pub(in crate::engine) fn remove_image(
        &self,
        remove: &RemoveImage,
        events: &mut dyn FnMut(Event),
    ) -> Result<Vec<ImageRemoval>, Failure> {
        let store = self.store(Access::Write)?;
        let force = if remove.force { Force::Yes } else { Force::No };
        let image = store.find_image(&remove.name)?;
        let id = image.id.to_string();
        let list = image.is_list().then(|| store.read_blob(&image.manifest, MANIFEST_LIMIT)).transpose()?;
        let removed = store.remove_image(&remove.name, force)?;
        if let Some(list) = &list {
            self.after_removal(&store, &removed.untagged, list)?;
        }
        // The image is gone: files that resist are a nuisance, and the next collection tries again.
        let mut leftovers = removed.leftovers;
        match store.collect_garbage(Age::Hour) {
            Ok(collected) => leftovers.extend(collected.leftovers),
            Err(error) => events(Event::Warning(Failure::from(error).to_string())),
        }
        leftovers.sort();
        leftovers.dedup();
        if let Err(failure) = self.remove_foreign(&leftovers) {
            events(Event::Warning(failure.to_string()));
        }
        for name in &removed.untagged {
            self.tell_image("untag", &id, Some(name));
        }
        if removed.deleted.is_some() {
            self.tell_image("delete", &id, None);
        }
        let untagged = removed.untagged.into_iter().map(ImageRemoval::Untagged);
        Ok(untagged.chain(removed.deleted.map(ImageRemoval::Deleted)).collect())
    }
}
