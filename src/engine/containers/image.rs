//! The image of a new container: here already, or pulled first.

use crate::engine::Engine;
use crate::engine::api::{Event, Failure, FailureKind, Pull};
use crate::engine::images::concrete;
use crate::model::container::{ContainerRequest, PullPolicy};
use crate::model::reference::Reference;
use crate::store::image::Image;
use crate::store::{Store, StoreError};

impl Engine {
    /// The image that `request` names: an id, a prefix of one, or a reference,
    /// which is pulled as the request's policy says.
    ///
    /// # Errors
    /// If it is not here and cannot be pulled, or must not.
    pub(in crate::engine) fn image_for(
        &self,
        store: &Store,
        request: &ContainerRequest,
        events: &mut dyn FnMut(Event),
    ) -> Result<Image, Failure> {
        let here = store.find_image(&request.image);
        let here = here.and_then(|image| concrete(store, image, request.platform.as_ref()));
        let ask = match (&here, request.pull) {
            (Ok(_), PullPolicy::Always | PullPolicy::Newer) => true,
            (Ok(image), PullPolicy::Missing) => {
                request.platform.as_ref().is_some_and(|platform| !platform.accepts(&image.platform))
            }
            (Err(StoreError::NoSuchImage(_)), policy) => policy != PullPolicy::Never,
            _ => false,
        };
        let parsed = request.image.parse::<Reference>();
        if let (Err(StoreError::NoSuchImage(_)), Err(error)) = (&here, &parsed) {
            return Err(Failure::new(FailureKind::Invalid, error).hint("pybox images".to_owned()));
        }
        // An id, or the beginning of one, is nothing that a registry knows.
        let Some(reference) = parsed.ok().filter(|_| ask) else {
            let image = here.map_err(|error| {
                let hint = matches!(error, StoreError::NoSuchImage(_)).then(|| format!("pybox pull {}", request.image));
                Failure::from(error).hint(hint)
            })?;
            return self.whole_image(store, image, events);
        };
        let (platform, policy) = (request.platform.clone(), request.pull);
        self.pull(&Pull { reference: reference.clone(), platform, policy }, events)?;
        let image = store.find_image(&reference.to_string())?;
        Ok(concrete(store, image, request.platform.as_ref())?)
    }
}
