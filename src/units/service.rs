//! A unit that is being made: sections in order, assignments in order.

use super::quoting;
use super::syntax::ends_in_lone_backslash;

/// The text of a unit, before it is text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    sections: Vec<(String, Vec<(String, String)>)>,
}

impl Service {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an assignment to the end of its section.
    pub fn add(&mut self, section: &str, key: &str, value: impl Into<String>) {
        let entry = (key.to_owned(), value.into());
        match self.sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, entries)) => entries.push(entry),
            None => self.sections.push((section.to_owned(), vec![entry])),
        }
    }

    /// Adds it unless the section has that key.
    pub fn add_default(&mut self, section: &str, key: &str, value: impl Into<String>) {
        if !self.has(section, key) {
            self.add(section, key, value);
        }
    }

    /// Adds a command line.
    pub fn add_command<S: AsRef<str>>(&mut self, key: &str, words: &[S]) {
        self.add("Service", key, quoting::join(words));
    }

    /// Adds a command line whose failure does not matter.
    pub fn add_careless<S: AsRef<str>>(&mut self, key: &str, words: &[S]) {
        self.add("Service", key, format!("-{}", quoting::join(words)));
    }

    /// Whether the section has that key.
    #[must_use]
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.values(section, key).next().is_some()
    }

    /// All values of that key.
    pub fn values<'s>(&'s self, section: &'s str, key: &'s str) -> impl Iterator<Item = &'s str> {
        let section = self.sections.iter().filter(move |(name, _)| name == section);
        let entries = section.flat_map(|(_, entries)| entries);
        entries.filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The text, after a line that says where it is from.
    #[must_use]
    pub fn text(&self, origin: &str) -> String {
        let mut text = format!("# {}\n", origin.replace(|c: char| c.is_control(), " "));
        for (name, entries) in &self.sections {
            text.push_str(&format!("\n[{name}]\n"));
            for (key, value) in entries {
                // A value that ends in a backslash must not swallow the next line.
                let guard = if ends_in_lone_backslash(value) { " " } else { "" };
                text.push_str(&format!("{key}={value}{guard}\n"));
            }
        }
        text
    }
}
