//! An image whose rows and blobs are here, and some of whose layers are not:
//! the machine went down before the kernel had written them. They are unpacked
//! again from their blobs; no registry is asked.

use std::cell::RefCell;

use super::{Job, Puller, interruption};
use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::registry::document;
use crate::store::Store;
use crate::store::image::{Image, ImageLayer};

impl Engine {
    /// Sees to it that all layers of `image` are unpacked. Costs a look at each where they are.
    ///
    /// # Errors
    /// If a blob is missing or damaged, or cannot be unpacked.
    pub(in crate::engine) fn restore(
        &self,
        store: &Store,
        image: &Image,
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        if store.layer_dirs(image).is_ok() {
            return Ok(());
        }
        let jobs = image.layers.iter().filter(|layer| !store.has_layer(&layer.diff_id)).map(job);
        let jobs: Vec<Job> = jobs.collect::<Result<_, _>>()?;
        let events = RefCell::new(events);
        let tell = |event| events.borrow_mut()(event);
        let puller = Puller {
            store,
            worker: self.worker()?,
            remote: None,
            image: image.id.short().to_owned(),
            tell: &tell,
            leftovers: RefCell::default(),
        };
        let outcome = interruption::unless_interrupted(|stop| {
            let all = puller.all(&jobs);
            async move { stop.or(all).await }
        });
        self.clear_away(&puller.leftovers.take(), outcome)
    }
}

fn job(layer: &ImageLayer) -> Result<Job, Failure> {
    let compression = document::compression(&layer.media_type).ok_or_else(|| {
        let text =
            format!("layer {} has the media type {:?}, which is not known", layer.blob.short(), layer.media_type);
        Failure::say(FailureKind::Corrupt, text)
    })?;
    Ok(Job { diff_id: layer.diff_id.clone(), blob: layer.blob.clone(), size: layer.size, compression })
}
