//! Sources of mounts: other units, paths relative to the file, and what has to be mounted first.

use std::path::{Component, Path, PathBuf};

use super::complaint::{Complaint, Weight};
use super::document::Entry;
use super::kind::Kind;
use super::making::Making;

impl Making<'_> {
    /// `Volume=`: the same with a source that `--volume` understands.
    pub(super) fn volume(&mut self, entry: &Entry) -> Result<String, Complaint> {
        let value = entry.value();
        let Some((source, rest)) = value.split_once(':') else { return Ok(value.to_owned()) };
        let source = self.mount_source(source, entry)?;
        Ok(format!("{source}:{rest}"))
    }

    /// `Mount=`: the same, word by word.
    pub(super) fn mount(&mut self, entry: &Entry) -> Result<String, Complaint> {
        let mut words = Vec::new();
        for word in entry.value().split(',') {
            words.push(match word.split_once('=') {
                Some((key @ ("source" | "src"), source)) => format!("{key}={}", self.mount_source(source, entry)?),
                _ => word.to_owned(),
            });
        }
        Ok(words.join(","))
    }

    fn mount_source(&mut self, source: &str, entry: &Entry) -> Result<String, Complaint> {
        match Kind::split(source) {
            Some((_, kind @ (Kind::Volume | Kind::Image | Kind::Build))) if !source.contains('/') => {
                self.refer(source, kind, entry)
            }
            _ if source == "." || source == ".." || source.starts_with("./") || source.starts_with("../") => {
                let path = self.absolute(source);
                self.service.add("Unit", "RequiresMountsFor", super::quoting::join(&[&path]));
                Ok(path)
            }
            _ => {
                // A specifier may be a path as well, and systemd ignores what is none... once it
                // has replaced it; those that are names are left out.
                if source.starts_with('/')
                    || ["%h", "%t", "%S", "%C", "%L", "%E", "%T", "%V", "%d", "%y", "%Y"]
                        .iter()
                        .any(|it| source.starts_with(it))
                {
                    self.service.add("Unit", "RequiresMountsFor", super::quoting::join(&[source]));
                }
                Ok(source.to_owned())
            }
        }
    }

    /// A path of the file, absolute: relative ones begin beside the file. Specifiers that stand
    /// for absolute paths are left alone.
    pub(super) fn absolute(&self, text: &str) -> String {
        if text.starts_with('/') || text.starts_with('%') {
            return text.to_owned();
        }
        // What stands in a name already must not be read as a specifier.
        let directory = self.document.directory().display().to_string().replace('%', "%%");
        tidy(&Path::new(&directory).join(text)).display().to_string()
    }

    /// The name of what another file describes; that unit is required, and started first.
    pub(super) fn refer(&mut self, name: &str, kind: Kind, entry: &Entry) -> Result<String, Complaint> {
        let known = self.known.get(name).cloned();
        let complain = |sentence: String| self.document.complain(entry, Weight::Unit, sentence);
        let Some(known) = known else {
            return Err(complain(format!("there is no {name} beside it or in another directory of units")));
        };
        let Some(resource) = known.resource else {
            return Err(complain(format!("{name} has no {} to name", kind.extension())));
        };
        for key in ["Requires", "After"] {
            self.service.add("Unit", key, format!("{}.service", known.service));
        }
        Ok(resource)
    }
}

/// The path without `.` and, where that is safe to say without looking, without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}
