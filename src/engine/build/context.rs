//! The context of a build: a directory of the user's, and nothing outside of it.
//!
//! Whoever wrote the files in it is not trusted: a link is copied as a link, and one that is named as a
//! source leads nowhere else than within the context (CVE-2020-10696).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::engine::api::{Failure, FailureKind};
use crate::model::digest::Digest;
use crate::model::ignore::{Fate, Ignore};
use crate::model::pattern;
use crate::snapshot::failure::SnapshotError;
use crate::snapshot::pack::{self, Choice, Style, Times};
use crate::snapshot::witness::Witness;
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
    /// What it was asked for as, from the pivot on.
    pub(super) below: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// A path or a pattern; `/./` in it is the pivot.
    pub(super) path: &'a str,
    /// Whether `**` stands for any number of directories.
    pub(super) deep: bool,
    /// Patterns of what is left out.
    pub(super) exclude: &'a [String],
}

impl<'a> Asked<'a> {
    /// A path, and nothing special about it.
    pub(super) fn path(path: &'a str) -> Self {
        Self { path, ..Self::default() }
    }

    /// How many parts come before the pivot.
    pub(super) fn pivot(&self) -> usize {
        self.path.split_once("/./").map_or(0, |(before, _)| parts(before).len())
    }

    /// The parts of the path.
    pub(super) fn parts(&self) -> Vec<String> {
        parts(self.path).into_iter().map(str::to_owned).collect()
    }

    /// Whether it may mean several things.
    pub(super) fn is_pattern(&self) -> bool {
        pattern::is_pattern(self.path)
    }
}

