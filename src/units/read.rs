//! Files and drop-ins of the directories that are searched.
//!
//! A file hides those of the same name in later directories, and a link to /dev/null hides them
//! without being anything itself. What a user may have put there is no reason to hang or to fill
//! the memory: only regular files are read, and of these no more than a megabyte.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::complaint::{Complaint, Weight};
use super::document::{Found, Source};
use super::kind::Kind;

/// More than any unit has.
const LIMIT: u64 = 1 << 20;
/// How deep directories are searched.
const DEPTH: usize = 8;

/// The kinds of podman's that are told rather than passed over.
const FOREIGN: [&str; 2] = ["pod", "kube"];

/// All files of `directories`, sorted by name, with their drop-ins. What cannot be read goes to
/// `complaints`; a directory that is not there is no matter.
#[must_use]
pub fn all(directories: &[PathBuf], complaints: &mut Vec<Complaint>) -> Vec<Found> {
    gather(&searched(directories), BTreeMap::new(), complaints)
}

/// These files, and all those that they may name: of their own directories, and of `directories`.
#[must_use]
pub fn with(files: &[PathBuf], directories: &[PathBuf], complaints: &mut Vec<Complaint>) -> Vec<Found> {
    let mut places: Vec<PathBuf> = Vec::new();
    let mut first = BTreeMap::new();
    for file in files {
        places.extend(file.parent().map(Path::to_owned).filter(|parent| !places.contains(parent)));
        if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
            first.insert(name.to_owned(), file.clone());
        }
    }
    places.extend(searched(directories));
    gather(&places, first, complaints)
}

fn gather(searched: &[PathBuf], mut files: BTreeMap<String, PathBuf>, complaints: &mut Vec<Complaint>) -> Vec<Found> {
    for directory in searched {
        for (name, path) in names(directory) {
            if is_ours(&name) {
                files.entry(name).or_insert(path);
            }
        }
    }
    let found = files.into_iter().filter_map(|(name, path)| read(&name, &path, searched, complaints));
    found.collect()
}

fn read(name: &str, path: &Path, searched: &[PathBuf], complaints: &mut Vec<Complaint>) -> Option<Found> {
    // A mask, as systemd's own are.
    if fs::metadata(path).is_ok_and(|data| data.file_type().is_char_device() && data.rdev() == NULL) {
        return None;
    }
    match text(path) {
        Ok(text) => {
            let main = Source { path: path.to_owned(), text };
            Some(Found { name: name.to_owned(), main, drop_ins: drop_ins(name, searched, complaints) })
        }
        Err(error) => {
            complaints.push(unread(path, &error, Weight::Unit));
            None
        }
    }
}

/// The number of /dev/null.
const NULL: u64 = 1 << 8 | 3;

fn unread(path: &Path, error: &io::Error, weight: Weight) -> Complaint {
    Complaint { path: path.to_owned(), line: 0, weight, sentence: format!("read it: {error}") }
}

fn is_ours(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !name.starts_with('.') && (Kind::split(name).is_some() || FOREIGN.contains(&extension))
}

/// The directories with those below them, but for drop-ins, and for those that are other users'.
fn searched(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut searched = Vec::new();
    for directory in directories {
        // The directory itself may be a link, those below may not: they could lead in a circle.
        let below_users = directory.file_name().is_some_and(|name| name == "users");
        descend(directory, (DEPTH, below_users), &mut searched);
    }
    searched
}

fn descend(directory: &Path, (depth, below_users): (usize, bool), searched: &mut Vec<PathBuf>) {
    if searched.iter().any(|known| known == directory) {
        return;
    }
    searched.push(directory.to_owned());
    let Some(depth) = depth.checked_sub(1) else { return };
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut below: Vec<_> =
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).collect();
    below.sort_by_key(fs::DirEntry::file_name);
    for entry in below {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `users` of the system's directories is for users; in it, a number is a user.
        let others = name == "users" || below_users && name.chars().all(|c| c.is_ascii_digit());
        if !name.ends_with(".d") && !name.starts_with('.') && !others {
            descend(&entry.path(), (depth, false), searched);
        }
    }
}

fn names(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.flatten().filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect();
    names.sort();
    names
}

