//! What a worker does in the root of a container, which is its own root by then.

mod mountpoint;

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::apply::{Layer, Manner};
use super::decompress::Decompressor;
use super::failure::Failure;
use super::find;
use super::pack::{self, Choice, Style, Times};
use super::tar::reader::Archive;
use super::truth::{self, Truth};
use super::unpack::Pipeline;
use super::worker::view::{Change, FileKind, Looked, Owners, Stub, Task};
use super::worker::{Compression, Limits};
use crate::model::ignore::Ignore;
use crate::sys::path::{RootFd, lstat_at};

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;
/// All paths that are asked for at once.
const MOST_PATHS: u64 = 256 << 20;

/// What came of a task.
pub(crate) enum Outcome {
    /// It was about so many entries.
    Done(u64),
    /// What a path is.
    Looked(Looked),
    /// What there is to mount on.
    Prepared(Vec<Stub>),
}

/// Does `task` below `root`, whose files belong to those whom `truth` names; `stream`s are what it reads and writes, in this order.
pub(crate) fn perform(root: &OwnedFd, task: &Task, truth: &Truth, streams: Vec<OwnedFd>) -> Result<Outcome, Failure> {
    let mut streams = streams.into_iter();
    let mut next = || streams.next().ok_or_else(|| Failure::sys("receive a job's descriptors", Errno::BADF));
    let copy = rustix::io::fcntl_dupfd_cloexec(root, 3).map_err(|error| Failure::sys("open the root", error))?;
    let tree = RootFd::new(copy);
    match task {
        Task::Look { path } => look(&tree, path).map(Outcome::Looked),
        Task::Archive { path, name, dress, follow, cross, exclude } => {
            let (owner, mode) = (dress.owner, dress.mode);
            let times = if dress.timeless { Times::Fixed(0) } else { Times::Kept };
            let (name, without_root) = (name.as_bytes(), dress.without_root);
            let style = Style { name, cross: *cross, owner, mode, times, without_root, ..Style::default() };
            archive(&tree, (path, *follow), (style, &Ignore::of(exclude)), (truth, next()?))
        }
        Task::Find { parts, pivot, deep } => find::find(&tree, parts, (*pivot, *deep), next()?),
        Task::Extract { path, owners, root } => extract(&tree, path, (*owners, *root), next()?),
        Task::Place { path, owner } => {
            make_directories(&tree, path, *owner).map_err(failed("make", path))?;
            extract(&tree, path, (Owners::Archive, false), next()?)
        }
        Task::Layer { latest, stubs, .. } => {
            mountpoint::remove_untouched(&tree, stubs);
            let times = latest.map_or(Times::Kept, Times::AtMost);
            let style = Style { layer: true, times, ..Style::default() };
            archive(&tree, (Path::new("/"), false), (style, &Ignore::default()), (truth, next()?))
        }
        Task::Prepare { places } => mountpoint::prepare(&tree, places).map(Outcome::Prepared),
        Task::Give { path, owner, mode } => {
            give(&tree, path, (*owner, *mode)).map_err(failed("give away", path)).map(|()| Outcome::Done(1))
        }
        Task::Changes => changes(root.as_fd(), next()?),
        Task::Present => {
            let asked = next()?;
            present(&tree, asked, next()?)
        }
    }
}

