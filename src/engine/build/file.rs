//! The file of a build, and the one that says what of its context does not exist.

use std::path::{Path, PathBuf};

use super::blamed;
use crate::build::graph::Graph;
use crate::build::{Mistake, Position, boxfile, dockerfile};
use crate::engine::api::{Build, Failure, FailureKind};
use crate::model::ignore::Ignore;
use crate::sys::path::RootFd;

/// Names that are looked for, the first one that is there is taken.
pub(super) const NAMES: [&str; 3] = ["boxfile.toml", "Containerfile", "Dockerfile"];
const IGNORES: [&str; 2] = [".containerignore", ".dockerignore"];
/// More than anybody writes.
pub(super) const LIMIT: u64 = 4 << 20;

/// A file that has been read.
pub(super) struct BuildFile {
    /// None for one that has come by standard input.
    path: Option<PathBuf>,
    /// As messages call it.
    name: String,
    text: String,
    /// Whether it is a boxfile.
    toml: bool,
}

/// Finds and reads the file.
///
/// # Errors
/// If there is none, or it is no text.
pub(super) fn find(build: &Build) -> Result<BuildFile, Failure> {
    let path = match &build.file {
        Some(path) => path.clone(),
        None => {
            let known = NAMES.iter().map(|name| build.context.join(name)).find(|path| path.is_file());
            known.ok_or_else(|| {
                let sentence = format!("{} has no {}", build.context.display(), NAMES.join(", no "));
                let hint = "write a boxfile.toml, or name another file: pybox build -f FILE .";
                Failure::say(FailureKind::NotFound, sentence).hint(hint.to_owned())
            })?
        }
    };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let text = read(&path)?.ok_or_else(|| {
        let sentence = format!("{} is not there", path.display());
        Failure::say(FailureKind::NotFound, sentence).hint(format!("ls {}", path.parent().unwrap_or(&path).display()))
    })?;
    let toml = name.to_ascii_lowercase().ends_with(".toml");
    Ok(BuildFile { path: Some(path), name, text, toml })
}

/// The text of a regular file of the user's; none if there is no such file.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let failed = |why: String| {
        let failure = Failure::say(FailureKind::Invalid, format!("read {}: {why}", path.display()));
        failure.hint(format!("ls -l {}", path.display()))
    };
    // It may be a link to anywhere: the user has named it. What is no regular file is not waited for.
    let facts = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| failed(error.to_string()))?,
    };
    if !facts.is_file() || facts.len() > LIMIT {
        return Err(failed("it is no regular file of less than 4 MiB".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map(Some).map_err(|_| failed("it is no UTF-8".to_owned()))
}

impl BuildFile {
    /// One that is here already, called `name`.
    pub(super) fn of_text(name: &str, text: String) -> Self {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        // Where the name does not tell: no instruction begins with a bracket.
        let toml = name.ends_with(".toml") || lines().next().is_some_and(|line| line.starts_with('['));
        Self { path: None, name: name.to_owned(), text, toml }
    }

    /// Reads it to a graph.
    ///
    /// # Errors
    /// With the first mistake, and its place.
    pub(super) fn parse(&self) -> Result<Graph, Failure> {
        let parse = if self.toml { boxfile::parse } else { dockerfile::parse };
        parse(&self.text).map_err(|mistake| self.blame(&mistake))
    }

    /// A mistake of it.
    pub(super) fn blame(&self, mistake: &Mistake) -> Failure {
        blamed(&self.name, mistake)
    }

    /// Says where in it stands what has failed.
    pub(super) fn at(&self, position: Position, what: &str, failure: Failure) -> Failure {
        let message = format!("{}:{position}: {what}: {}", self.name, failure.message);
        match failure.kind {
            // It is no container's exit code.
            FailureKind::CommandNotFound | FailureKind::CommandNotExecutable => {
                let hint = "install the program in a step before, or choose a base that has it".to_owned();
                Failure::say(FailureKind::Invalid, message).hint(hint)
            }
            _ => Failure { message, ..failure },
        }
    }

    /// What of the context does not exist.
    ///
    /// # Errors
    /// If such a file cannot be read.
    pub(super) fn ignore(&self, context: &Path) -> Result<Ignore, Failure> {
        let own = self.path.as_ref().map(|path| PathBuf::from(format!("{}.dockerignore", path.display())));
        if let Some(text) = own.map(|own| read(&own)).transpose()?.flatten() {
            return Ok(Ignore::parse(&text));
        }
        let failed = |name: &str, error: rustix::io::Errno| {
            Failure::say(FailureKind::Invalid, format!("read {}/{name}: {error}", context.display()))
        };
        let Ok(root) = RootFd::open_trusted(context) else { return Ok(Ignore::default()) };
        for name in IGNORES {
            // Of the context, which may be anybody's: no link leads out of it.
            match root.open_file(name, LIMIT) {
                Ok(file) => {
                    let text = std::io::read_to_string(file).map_err(|error| {
                        Failure::say(FailureKind::Invalid, format!("read {}/{name}: {error}", context.display()))
                    })?;
                    return Ok(Ignore::parse(&text));
                }
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(failed(name, error)),
            }
        }
        Ok(Ignore::default())
    }
}
