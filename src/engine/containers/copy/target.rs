//! Where a copy goes, and what it is called there: the rules of `docker cp`, which are
//! nearly those of cp(1).

use std::path::{Path, PathBuf};

use crate::engine::api::{Failure, FailureKind};
use crate::snapshot::worker::view::{FileKind, Looked};

/// A path that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// As it was typed.
    pub(super) typed: String,
    /// Without links in last place, where these are followed.
    pub(super) path: PathBuf,
    /// What is there.
    pub(super) kind: Option<FileKind>,
    /// The container it is in.
    pub(super) container: Option<String>,
}

/// Where files go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The directory that they are unpacked in.
    pub(super) directory: PathBuf,
    /// What they are called in it; empty for what is in a directory.
    pub(super) name: String,
}

impl Found {
    /// What `looked` means for the path as it was `typed`.
    pub(super) fn new(typed: &str, looked: Looked, follow: bool, container: Option<String>) -> Self {
        let through = follow || typed.ends_with('/') || typed.ends_with("/.");
        let (path, kind) = if looked.link && !through {
            (cleaned(typed), looked.kind.map(|_| FileKind::File).or(Some(FileKind::File)))
        } else {
            (looked.path, looked.kind)
        };
        Self { typed: typed.to_owned(), path, kind, container }
    }

    /// Whether all in it is meant, and not it.
    fn is_contents(&self) -> bool {
        self.typed.ends_with("/.") || self.typed == "." || self.path == Path::new("/")
    }

    fn wants_directory(&self) -> bool {
        self.typed.ends_with('/') || self.typed.ends_with("/.")
    }

    /// What it is called in an archive.
    pub(super) fn name(&self) -> String {
        if self.is_contents() {
            return String::new();
        }
        let name = cleaned(&self.typed);
        let name = name.file_name().or_else(|| self.path.file_name());
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// As people would write it.
    fn shown(&self) -> String {
        self.container.as_ref().map_or_else(|| self.typed.clone(), |name| format!("{name}:{}", self.typed))
    }

    /// What is there.
    ///
    /// # Errors
    /// If nothing is, or no directory where one was meant.
    pub(super) fn require(&self) -> Result<FileKind, Failure> {
        match self.kind {
            None => {
                let failure = Failure::say(FailureKind::NotFound, format!("there is no {}", self.shown()));
                let parent = self.path.parent().unwrap_or(Path::new("/")).display();
                Err(failure.hint(match &self.container {
                    Some(name) => format!("pybox exec {name} ls -la {parent}"),
                    None => format!("ls -la {parent}"),
                }))
            }
            Some(FileKind::File) if self.wants_directory() => {
                let failure = Failure::say(FailureKind::Invalid, format!("{} is no directory", self.shown()));
                Err(failure.hint("leave the slash at its end out".to_owned()))
            }
            Some(kind) => Ok(kind),
        }
    }
}

/// Chooses where `source` goes to, if it is copied to `to`.
///
/// # Errors
/// If the source is not there, or cannot go there.
pub(super) fn choose(source: &Found, to: &Found) -> Result<Target, Failure> {
    let kind = source.require()?;
    let refuse = |why: String, hint: &str| Err(Failure::say(FailureKind::Invalid, why).hint(hint.to_owned()));
    match (kind, to.kind) {
        (_, Some(FileKind::Directory)) => Ok(Target { directory: to.path.clone(), name: source.name() }),
        (FileKind::Directory, Some(FileKind::File)) => refuse(
            format!("{} is a directory, and {} is a file", source.shown(), to.shown()),
            "name a directory that is there, or a new name",
        ),
        (_, Some(FileKind::File)) if to.wants_directory() => {
            refuse(format!("{} is no directory", to.shown()), "leave the slash at its end out")
        }
        (FileKind::File, None) if to.wants_directory() => {
            refuse(format!("there is no directory {}", to.shown()), "make it first, or leave the slash at its end out")
        }
        // A new name, or a file that is replaced.
        (_, Some(FileKind::File) | None) => match (to.path.parent(), to.path.file_name()) {
            (Some(parent), Some(name)) => {
                Ok(Target { directory: parent.to_owned(), name: name.to_string_lossy().into_owned() })
            }
            _ => refuse(format!("{} is no place for a file", to.shown()), "name a file"),
        },
    }
}

/// Looks at a path of the host.
///
/// # Errors
/// If it cannot be looked at.
pub(super) fn on_host(typed: &str, follow: bool) -> Result<Found, Failure> {
    let failed = |error: std::io::Error| Failure::say(FailureKind::Invalid, format!("look at {typed}: {error}"));
    let path = Path::new(typed);
    let clean = cleaned(typed);
    let link = std::fs::symlink_metadata(&clean).is_ok_and(|stat| stat.is_symlink());
    let through = follow || typed.ends_with('/') || typed.ends_with("/.");
    let kind = |stat: std::fs::Metadata| if stat.is_dir() { FileKind::Directory } else { FileKind::File };
    let found = |path, kind| Found { typed: typed.to_owned(), path, kind, container: None };
    if link && !through {
        return Ok(found(clean, Some(FileKind::File)));
    }
    match std::fs::metadata(path) {
        // Where links in last place lead, so that they are not replaced.
        Ok(stat) => Ok(found(std::fs::canonicalize(&clean).map_err(failed)?, Some(kind(stat)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !link => Ok(found(clean, None)),
        // A slash behind a file.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(found(clean, Some(FileKind::File))),
        Err(error) => Err(failed(error)),
    }
}

/// Absolute, without dots and without a slash at its end.
fn cleaned(typed: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(typed).components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileKind::{Directory, File};

    fn found(typed: &str, kind: Option<FileKind>) -> Found {
        Found { typed: typed.to_owned(), path: cleaned(typed), kind, container: None }
    }

    #[test]
    fn the_rules_of_docker() {
        for (from, kind, to, there, directory, name) in [
            ("/a/file", File, "/b", None, "/", "b"),
            ("/a/file", File, "/b/c", Some(File), "/b", "c"),
            ("/a/file", File, "/b", Some(Directory), "/b", "file"),
            ("/a/file", File, "/b/", Some(Directory), "/b", "file"),
            ("/a/dir", Directory, "/b", None, "/", "b"),
            ("/a/dir/", Directory, "/b", None, "/", "b"),
            ("/a/dir", Directory, "/b", Some(Directory), "/b", "dir"),
            ("/a/dir/", Directory, "/b", Some(Directory), "/b", "dir"),
            ("/a/dir/.", Directory, "/b", Some(Directory), "/b", ""),
            ("/a/dir/.", Directory, "/b/", None, "/", "b"),
            ("/", Directory, "/b", Some(Directory), "/b", ""),
        ] {
            let target = choose(&found(from, Some(kind)), &found(to, there)).expect(from);
            let expected = Target { directory: directory.into(), name: name.into() };
            assert_eq!(target, expected, "{from} to {to}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (from, kind, to, there) in [
            ("/none", None, "/b", Some(Directory)),
            ("/a/file/", Some(File), "/b", Some(Directory)),
            ("/a/file", Some(File), "/new/", None),
            ("/a/file", Some(File), "/b/", Some(File)),
            ("/a/dir", Some(Directory), "/b", Some(File)),
        ] {
            let refused = choose(&found(from, kind), &found(to, there)).expect_err(from);
            assert!(refused.hint.is_some(), "{from} to {to}: {refused:?}");
        }
    }
}
