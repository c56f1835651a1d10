//! What fits a pattern in the root of a container.
//!
//! Directories on the way are opened within that root, so a link there leads nowhere else; one that a
//! pattern fits is told as what it leads to. `**` enters no links: it would find things twice, or for ever.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::failure::Failure;
use super::view::{Outcome, failed, resolve};
use crate::model::pattern;
use crate::sys::path::{RootFd, lstat_at};

/// More than anybody means to copy by a pattern.
const MOST: usize = 100_000;

/// Writes what fits `parts`, as [`super::worker::view::Task::Find`] says.
pub(super) fn find(
    root: &RootFd,
    parts: &[String],
    (pivot, deep): (usize, bool),
    output: OwnedFd,
) -> Result<Outcome, Failure> {
    // Each path once, with as much of it as comes before the pivot.
    let mut found = BTreeMap::from([(PathBuf::from("/"), 0)]);
    for (index, part) in parts.iter().enumerate() {
        let mut next = BTreeMap::new();
        for (above, before) in found {
            let before = if index == pivot { above.as_os_str().len() } else { before };
            for path in step(root, &above, (part, deep)).map_err(failed("look at", &above))? {
                next.entry(path).or_insert(before);
            }
        }
        if next.len() > MOST {
            return Err(failed("find so much in", Path::new(&parts.join("/")))(Errno::TOOBIG));
        }
        found = next;
    }
    let failed_to_tell = |error| Failure::io("tell what was found", &error);
    let (mut output, mut count) = (BufWriter::new(File::from(output)), 0);
    for (path, before) in found {
        let before = if pivot >= parts.len() { path.as_os_str().len() } else { before };
        let (resolved, kind) = match looked(root, &path) {
            // What fits a pattern, and leads nowhere, is not there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => other.map_err(failed("look at", &path))?,
        };
        let letter = if kind == FileType::Directory { b"d" } else { b"f" };
        let number = before.to_string();
        for field in
            [letter.as_slice(), number.as_bytes(), path.as_os_str().as_bytes(), resolved.as_os_str().as_bytes()]
        {
            output.write_all(field).and_then(|()| output.write_all(&[0])).map_err(failed_to_tell)?;
        }
        count += 1;
    }
    output.flush().map_err(failed_to_tell)?;
    Ok(Outcome::Done(count))
}

/// What `part` means in the directory `above`.
fn step(root: &RootFd, above: &Path, (part, deep): (&str, bool)) -> Result<Vec<PathBuf>, Errno> {
    if deep && part == "**" {
        return below(root, above);
    }
    if !pattern::is_pattern(part) {
        return Ok(vec![above.join(part)]);
    }
    let names = names(root, above)?.into_iter();
    Ok(names.filter(|name| pattern::matches(part, &name.to_string_lossy())).map(|name| above.join(name)).collect())
}

/// `above` and all directories in it.
fn below(root: &RootFd, above: &Path) -> Result<Vec<PathBuf>, Errno> {
    let (mut pending, mut all) = (vec![above.to_owned()], Vec::new());
    while let Some(path) = pending.pop() {
        if all.len() > MOST {
            return Err(Errno::TOOBIG);
        }
        for name in names(root, &path)? {
            let entry = path.join(name);
            let (parent, name) = root.parent(&entry)?;
            let stat = lstat_at(parent.as_fd(), name)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(entry);
            }
        }
        all.push(path);
    }
    Ok(all)
}

/// What is in a directory; nothing for what is none.
fn names(root: &RootFd, path: &Path) -> Result<Vec<std::ffi::OsString>, Errno> {
    let directory = match root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(std::ffi::OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn looked(root: &RootFd, path: &Path) -> Result<(PathBuf, FileType), Errno> {
    let resolved = resolve(root, path)?;
    let stat = rustix::fs::fstat(root.open(&resolved, OFlags::PATH, Mode::empty())?)?;
    Ok((resolved, FileType::from_raw_mode(stat.st_mode)))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(tree: &Path, pattern: &str, pivot: usize, deep: bool) -> Vec<String> {
        let root = RootFd::open_trusted(tree).expect("open");
        let parts: Vec<String> = pattern.split('/').map(str::to_owned).collect();
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let count = match find(&root, &parts, (pivot, deep), writer.into()).expect("found") {
            Outcome::Done(count) => count,
            _ => panic!("something else"),
        };
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let fields: Vec<&str> = text.split_terminator('\0').collect();
        assert_eq!(fields.len() as u64, count * 4);
        fields.chunks(4).map(|fields| fields.join(" ")).collect()
    }

    #[test]
    fn patterns_find_what_is_in_the_root_and_nothing_else() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let tree = dir.path();
        for path in ["a/one.txt", "a/deep/er/two.txt", "b/three.txt", "b/four.log"] {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            std::fs::write(path, "x").expect("write");
        }
        for (target, name) in [("one.txt", "a/link.txt"), ("/etc/passwd", "a/out.txt"), ("/a", "c"), ("..", "a/up")] {
            symlink(target, tree.join(name)).expect("a link");
        }
        for (pattern, pivot, deep, expected) in [
            ("a/*.txt", 0, false, vec!["f 1 /a/link.txt /a/one.txt", "f 1 /a/one.txt /a/one.txt"]),
            ("?/t*", 1, false, vec!["f 2 /b/three.txt /b/three.txt"]),
            ("[c]", 0, false, vec!["d 1 /c /a"]),
            ("c/one*", 0, false, vec!["f 1 /c/one.txt /c/one.txt"]),
            ("**/t*.txt", 0, true, vec!["f 1 /a/deep/er/two.txt /a/deep/er/two.txt", "f 1 /b/three.txt /b/three.txt"]),
            ("**/t*.txt", 0, false, vec!["f 1 /b/three.txt /b/three.txt"]),
            ("a/nothing", 0, true, vec![]),
            ("a/up/up/up/et*", 0, false, vec![]),
        ] {
            assert_eq!(found(tree, pattern, pivot, deep), expected, "{pattern}");
        }
    }
}
