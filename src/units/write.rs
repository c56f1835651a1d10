//! Units as files and links of a directory that systemd gives to its generators.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::making::Unit;

/// What could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {path}: {cause}", path = .path.display())]
pub struct Unwritten {
    /// The file or link.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// Writes units below `directory`. One that cannot be written does not keep the others from it.
///
/// A file that is there was made by another generator a moment ago: systemd empties the directory
/// before it asks. It stays as it is.
#[must_use]
pub fn all(units: &[Unit], directory: &Path) -> Vec<Unwritten> {
    let mut unwritten = Vec::new();
    for unit in units {
        let path = directory.join(&unit.name);
        if let Err(cause) = file(&path, &unit.text) {
            unwritten.push(Unwritten { path, cause });
            // Links to a unit of somebody else's are for somebody else to make.
            continue;
        }
        for (name, target) in &unit.links {
            let path = directory.join(name);
            if let Err(cause) = link(&path, target) {
                unwritten.push(Unwritten { path, cause });
            }
        }
    }
    unwritten
}

fn file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())
}

fn link(path: &Path, target: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match std::os::unix::fs::symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read_link(path) {
            Ok(there) if there == Path::new(target) => Ok(()),
            _ => Err(error),
        },
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let unit = |name: &str| Unit {
            name: name.to_owned(),
            source: PathBuf::new(),
            text: format!("# {name}\n"),
            start: Vec::new(),
            links: vec![(format!("x.target.wants/{name}"), format!("../{name}"))],
        };
        fs::write(directory.path().join("a.service"), "another's").expect("written");
        let unwritten = all(&[unit("a.service"), unit("b.service")], directory.path());
        assert_eq!(unwritten.len(), 1);
        assert_eq!(fs::read_to_string(directory.path().join("a.service")).expect("a file"), "another's");
        let linked = fs::read_to_string(directory.path().join("x.target.wants/b.service")).expect("a file");
        assert_eq!(linked, "# b.service\n");
        assert!(!directory.path().join("x.target.wants/a.service").exists());
    }
}
