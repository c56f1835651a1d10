//! The context of a build: a directory of the user's, and nothing outside of it.
//!
//! Whoever wrote the files in it is not trusted: a link is copied as a link, and one that is named as a
//! source leads nowhere else than within the context (CVE-2020-10696).

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::build::ignore::{self, Ignore};
use crate::build::pattern;
use crate::engine::api::{Failure, FailureKind};
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::{self, Choice, Fate, Packed, Style, Times};
use crate::snapshot::worker::view::Dress;
use crate::sys::path::lstat_at;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// The directory.
pub(super) struct Context {
    root: OwnedFd,
    shown: String,
    ignore: Ignore,
}

/// A file or directory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// From the context on, without links; empty for all of it.
    pub(super) path: String,
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// What it was asked for as: the last part of that.
    pub(super) name: String,
}

impl Context {
    /// Opens the directory `path`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn open(path: &Path, ignore: Ignore) -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
            let failure = Failure::say(FailureKind::NotFound, format!("open the context {}: {error}", path.display()));
            failure.hint("name a directory, as in pybox build -t NAME .".to_owned())
        })?;
        Ok(Self { root, shown: path.display().to_string(), ignore })
    }

    /// What `source` means: a path, or a pattern, whose matches come sorted.
    ///
    /// # Errors
    /// If there is nothing of that name, or it leads out of the context.
    pub(super) fn find(&self, source: &str) -> Result<Vec<Item>, Failure> {
        let parts = parts(source);
        let mut found = vec![String::new()];
        for part in &parts {
            let mut next = Vec::new();
            for above in &found {
                if pattern::is_pattern(part) {
                    next.extend(self.matching(above, part).map_err(|error| self.unreadable(above, error))?);
                } else {
                    next.push(join(above, part));
                }
            }
            found = next;
        }
        let is_pattern = parts.iter().any(|part| pattern::is_pattern(part));
        let mut items = Vec::new();
        for path in found {
            match self.item(&path) {
                // Of a pattern, what is there counts.
                Err(failure) if is_pattern && failure.kind == FailureKind::NotFound => {}
                other => items.push(other?),
            }
        }
        if items.is_empty() {
            return Err(self.missing(source));
        }
        Ok(items)
    }

    fn item(&self, path: &str) -> Result<Item, Failure> {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let (path, kind) = self.resolve(path)?;
        // Of what is ignored only directories stay, for the sake of what is kept below them.
        let is_left_out = match self.ignore.fate(&path) {
            ignore::Fate::Gone => true,
            ignore::Fate::Below => kind != FileType::Directory,
            ignore::Fate::Kept => false,
        };
        if !path.is_empty() && is_left_out {
            let failure = Failure::say(FailureKind::NotFound, format!("{path:?} is left out of the context"));
            return Err(failure.hint("see .containerignore and .dockerignore".to_owned()));
        }
        match kind {
            FileType::Directory => Ok(Item { path, directory: true, name }),
            FileType::RegularFile => Ok(Item { path, directory: false, name }),
            _ => Err(Failure::say(FailureKind::Invalid, format!("{path:?} is neither file nor directory"))
                .hint("name a file or directory of the context".to_owned())),
        }
    }

    /// The path without links, and what stands there. Each link is read here, so none leads out.
    fn resolve(&self, path: &str) -> Result<(String, FileType), Failure> {
        let mut rest: Vec<String> = parts(path).into_iter().rev().map(str::to_owned).collect();
        let (mut walked, mut kind, mut links) = (String::new(), FileType::Directory, 0);
        while let Some(part) = rest.pop() {
            if part == ".." {
                if walked.is_empty() {
                    return Err(self.outside(path));
                }
                walked = walked.rsplit_once('/').map_or_else(String::new, |(above, _)| above.to_owned());
                kind = FileType::Directory;
                continue;
            }
            let parent = self.directory(&walked).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => self.missing(path),
                error => self.unreadable(&walked, error),
            })?;
            let stat = lstat_at(parent.as_fd(), OsStr::new(&part)).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => self.missing(path),
                error => self.unreadable(path, error),
            })?;
            kind = FileType::from_raw_mode(stat.st_mode);
            if kind != FileType::Symlink {
                walked = join(&walked, &part);
                continue;
            }
            links += 1;
            let target = rustix::fs::readlinkat(&parent, part.as_str(), Vec::new());
            let target = target.map_err(|error| self.unreadable(path, error))?;
            let target = target.to_str().map_err(|_| self.outside(path))?.to_owned();
            if links > MOST_LINKS || target.starts_with('/') {
                return Err(self.outside(path));
            }
            rest.extend(target.split('/').filter(|part| !matches!(*part, "" | ".")).rev().map(str::to_owned));
            kind = FileType::Directory;
        }
        Ok((walked, kind))
    }

    fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// Names in the directory `above` that fit, sorted.
    fn matching(&self, above: &str, part: &str) -> Result<Vec<String>, Errno> {
        let directory = match self.directory(above) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(directory)? {
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
                && pattern::matches(part, name)
            {
                names.push(join(above, name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The digest of what an item is: names, contents, permissions; not times and owners.
    ///
    /// # Errors
    /// If something cannot be read.
    pub(super) fn digest(&self, item: &Item) -> Result<Digest, Failure> {
        let mut hashing = Hashing(Hasher::new(Algorithm::Sha256));
        let dress = Dress { owner: Some((0, 0)), mode: None, ..Dress::default() };
        self.pack((item, "x"), dress, Times::Fixed(0), &mut hashing).map_err(|error| self.failed(&error))?;
        Ok(hashing.0.finish())
    }

    /// Writes an item as an archive, called `name` there; empty for what is in a directory.
    ///
    /// # Errors
    /// If something cannot be read, or `output` not be written.
    pub(super) fn pack(
        &self,
        (item, name): (&Item, &str),
        dress: Dress,
        times: Times,
        output: impl Write,
    ) -> Result<Packed, SnapshotError> {
        let root = rustix::io::fcntl_dupfd_cloexec(&self.root, 3);
        let root = root.map_err(|error| SnapshotError::Io { operation: self.shown.clone(), source: error.into() })?;
        let choose = |path: &[u8]| match self.ignore.fate(&String::from_utf8_lossy(path)) {
            ignore::Fate::Kept => Fate::Kept,
            ignore::Fate::Gone => Fate::Gone,
            ignore::Fate::Below => Fate::Below,
        };
        let choice = (!self.ignore.is_empty()).then_some(Choice(&choose));
        let (owner, mode, name) = (dress.owner, dress.mode, name.as_bytes());
        let style = Style { name, cross: true, owner, mode, times, choice, ..Style::default() };
        pack::pack_below(root, item.path.as_bytes(), style, output)
    }

    /// Opens a file of it to be read.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub(super) fn read(&self, item: &Item) -> Result<std::fs::File, Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened =
            rustix::fs::openat2(&self.root, OsStr::from_bytes(item.path.as_bytes()), flags, Mode::empty(), resolve);
        opened.map(std::fs::File::from).map_err(|error| self.unreadable(&item.path, error))
    }

    /// A failure to read, as one of the user's files.
    pub(super) fn failed(&self, error: &SnapshotError) -> Failure {
        Failure::new(FailureKind::Invalid, error).hint(format!("ls -la {}", self.shown))
    }

    fn missing(&self, source: &str) -> Failure {
        let failure = Failure::say(FailureKind::NotFound, format!("{source:?} is not in the context {}", self.shown));
        failure.hint(format!("ls -la {}", self.shown))
    }

    fn outside(&self, source: &str) -> Failure {
        let failure = Failure::say(FailureKind::Denied, format!("{source:?} leads out of the context {}", self.shown));
        failure.hint("copy what it is meant to be into the context".to_owned())
    }

    fn unreadable(&self, path: &str, error: Errno) -> Failure {
        let failure = Failure::say(FailureKind::Invalid, format!("read {}/{path}: {error}", self.shown));
        failure.hint(format!("ls -la {}", self.shown))
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
}

struct Hashing(Hasher);

impl Write for &mut Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn context(ignore: &str) -> (tempfile::TempDir, Context) {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        for (name, text) in [("a.py", "a"), ("b.py", "b"), ("sub/c.py", "c"), ("sub/d.log", "d"), ("secret", "s")] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("make");
            fs::write(path, text).expect("write");
        }
        symlink("/etc/passwd", dir.path().join("out")).expect("link");
        symlink("../../../../etc", dir.path().join("up")).expect("link");
        symlink("sub/../sub", dir.path().join("in")).expect("link");
        symlink("loop", dir.path().join("loop")).expect("link");
        let context = Context::open(dir.path(), Ignore::parse(ignore)).expect("a context");
        (dir, context)
    }

    fn paths(context: &Context, source: &str) -> Result<Vec<String>, FailureKind> {
        let found = context.find(source).map_err(|failure| failure.kind)?;
        Ok(found.into_iter().map(|item| item.path).collect())
    }

    #[test]
    fn sources_are_found_within_the_context() {
        let (_dir, context) = context("");
        for (source, expected) in [
            (".", Ok(vec![""])),
            ("/", Ok(vec![""])),
            ("./a.py", Ok(vec!["a.py"])),
            ("/sub/", Ok(vec!["sub"])),
            ("*.py", Ok(vec!["a.py", "b.py"])),
            ("s*/*.py", Ok(vec!["sub/c.py"])),
            ("in/c.py", Ok(vec!["sub/c.py"])),
            ("sub/../a.py", Ok(vec!["a.py"])),
            ("nothing", Err(FailureKind::NotFound)),
            ("a.py/x", Err(FailureKind::NotFound)),
            ("*.txt", Err(FailureKind::NotFound)),
            ("out", Err(FailureKind::Denied)),
            ("up/passwd", Err(FailureKind::Denied)),
            ("../x", Err(FailureKind::Denied)),
            ("loop", Err(FailureKind::Denied)),
        ] {
            let expected = expected.map(|paths| paths.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(paths(&context, source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_ignored_is_neither_there_nor_counted() {
        let (dir, context) = context("*.log\n**/*.log\nsecret\n");
        assert_eq!(paths(&context, "secret"), Err(FailureKind::NotFound));
        let digest = |source: &str| context.digest(&context.find(source).expect("found")[0]).expect("a digest");
        let (before, all) = (digest("sub"), digest("."));
        fs::write(dir.path().join("sub/d.log"), "other").expect("write");
        fs::write(dir.path().join("secret"), "other").expect("write");
        let file = fs::File::options().write(true).open(dir.path().join("sub/c.py")).expect("open");
        file.set_modified(std::time::UNIX_EPOCH).expect("set the time");
        assert_eq!((digest("sub"), digest(".")), (before.clone(), all.clone()));
        fs::write(dir.path().join("sub/c.py"), "other").expect("write");
        assert!(digest("sub") != before && digest(".") != all);
    }
}
