//! Operations on the core, put to it as the kernel puts those of programs: a lookup for each
//! component, links followed here, and answered here what the kernel answers without asking.

use std::collections::{BTreeMap, BTreeSet};

use pybox_fuse_overlay::Ids;
use pybox_fuse_overlay::filesystem::{Attributes, Caller, Change, FileSystem as _, Move, New, ROOT, SetXattr, kind};
use rustix::io::Errno;

mod reading;
mod sight;

use self::reading::Reading;
use crate::bench::{Bench, View, me};
use crate::operations::Operation;
use crate::text;

pub(crate) type Answer = Result<String, Errno>;

/// Where a path ends.
struct End {
    parent: u64,
    name: String,
    node: Option<Attributes>,
}

/// An open file: the kernel remembers the name by which it was opened, wherever that is moved.
#[derive(Debug)]
struct Opened {
    ino: u64,
    parent: u64,
    name: String,
}

/// A mount, and what a kernel would remember of it.
pub(crate) struct Player {
    bench: Bench,
    view: Option<View>,
    open: BTreeMap<String, Opened>,
    /// How often each number was looked up and not forgotten.
    known: BTreeMap<u64, u64>,
    reading: Option<Reading>,
}

fn ok() -> Answer {
    Ok("ok".into())
}

/// As the model calls it.
pub(crate) fn name_of(error: Errno) -> String {
    let names = [
        (Errno::NOENT, "ENOENT"),
        (Errno::EXIST, "EEXIST"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::INVAL, "EINVAL"),
        (Errno::PERM, "EPERM"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NXIO, "ENXIO"),
        (Errno::NODATA, "ENODATA"),
    ];
    let found = names.iter().find(|(known, _)| *known == error);
    found.map_or_else(|| format!("{error:?}"), |(_, name)| (*name).into())
}

impl Player {
    pub(crate) fn new(bench: Bench) -> Self {
        let view = Some(bench.open());
        Self { bench, view, open: BTreeMap::new(), known: BTreeMap::new(), reading: None }
    }

    fn view(&self) -> &View {
        self.view.as_ref().expect("a mount")
    }

    /// Notes that an answer counts as a lookup.
    fn counted(&mut self, found: Attributes) -> Attributes {
        *self.known.entry(found.ino).or_default() += 1;
        found
    }

    fn lookup(&mut self, parent: u64, name: &str) -> Result<Attributes, Errno> {
        let found = self.view().overlay.lookup(parent, name.as_bytes())?;
        Ok(self.counted(found))
    }

    /// What a kernel does that is short of memory: only what is open stays known, and what is above it.
    pub(crate) fn forget(&mut self) {
        let stay = self.needed();
        for (ino, count) in std::mem::take(&mut self.known) {
            if stay.contains(&ino) {
                self.known.insert(ino, count);
            } else {
                self.view().overlay.forget(ino, count);
            }
        }
    }

    fn needed(&mut self) -> BTreeSet<u64> {
        let mut needed = BTreeSet::new();
        let open: Vec<_> = self.open.values().map(|open| (open.ino, open.parent)).collect();
        let read = self.reading.as_ref().map(|reading| (reading.ino, reading.ino));
        for (ino, parent) in open.into_iter().chain(read) {
            let mut above = Some(parent);
            // Of a directory that was removed nothing is above.
            while let Some(directory) = above.filter(|directory| needed.insert(*directory) && *directory != ROOT) {
                above = self.lookup(directory, "..").ok().map(|found| found.ino);
            }
            needed.insert(ino);
        }
        needed
    }

    pub(crate) fn remount(&mut self) {
        self.open.clear();
        self.known.clear();
        self.reading = None;
        self.view = None;
        self.view = Some(self.bench.open());
    }

