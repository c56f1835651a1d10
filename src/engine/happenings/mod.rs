//! What happens, written down for `pybox events`, and read again.
//!
//! The engine tells of what it does itself; what a container does by itself its
//! monitor tells. A happening that cannot be written down has happened all the
//! same: that is a line of the log, never a failure.

mod read;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;

use super::Engine;
use crate::model::event::{Happening, Kind};
use crate::model::id::{ContainerId, ContainerName};
use crate::model::reference::Reference;
use crate::monitor::{events, record};
use crate::store::containers::Container;
use crate::store::{Layout, Store};

/// What is said of an object, by docker's names.
pub(in crate::engine) type Attributes = BTreeMap<String, String>;

impl Engine {
    /// Writes down that `action` happened to the object `id`, with what else is known of it.
    pub(in crate::engine) fn tell<'a>(
        &self,
        kind: Kind,
        action: &str,
        id: &str,
        attributes: impl IntoIterator<Item = (&'a str, String)>,
    ) {
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        append(&Layout::new(&self.settings.root).events(), kind, action, id, attributes);
    }

    /// The same of an image, called `name` if it has one.
    pub(in crate::engine) fn tell_image(&self, action: &str, id: &str, name: Option<&Reference>) {
        let name = name.map_or_else(|| id.to_owned(), super::images::familiar);
        self.tell(Kind::Image, action, id, [("name", name)]);
    }
}

/// Writes down that `action` happened to `container`: its labels go along, to filter by.
pub(in crate::engine) fn of_container(store: &Store, action: &str, container: &Container) {
    append(&store.layout().events(), Kind::Container, action, container.id.as_str(), attributes_of(container));
}

/// What is told of a container whatever happens to it.
pub(in crate::engine) fn attributes_of(container: &Container) -> Attributes {
    attributes(&container.name, &container.request.image, &container.request.labels)
}

/// Writes down that a container is gone, of which the row said as much.
pub(in crate::engine) fn destroyed(store: &Store, id: &ContainerId, gone: &crate::store::containers::Gone) {
    let attributes = attributes(&gone.name, &gone.request.image, &gone.request.labels);
    append(&store.layout().events(), Kind::Container, "destroy", id.as_str(), attributes);
}

fn attributes(name: &ContainerName, image: &str, labels: &Attributes) -> Attributes {
    let mut attributes = labels.clone();
    attributes.insert("image".to_owned(), image.to_owned());
    attributes.insert("name".to_owned(), name.to_string());
    attributes
}

fn append(path: &Path, kind: Kind, action: &str, id: &str, attributes: Attributes) {
    let happening = Happening { time: record::now(), kind, action: action.to_owned(), id: id.to_owned(), attributes };
    if let Err(error) = events::append(path, &happening) {
        tracing::warn!(path = %path.display(), %error, "an event was not written down");
    }
}