/// Drop-ins in the order of their names, whatever directory they are from.
fn drop_ins(name: &str, searched: &[PathBuf], complaints: &mut Vec<Complaint>) -> Vec<Source> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    // The closest name wins, and among equals the first directory.
    for directory_name in drop_in_directories(name) {
        for directory in searched {
            for (name, path) in names(&directory.join(&directory_name)) {
                if name.ends_with(".conf") {
                    files.entry(name).or_insert(path);
                }
            }
        }
    }
    let mut sources = Vec::new();
    for path in files.into_values() {
        match text(&path) {
            Ok(text) => sources.push(Source { path, text }),
            Err(_) if fs::metadata(&path).is_ok_and(|data| data.file_type().is_char_device()) => {}
            Err(error) => complaints.push(unread(&path, &error, Weight::Line)),
        }
    }
    sources
}

/// The names of directories with drop-ins for `name`, the closest first: those of the instance and
/// its template, then what dashes leave of them, then those for all of a kind.
#[must_use]
pub fn drop_in_directories(name: &str) -> Vec<String> {
    let Some((stem, kind)) = Kind::split(name) else { return Vec::new() };
    let extension = kind.extension();
    let mut directories = vec![format!("{stem}.{extension}.d")];
    if let Some((prefix, instance)) = stem.split_once('@') {
        if !instance.is_empty() {
            directories.push(format!("{prefix}@.{extension}.d"));
        }
        // As systemd: the shorter names of a template have its @ no more.
        directories.extend(shorter(prefix).map(|short| format!("{short}@.{extension}.d")));
    }
    let prefix = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    directories.extend(shorter(prefix).map(|short| format!("{short}.{extension}.d")));
    directories.push(format!("{extension}.d"));
    directories
}

/// `a-b-c` without what stands after a dash: `a-b-`, `a-`.
fn shorter(stem: &str) -> impl Iterator<Item = &str> {
    let ends = stem.char_indices().rev().filter(|(_, c)| *c == '-').map(|(at, _)| at + 1);
    ends.filter(|end| *end < stem.len()).map(|end| &stem[..end])
}

fn text(path: &Path) -> io::Result<String> {
    // A pipe would wait for its writer.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_have_many_places() {
        let shown = |name: &str| drop_in_directories(name).join(" ");
        assert_eq!(shown("web.container"), "web.container.d container.d");
        assert_eq!(
            shown("foo-bar-baz.container"),
            "foo-bar-baz.container.d foo-bar-.container.d foo-.container.d container.d"
        );
        assert_eq!(shown("a-@x.volume"), "a-@x.volume.d a-@.volume.d volume.d");
        assert_eq!(shown("a-b@x.volume"), "a-b@x.volume.d a-b@.volume.d a-@.volume.d a-.volume.d volume.d");
        assert_eq!(shown("x.pod"), "");
    }

    #[test]
    fn the_first_directory_wins_and_masks_mask() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("one/web.container", "first");
        write("two/web.container", "second");
        write("two/sub/db.container", "below");
        write("two/users/7/theirs.container", "theirs");
        write("two/other.txt", "");
        write("two/web.container.d/20-b.conf", "b");
        write("one/container.d/10-a.conf", "a");
        write("one/web.container.d/30-c.conf", "c");
        write("two/container.d/30-c.conf", "hidden");
        write("two/gone.container", "");
        std::os::unix::fs::symlink("/dev/null", root.path().join("one/gone.container")).expect("a link");
        std::os::unix::fs::symlink("web.container", root.path().join("two/web@1.container")).expect("a link");
        let (pipe, owner) = (root.path().join("two/pipe.container"), rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, owner, 0).expect("a pipe");
        let mut complaints = Vec::new();
        let found =
            all(&[root.path().join("one"), root.path().join("two"), root.path().join("three")], &mut complaints);
        let shown: Vec<_> = found
            .iter()
            .map(|it| {
                let drop_ins: String = it.drop_ins.iter().map(|drop_in| drop_in.text.as_str()).collect();
                format!("{} {} {drop_ins}", it.name, it.main.text)
            })
            .collect();
        // For web alone 30-c.conf is a closer one's name, and so that is not read.
        let expected = ["db.container below ahidden", "web.container first abc", "web@1.container second ahidden"];
        assert_eq!(shown, expected);
        let complaints: Vec<_> = complaints.iter().map(|it| it.sentence.as_str()).collect();
        assert_eq!(complaints, ["read it: not a regular file"]);
    }
}
