//! A file with its drop-ins as one document, and the ways to ask it for the value of a key.

use std::path::{Path, PathBuf};

use super::complaint::{Complaint, Weight};
use super::kind::Kind;
use super::quoting;
use super::syntax;

/// The text of a file, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name, as in `web.container`.
    pub name: String,
    /// The file itself.
    pub main: Source,
    /// Files that add to it, in order.
    pub drop_ins: Vec<Source>,
}

/// An assignment and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index into the files of the document.
    file: usize,
    /// The assignment.
    pub assignment: syntax::Assignment,
}

impl Entry {
    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.assignment.value
    }
}

/// A document: assignments of the file, then those of its drop-ins.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's name.
    pub name: String,
    /// The name without its extension.
    pub stem: String,
    /// What it describes.
    pub kind: Kind,
    files: Vec<PathBuf>,
    sections: Vec<String>,
    entries: Vec<Entry>,
}

impl Document {
    /// Reads what was found; mistakes of syntax go to `complaints`. None if the name is of no kind.
    #[must_use]
    pub fn read(found: &Found, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let (stem, kind) = Kind::split(&found.name)?;
        let mut document = Self {
            name: found.name.clone(),
            stem: stem.to_owned(),
            kind,
            files: Vec::new(),
            sections: Vec::new(),
            entries: Vec::new(),
        };
        for source in std::iter::once(&found.main).chain(&found.drop_ins) {
            let file = document.files.len();
            document.files.push(source.path.clone());
            let parsed = syntax::parse(&source.text);
            for (line, sentence) in parsed.mistakes {
                complaints.push(Complaint { path: source.path.clone(), line, weight: Weight::Line, sentence });
            }
            document.sections.extend(parsed.sections.into_iter().map(|(_, name)| name));
            let entries = parsed.assignments.into_iter().map(|assignment| Entry { file, assignment });
            document.entries.extend(entries);
        }
        Some(document)
    }

    /// The file itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The directory that relative paths of the file begin in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new("/"))
    }

    /// A complaint about an entry.
    #[must_use]
    pub fn complain(&self, entry: &Entry, weight: Weight, sentence: impl Into<String>) -> Complaint {
        let path = self.files.get(entry.file).cloned().unwrap_or_default();
        Complaint { path, line: entry.assignment.line, weight, sentence: sentence.into() }
    }

    /// A complaint about the file as a whole, which costs the unit.
    #[must_use]
    pub fn refuse(&self, sentence: impl Into<String>) -> Complaint {
        Complaint { path: self.path().to_owned(), line: 0, weight: Weight::Unit, sentence: sentence.into() }
    }

    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is such a section, be it empty.
    #[must_use]
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.iter().any(|name| name == section)
    }

    /// All entries of a section, resets included.
    pub fn section<'d>(&'d self, section: &'d str) -> impl Iterator<Item = &'d Entry> {
        self.entries.iter().filter(move |entry| entry.assignment.section == section)
    }

    /// The entries of a key; an empty assignment forgets those before it.
    #[must_use]
    pub fn lines<'d>(&'d self, section: &str, key: &str) -> Vec<&'d Entry> {
        let mut lines = Vec::new();
        let is_meant = |entry: &&Entry| entry.assignment.section == section && entry.assignment.key == key;
        for entry in self.entries.iter().filter(is_meant) {
            if entry.value().is_empty() {
                lines.clear();
            } else {
                lines.push(entry);
            }
        }
        lines
    }

    /// The entry that counts where a key has one value.
    #[must_use]
    pub fn last<'d>(&'d self, section: &str, key: &str) -> Option<&'d Entry> {
        self.lines(section, key).pop()
    }

    /// That entry's value.
    #[must_use]
    pub fn text<'d>(&'d self, section: &str, key: &str) -> Option<&'d str> {
        self.last(section, key).map(Entry::value)
    }

    /// All words of all lines of a key.
    #[must_use]
    pub fn words(&self, section: &str, key: &str) -> Vec<String> {
        self.lines(section, key).into_iter().flat_map(|entry| quoting::split(entry.value())).collect()
    }

    /// Whether a key says yes; what is no boolean is told and counts as not said.
    #[must_use]
    pub fn switch(&self, section: &str, key: &str, complaints: &mut Vec<Complaint>) -> Option<bool> {
        let entry = self.last(section, key)?;
        let value = syntax::boolean(entry.value());
        if value.is_none() {
            let sentence = format!("{key}={}: expected yes or no", entry.value());
            complaints.push(self.complain(entry, Weight::Line, sentence));
        }
        value
    }

    /// The name of the service that it becomes, without `.service`.
    #[must_use]
    pub fn service(&self) -> String {
        let named = self.text(self.kind.section(), "ServiceName").filter(|name| is_unit_name(name));
        named.map_or_else(|| self.kind.service(&self.stem), str::to_owned)
    }
}

/// Whether a file of that name can be made in the generator's directory.
#[must_use]
pub(super) fn is_unit_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    !name.is_empty() && name.len() < 248 && !name.starts_with('.') && name.chars().all(fits)
}