/// Makes the directories of `path` that are missing; links on the way are followed within the root.
fn make_directories(root: &RootFd, path: &Path, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let mut walked = PathBuf::from("/");
    for component in clean(path).components() {
        let Component::Normal(name) = component else { continue };
        let above = root.open(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        walked.push(name);
        match root.open(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {}
            other => {
                other?;
                continue;
            }
        }
        rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
        if (uid, gid) != (0, 0) {
            truth::own(above.as_fd(), name.as_bytes(), (uid, gid))?;
        }
    }
    Ok(())
}

fn give(root: &RootFd, path: &Path, ((uid, gid), mode): ((u32, u32), u32)) -> Result<(), Errno> {
    let (parent, name) = root.parent(path)?;
    if FileType::from_raw_mode(lstat_at(parent.as_fd(), name)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    // A new owner takes some bits away.
    rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl Fn(Errno) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::sys(format!("{what} {path} in the container"), error)
}

fn look(root: &RootFd, path: &Path) -> Result<Looked, Failure> {
    let resolved = resolve(root, path).map_err(failed("look at", path))?;
    let found = match root.open(&resolved, OFlags::PATH, Mode::empty()) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(failed("look at", path)(error)),
    };
    let kind = found.map(|found| rustix::fs::fstat(&found)).transpose().map_err(failed("look at", path))?;
    let kind = kind.map(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        _ => FileKind::File,
    });
    Ok(Looked { kind, link: resolved != clean(path), path: resolved })
}

/// The path with the links in last place followed; what is on the way, the kernel follows.
pub(super) fn resolve(root: &RootFd, path: &Path) -> Result<PathBuf, Errno> {
    let mut path = clean(path);
    for _ in 0..MOST_LINKS {
        let Ok((parent, name)) = root.parent(&path) else { return Ok(path) };
        let stat = match lstat_at(parent.as_fd(), name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(path),
            Err(error) => return Err(error),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(path);
        }
        let target = rustix::fs::readlinkat(&parent, name, Vec::new())?;
        let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
        // An absolute one replaces all of it.
        path = clean(&path.parent().unwrap_or(Path::new("/")).join(target));
    }
    Err(Errno::LOOP)
}

/// The path with all links followed; what is not there, is as it is written.
fn real(root: &RootFd, path: &Path) -> Result<PathBuf, Errno> {
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (mut rest, mut walked, mut links) = (parts(&clean(path)), PathBuf::from("/"), 0);
    while let Some(part) = rest.pop() {
        match part.as_bytes() {
            b"/" => walked = PathBuf::from("/"),
            b"." => {}
            b".." => drop(walked.pop()),
            _ => {
                walked.push(&part);
                let Ok((parent, name)) = root.parent(&walked) else { continue };
                let Ok(stat) = lstat_at(parent.as_fd(), name) else { continue };
                if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                    continue;
                }
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&parent, name, Vec::new())?;
                walked.pop();
                rest.extend(parts(Path::new(&std::ffi::OsString::from_vec(target.into_bytes()))));
            }
        }
    }
    Ok(walked)
}

/// Absolute, without dots. A `..` behind a link means something else to the kernel; of paths
/// that people type, and of targets of links in last place, it is what they mean.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

