//! The image of a new container: here already, or pulled first.

use crate::engine::Engine;
use crate::engine::api::{Event, Failure};
use crate::model::container::ContainerRequest;
use crate::store::Store;
use crate::store::image::Image;

impl Engine {
    pub(super) fn image_for(
        &self,
        store: &Store,
        request: &ContainerRequest,
        _events: &mut dyn FnMut(Event),
    ) -> Result<Image, Failure> {
        Ok(store.find_image(&request.image)?)
    }
}