    /// Names in the work directory that have no business there between two calls.
    pub(crate) fn litter(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.bench.work()).expect("list");
        let names = entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "whiteout" && name != "owners").collect()
    }

    fn walk(&mut self, from: u64, path: &str, follow: bool, depth: u32) -> Result<End, Errno> {
        if depth > 40 {
            return Err(Errno::LOOP);
        }
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        if self.view().overlay.attributes(from)?.kind() != kind::DIRECTORY {
            return Err(Errno::NOTDIR);
        }
        let node = match self.lookup(from, first) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        let target = match &node {
            Some(found) if found.kind() == kind::SYMLINK && (rest.is_some() || follow) => Some(self.target(found.ino)?),
            _ => None,
        };
        match (target, rest) {
            (Some(target), None) => self.walk(from, &target, true, depth + 1),
            (Some(target), Some(rest)) => {
                let end = self.walk(from, &target, true, depth + 1)?;
                self.walk(end.node.ok_or(Errno::NOENT)?.ino, rest, follow, depth + 1)
            }
            (None, Some(rest)) => self.walk(node.ok_or(Errno::NOENT)?.ino, rest, follow, depth),
            (None, None) => Ok(End { parent: from, name: first.into(), node }),
        }
    }

    fn target(&self, ino: u64) -> Result<String, Errno> {
        let target = self.view().overlay.read_link(ino)?;
        Ok(String::from_utf8(target).expect("a target that was given is text"))
    }

    fn end(&mut self, path: &str, follow: bool) -> Result<End, Errno> {
        self.walk(ROOT, path, follow, 0)
    }

    fn node(&mut self, path: &str, follow: bool) -> Result<Attributes, Errno> {
        match path.strip_prefix('@') {
            Some(open) => self.view().overlay.attributes(self.open[open].ino),
            None => self.end(path, follow)?.node.ok_or(Errno::NOENT),
        }
    }

    fn caller(&self) -> Caller {
        if self.bench.ids == Ids::Real { me() } else { Caller::default() }
    }

    fn make(&mut self, path: &str, (mode, mask): (u32, u32), target: &str) -> Answer {
        let end = self.end(path, false)?;
        self.make_at(&end, (mode, mask), target).and_then(|_| ok())
    }

    fn make_at(&mut self, end: &End, (mode, mask): (u32, u32), target: &str) -> Result<Attributes, Errno> {
        let new = New { mode, mask, rdev: 0, target: target.as_bytes() };
        let made = self.view().overlay.make(end.parent, end.name.as_bytes(), &new, self.caller())?;
        Ok(self.counted(made))
    }

    fn write(&mut self, path: &str, content: &[u8]) -> Answer {
        let end = self.end(path, true)?;
        let file = match end.node {
            None => self.make_at(&end, (kind::REGULAR | 0o666, 0o022), "")?,
            Some(found) => found,
        };
        match file.kind() {
            kind::REGULAR => {}
            kind::FIFO => return Err(Errno::NXIO),
            _ => return Err(Errno::ISDIR),
        }
        if end.node.is_some() {
            self.view().overlay.change(file.ino, &Change { size: Some(0), ..Change::default() })?;
        }
        self.put(file.ino, 0, content)
    }

    /// The kernel does not ask to write nothing.
    fn put(&self, ino: u64, offset: u64, content: &[u8]) -> Answer {
        if !content.is_empty() {
            let written = self.view().overlay.write(ino, offset, content, false)?;
            assert_eq!(written, content.len(), "a short write");
        }
        ok()
    }

    fn append(&mut self, path: &str, content: &[u8]) -> Answer {
        let found = self.node(path, true)?;
        match found.kind() {
            kind::REGULAR => self.put(found.ino, found.size, content),
            kind::FIFO => Err(Errno::NXIO),
            _ => Err(Errno::ISDIR),
        }
    }

    fn truncate(&mut self, path: &str, size: usize) -> Answer {
        let found = self.node(path, true)?;
        let change = Change { size: Some(size as u64), ..Change::default() };
        match found.kind() {
            kind::REGULAR => self.view().overlay.change(found.ino, &change).and_then(|_| ok()),
            kind::DIRECTORY => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    fn read(&self, ino: u64, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut content = vec![0; length];
        let got = self.view().overlay.read(ino, offset, &mut content)?;
        content.truncate(got);
        Ok(content)
    }

    fn cat(&mut self, path: &str) -> Answer {
        let found = self.node(path, true)?;
        match found.kind() {
            kind::FIFO => Ok(text::show(b"")),
            _ => Ok(text::show(&self.read(found.ino, 0, 1 << 16)?)),
        }
    }

    fn open(&mut self, name: &str, path: &str) -> Answer {
        let end = self.end(path, true)?;
        let found = end.node.ok_or(Errno::NOENT)?;
        let opened = Opened { ino: found.ino, parent: end.parent, name: end.name };
        match found.kind() {
            kind::REGULAR => self.open.insert(name.into(), opened),
            kind::DIRECTORY => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        };
        ok()
    }

    /// A kernel forgets at once what has no name and is closed.
    fn close(&mut self, name: &str) -> Answer {
        let ino = self.open.remove(name).expect("an open file").ino;
        let used = self.open.values().any(|open| open.ino == ino);
        if !used && self.view().overlay.attributes(ino)?.links == 0 {
            let count = self.known.remove(&ino).unwrap_or(0);
            self.view().overlay.forget(ino, count);
        }
        ok()
    }

    fn is_above(&mut self, node: u64, below: u64) -> Result<bool, Errno> {
        let mut at = below;
        while at != node && at != ROOT {
            at = self.lookup(at, "..")?.ino;
        }
        Ok(at == node)
    }

    fn rename(&mut self, from: &str, to: &str, flag: &str) -> Answer {
        let (from, to) = (self.end(from, false)?, self.end(to, false)?);
        let is_dir = |node: &Option<Attributes>| node.filter(|found| found.kind() == kind::DIRECTORY);
        let how = match flag {
            "noreplace" => Move::KeepTarget,
            "exchange" => Move::Exchange,
            _ => Move::Replace,
        };
        let asked = from.node.is_none()
            || (how == Move::KeepTarget && to.node.is_some())
            || (how == Move::Exchange && to.node.is_none());
        if !asked {
            if let Some(moved) = is_dir(&from.node)
                && self.is_above(moved.ino, to.parent)?
            {
                return Err(Errno::INVAL);
            }
            if let Some(target) = is_dir(&to.node)
                && self.is_above(target.ino, from.parent)?
            {
                return Err(if how == Move::Exchange { Errno::INVAL } else { Errno::NOTEMPTY });
            }
        }
        self.view().overlay.rename((from.parent, from.name.as_bytes()), (to.parent, to.name.as_bytes()), how)?;
        if from.node.map(|node| node.ino) != to.node.map(|node| node.ino) {
            self.moved((from.parent, &from.name), (to.parent, &to.name), how);
        }
        ok()
    }

    fn moved(&mut self, from: (u64, &str), to: (u64, &str), how: Move) {
        for open in self.open.values_mut() {
            let at = (open.parent, open.name.as_str());
            let now = match how {
                _ if at == from => to,
                Move::Exchange if at == to => from,
                _ => continue,
            };
            (open.parent, open.name) = (now.0, now.1.into());
        }
    }

    fn link(&mut self, from: &str, to: &str) -> Answer {
        let node = self.node(from, false)?;
        let end = self.end(to, false)?;
        let linked = self.view().overlay.link(node.ino, end.parent, end.name.as_bytes())?;
        self.counted(linked);
        assert_eq!(linked.ino, node.ino, "a link to another file");
        ok()
    }

    fn chown(&mut self, path: &str, uid: u32, gid: u32) -> Answer {
        let ino = self.node(path, false)?.ino;
        if self.bench.ids == Ids::Hidden {
            self.view().give(ino, uid, gid)?;
        } else {
            self.view().overlay.change(ino, &Change { uid: Some(uid), gid: Some(gid), ..Change::default() })?;
        }
        ok()
    }

    /// Attributes of users are for files and directories, says the kernel.
    fn with_attributes(&mut self, path: &str) -> Result<u64, Errno> {
        let found = self.node(path, false)?;
        let has = matches!(found.kind(), kind::REGULAR | kind::DIRECTORY);
        if has { Ok(found.ino) } else { Err(Errno::PERM) }
    }

    pub(crate) fn act(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Mkdir(path, mode) => self.make(path, (kind::DIRECTORY | mode, 0o022), ""),
            Operation::Symlink(target, path) => self.make(path, (kind::SYMLINK | 0o777, 0), target),
            Operation::Pipe(path) => self.make(path, (kind::FIFO | 0o600, 0), ""),
            Operation::Write(path, content) => self.write(path, content),
            Operation::Append(path, content) => self.append(path, content),
            Operation::Truncate(path, size) => self.truncate(path, *size),
            Operation::Cat(path) => self.cat(path),
            Operation::Open(name, path) => self.open(name, path),
            Operation::Pwrite(name, offset, content) => {
                self.put(self.open[name].ino, *offset as u64, content)?;
                Ok(content.len().to_string())
            }
            Operation::Pread(name, offset, length) => {
                Ok(text::show(&self.read(self.open[name].ino, *offset as u64, *length)?))
            }
            Operation::Close(name) => self.close(name),
            Operation::List(path) => self.list(path),
            Operation::Stat(path) => self.stat(path),
            Operation::Tree => self.tree(),
            Operation::Remount => {
                self.remount();
                ok()
            }
            _ => self.act_on_names(operation),
        }
    }

    fn act_on_names(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Unlink(path) => {
                let end = self.end(path, false)?;
                self.view().overlay.unlink(end.parent, end.name.as_bytes()).and_then(|()| ok())
            }
            Operation::Rmdir(path) => {
                let end = self.end(path, false)?;
                self.view().overlay.rmdir(end.parent, end.name.as_bytes()).and_then(|()| ok())
            }
            Operation::Rename(from, to, flag) => self.rename(from, to, flag),
            Operation::Link(from, to) => self.link(from, to),
            Operation::Chmod(path, mode) => {
                let ino = self.node(path, true)?.ino;
                let change = Change { mode: Some(*mode), ..Change::default() };
                self.view().overlay.change(ino, &change).and_then(|_| ok())
            }
            Operation::Chown(path, uid, gid) => self.chown(path, *uid, *gid),
            Operation::SetAttribute(path, name, value) => {
                let ino = self.with_attributes(path)?;
                let how = SetXattr::default();
                self.view().overlay.set_xattr(ino, name.as_bytes(), value.as_bytes(), how).and_then(|()| ok())
            }
            Operation::RemoveAttribute(path, name) => {
                let ino = self.with_attributes(path)?;
                self.view().overlay.remove_xattr(ino, name.as_bytes()).and_then(|()| ok())
            }
            other => unreachable!("{other:?} is no operation on names"),
        }
    }
}