/// What becomes of an item in an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks<'l> {
    /// What it is called there; empty for what is in a directory.
    pub(super) name: &'l str,
    /// Whose it is there; root's, unless that says otherwise.
    pub(super) dress: Dress,
    /// What becomes of times.
    pub(super) times: Times,
    /// Patterns of what is left out.
    pub(super) exclude: &'l [String],
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

    /// What is asked for: a path, or a pattern, whose matches come sorted. What is excluded is not there.
    ///
    /// # Errors
    /// If there is nothing of that name, or it leads out of the context.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Result<Vec<Item>, Failure> {
        let parts = parts(asked.path);
        // Paths, each with as much of it as comes before the pivot.
        let mut found = BTreeMap::from([(String::new(), 0)]);
        for (index, part) in parts.iter().enumerate() {
            let mut next = BTreeMap::new();
            for (above, before) in &found {
                let before = if index == asked.pivot() { above.len() } else { *before };
                let paths = match *part {
                    "**" if asked.deep => self.below(above),
                    part if pattern::is_pattern(part) => self.matching(above, part),
                    part => Ok(vec![join(above, part)]),
                };
                for path in paths.map_err(|error| self.unreadable(above, error))? {
                    next.entry(path).or_insert(before);
                }
            }
            found = next;
        }
        let is_pattern = parts.iter().any(|part| pattern::is_pattern(part));
        let exclude = Ignore::of(asked.exclude);
        let mut items = Vec::new();
        for (path, before) in found {
            match self.item(&path) {
                // Of a pattern, what is there counts.
                Err(failure) if is_pattern && failure.kind == FailureKind::NotFound => {}
                Err(failure) => return Err(failure),
                Ok(item) if !item.directory && exclude.fate(&item.name) == Fate::Gone => {}
                Ok(item) => {
                    let before = if asked.pivot() >= parts.len() { path.len() } else { before };
                    let below = path.get(before..).unwrap_or_default().trim_start_matches('/').to_owned();
                    items.push(Item { below, ..item });
                }
            }
        }
        if items.is_empty() && asked.exclude.is_empty() {
            return Err(self.missing(asked.path));
        }
        Ok(items)
    }

    /// `above` and all directories in it that may have something for a build; links are not followed.
    fn below(&self, above: &str) -> Result<Vec<String>, Errno> {
        let (mut pending, mut all) = (vec![above.to_owned()], Vec::new());
        while let Some(path) = pending.pop() {
            let directory = match self.directory(&path) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                other => other?,
            };
            for entry in Dir::new(rustix::io::fcntl_dupfd_cloexec(&directory, 3)?)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().to_str() else { continue };
                let below = join(&path, name);
                if matches!(name, "." | "..") || self.ignore.fate(&below) == Fate::Gone {
                    continue;
                }
                let stat = lstat_at(directory.as_fd(), OsStr::new(name))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    pending.push(below);
                }
            }
            all.push(path);
        }
        Ok(all)
    }

    fn item(&self, path: &str) -> Result<Item, Failure> {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let (path, kind) = self.resolve(path)?;
        // Of what is ignored only directories stay, for the sake of what is kept below them.
        let is_left_out = match self.ignore.fate(&path) {
            Fate::Gone => true,
            Fate::Below => kind != FileType::Directory,
            Fate::Kept => false,
        };
        if !path.is_empty() && is_left_out {
            let failure = Failure::say(FailureKind::NotFound, format!("{path:?} is left out of the context"));
            return Err(failure.hint("see .containerignore and .dockerignore".to_owned()));
        }
        match kind {
            FileType::Directory => Ok(Item { path, directory: true, name, below: String::new() }),
            FileType::RegularFile => Ok(Item { path, directory: false, name, below: String::new() }),
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
    pub(super) fn digest(&self, item: &Item, exclude: &[String]) -> Result<Digest, Failure> {
        let looks = Looks { name: "x", dress: Dress::default(), times: Times::Kept, exclude };
        self.pack(item, looks, std::io::sink()).map_err(|error| self.failed(&error))
    }

    /// Writes an item as an archive, and returns the digest of what was read for it: that of
    /// [`Context::digest`], unless somebody has changed it meanwhile.
    ///
    /// # Errors
    /// If something cannot be read, or `output` not be written.
    pub(super) fn pack(&self, item: &Item, looks: Looks<'_>, output: impl Write) -> Result<Digest, SnapshotError> {
        let root = rustix::io::fcntl_dupfd_cloexec(&self.root, 3);
        let root = root.map_err(|error| SnapshotError::Io { operation: self.shown.clone(), source: error.into() })?;
        let exclude = Ignore::of(looks.exclude);
        let choose = |path: &[u8]| {
            let of_context = self.ignore.fate(&String::from_utf8_lossy(path));
            match (of_context, exclude.fate_below(item.path.as_bytes(), path)) {
                (Fate::Kept, other) | (other, Fate::Kept) => other,
                (Fate::Below, Fate::Below) => Fate::Below,
                _ => Fate::Gone,
            }
        };
        let choice = (!self.ignore.is_empty() || !exclude.is_empty()).then_some(Choice(&choose));
        let witness = Witness::default();
        let style = Style {
            name: looks.name.as_bytes(),
            cross: true,
            owner: looks.dress.owner.or(Some((0, 0))),
            mode: looks.dress.mode,
            times: looks.times,
            choice,
            witness: Some(&witness),
            ..Style::default()
        };
        pack::pack_below(root, item.path.as_bytes(), style, output)?;
        Ok(witness.digest())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::permissions::Permissions;
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
        let found = context.find(&Asked::path(source)).map_err(|failure| failure.kind)?;
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
        let digest = |source: &str| {
            context.digest(&context.find(&Asked::path(source)).expect("found")[0], &[]).expect("a digest")
        };
        let (before, all) = (digest("sub"), digest("."));
        fs::write(dir.path().join("sub/d.log"), "other").expect("write");
        fs::write(dir.path().join("secret"), "other").expect("write");
        let file = fs::File::options().write(true).open(dir.path().join("sub/c.py")).expect("open");
        file.set_modified(std::time::UNIX_EPOCH).expect("set the time");
        assert_eq!((digest("sub"), digest(".")), (before.clone(), all.clone()));
        fs::write(dir.path().join("sub/c.py"), "other").expect("write");
        assert!(digest("sub") != before && digest(".") != all);
    }

    #[test]
    fn what_was_packed_has_the_digest_of_what_was_there_then() {
        let (dir, context) = context("");
        let item = &context.find(&Asked::path("sub")).expect("found")[0];
        let before = context.digest(item, &[]).expect("a digest");
        let dress = Dress { owner: Some((7, 7)), mode: Some(Permissions::of(0o600)), ..Dress::default() };
        let looks = Looks { name: "", dress, times: Times::Fixed(9), exclude: &[] };
        let packed = || context.pack(item, looks, std::io::sink()).expect("packed");
        assert_eq!(packed(), before, "however it looks in the archive");
        fs::write(dir.path().join("sub/c.py"), "d").expect("write");
        let after = packed();
        assert_ne!(after, before);
        assert_eq!(context.digest(item, &[]).expect("a digest"), after);
        fs::hard_link(dir.path().join("sub/c.py"), dir.path().join("sub/e.py")).expect("link");
        assert_eq!(context.digest(item, &[]).expect("a digest"), packed(), "names of links are those in the item");
    }

    #[test]
    fn parents_patterns_and_what_is_excluded() {
        let (_dir, context) = context("*.log\n**/*.log\n");
        let none: &[String] = &[];
        let logs = ["*.py".to_owned(), "!b.py".to_owned()];
        for (path, deep, exclude, expected) in [
            ("**/*.py", true, none, vec!["a.py", "b.py", "sub/c.py"]),
            ("**/*.py", false, none, vec!["sub/c.py"]),
            ("./sub/./c.py", false, none, vec!["c.py"]),
            ("s*/./*", true, none, vec!["c.py"]),
            ("*.py", false, &logs, vec!["b.py"]),
            ("a.py", false, &logs, vec![]),
            ("**", true, none, vec!["", "sub"]),
        ] {
            let found = context.find(&Asked { path, deep, exclude }).expect(path);
            assert_eq!(found.into_iter().map(|item| item.below).collect::<Vec<_>>(), expected, "{path}");
        }
        let all = &context.find(&Asked::path(".")).expect("found")[0];
        let digest = |exclude: &[String]| context.digest(all, exclude).expect("a digest");
        assert_ne!(digest(none), digest(&logs));
        assert_eq!(digest(&logs), digest(&["a.py".to_owned()]));
    }
}
