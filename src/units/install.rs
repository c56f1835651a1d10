//! `[Install]`: what `systemctl enable` would do, which it cannot for units that a generator makes.

use super::complaint::{Complaint, Weight};
use super::document::{Document, is_unit_name};

/// The keys that ask for a link from another unit's directory.
const DIRECTORIES: [(&str, &str); 3] = [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

/// Links, as path below the generator's directory and target, that `document` asks for as `service`.
pub(super) fn links(document: &Document, service: &str, complaints: &mut Vec<Complaint>) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let file = format!("{service}.service");
    let Some((installed, target)) = installed(document, service, &file) else { return links };
    for (key, directory) in DIRECTORIES {
        for unit in names(document, key, complaints) {
            links.push((format!("{unit}.{directory}/{installed}"), format!("../{target}")));
        }
    }
    for alias in names(document, "Alias", complaints) {
        if alias != file && alias.ends_with(".service") {
            links.push((alias, file.clone()));
        }
    }
    links.sort();
    links.dedup();
    links
}

/// Under which name it is wanted, and the file behind that name. A template is wanted as its default
/// instance, or not at all.
fn installed(document: &Document, service: &str, file: &str) -> Option<(String, String)> {
    let Some(prefix) = service.strip_suffix('@') else { return Some((file.to_owned(), file.to_owned())) };
    let instance = document.text("Install", "DefaultInstance").filter(|instance| is_unit_name(instance))?;
    Some((format!("{prefix}@{instance}.service"), file.to_owned()))
}

/// The names of units that a key has; what could lead out of the directory is told.
fn names(document: &Document, key: &str, complaints: &mut Vec<Complaint>) -> Vec<String> {
    let mut names = Vec::new();
    for entry in document.lines("Install", key) {
        for name in entry.value().split_whitespace() {
            if is_unit_name(name) && name.contains('.') {
                names.push(name.to_owned());
            } else {
                let sentence = format!("{key}={name:?} is no name of a unit");
                complaints.push(document.complain(entry, Weight::Line, sentence));
            }
        }
    }
    names
}
