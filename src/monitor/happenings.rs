//! What a monitor tells of its container.

use std::path::Path;

use super::protocol::Subject;
use super::{events, record};
use crate::model::event::{Happening, Kind};

/// Appends to the file of happenings; one that cannot be written is passed over.
pub fn tell(file: &Path, subject: &Subject, action: &str, more: &[(&str, String)]) {
    let named = [("name", subject.name.clone()), ("image", subject.image.clone())];
    // A label does not take the place of what we know.
    let labels = subject.labels.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let attributes = labels.chain(named).chain(more.iter().map(|(key, value)| (*key, value.clone())));
    let happening = Happening {
        time: record::now(),
        kind: Kind::Container,
        action: action.to_owned(),
        id: subject.id.clone(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let _ = events::append(file, &happening);
}