fn archive(
    root: &RootFd,
    (path, follow): (&Path, bool),
    (style, exclude): (Style<'_>, &Ignore),
    (truth, output): (&Truth, OwnedFd),
) -> Result<Outcome, Failure> {
    let path = if follow { resolve(root, path).map_err(failed("look at", path))? } else { clean(path) };
    let output = BufWriter::with_capacity(256 << 10, File::from(output));
    let (directory, start) = match root.parent(&path) {
        Ok((parent, name)) => (parent, name.as_bytes().to_vec()),
        // The root itself.
        Err(Errno::INVAL) => {
            let all = root.open(".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            (all.map_err(failed("open", &path))?, Vec::new())
        }
        Err(error) => return Err(failed("open", &path)(error)),
    };
    let choose = |path: &[u8]| exclude.fate_below(&start, path);
    let choice = (!exclude.is_empty()).then_some(Choice(&choose));
    let packed = pack::pack_truly(directory, &start, Style { choice, ..style }, truth, output);
    packed.map(|packed| Outcome::Done(packed.entries)).map_err(|error| match error {
        super::failure::SnapshotError::Io { operation, source } => Failure::io(operation, &source),
        other => Failure::corrupt(other.to_string()),
    })
}

fn extract(root: &RootFd, path: &Path, (owners, own): (Owners, bool), input: OwnedFd) -> Result<Outcome, Failure> {
    let into = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(failed("open", path))?;
    let limits = Limits { total: u64::MAX, entries: u64::MAX, ratio: u64::MAX, ..Limits::default() };
    let mut input = File::from(input);
    let (compression, head) = compression(&mut input).map_err(|error| Failure::io("read the archive", &error))?;
    let input = std::io::Cursor::new(head).chain(input);
    let input = Decompressor::new(Box::new(input), compression, limits)?;
    let mut archive = Archive::new(Pipeline::start(input)?);
    let mut layer = Layer::over(into.as_fd(), limits, Manner::Tree { owners, root: own })?;
    while let Some(entry) = archive.next_entry()? {
        layer.apply(entry, &mut archive)?;
    }
    layer.finish().map(|done| Outcome::Done(done.entries))
}

/// How the archive is compressed, and the bytes that told.
fn compression(input: &mut File) -> std::io::Result<(Compression, Vec<u8>)> {
    let mut head = Vec::new();
    std::io::Read::by_ref(input).take(4).read_to_end(&mut head)?;
    let compression = match head.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    };
    Ok((compression, head))
}

fn changes(root: BorrowedFd<'_>, output: OwnedFd) -> Result<Outcome, Failure> {
    let mut output = BufWriter::new(File::from(output));
    let mut count = 0;
    pack::walk_changes(root, |gone, path| {
        count += 1;
        let kind = if gone { Change::Gone } else { Change::Present };
        output.write_all(&[kind as u8])?;
        output.write_all(path)?;
        output.write_all(&[0])
    })
    .map_err(|error| Failure::io("read the container's changes", &error))?;
    output.flush().map_err(|error| Failure::io("tell the container's changes", &error))?;
    Ok(Outcome::Done(count))
}

fn present(root: &RootFd, asked: OwnedFd, output: OwnedFd) -> Result<Outcome, Failure> {
    let mut text = Vec::new();
    let read = File::from(asked).take(MOST_PATHS).read_to_end(&mut text);
    read.map_err(|error| Failure::io("read the paths", &error))?;
    let mut answer = Vec::new();
    for path in text.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let there = root.parent(path).is_ok_and(|(parent, name)| lstat_at(parent.as_fd(), name).is_ok());
        answer.push(if there { b'1' } else { b'0' });
    }
    File::from(output).write_all(&answer).map_err(|error| Failure::io("tell of the paths", &error))?;
    Ok(Outcome::Done(answer.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_last_place_are_followed_within_the_root() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let tree = dir.path();
        std::fs::create_dir_all(tree.join("a/b")).expect("mkdir");
        std::fs::write(tree.join("a/b/file"), "x").expect("write");
        for (target, name) in [
            ("b/file", "a/relative"),
            ("/a/b/file", "absolute"),
            ("../../../../etc/passwd", "out"),
            ("one", "two"),
            ("two", "one"),
            ("a/b", "dir"),
            ("nowhere/at/all", "dangling"),
        ] {
            std::os::unix::fs::symlink(target, tree.join(name)).expect("symlink");
        }
        let root = RootFd::open_trusted(tree).expect("open");
        let looked = |path: &str| look(&root, Path::new(path)).map(|looked| (looked.kind, looked.path, looked.link));
        let file = |path: &str, link| (Some(FileKind::File), PathBuf::from(path), link);
        assert_eq!(looked("/a/b/file").expect("found"), file("/a/b/file", false));
        assert_eq!(looked("a/relative").expect("found"), file("/a/b/file", true));
        assert_eq!(looked("/absolute").expect("found"), file("/a/b/file", true));
        assert_eq!(looked("/dir/").expect("found"), (Some(FileKind::Directory), "/a/b".into(), true));
        assert_eq!(looked("/").expect("found"), (Some(FileKind::Directory), "/".into(), false));
        assert_eq!(looked("/out").expect("found"), (None, "/etc/passwd".into(), true));
        assert_eq!(looked("/new").expect("found"), (None, "/new".into(), false));
        assert!(looked("/one").is_err());
        assert_eq!(looked("/a/../a/./b//file").expect("found"), file("/a/b/file", false));
    }
}
