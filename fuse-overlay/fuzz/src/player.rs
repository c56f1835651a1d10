//! Operations on the core, put to it as the kernel puts those of programs: a lookup for each
//! component, links followed here, and answered here what the kernel answers without asking.

use std::collections::BTreeMap;

use pybox_fuse_overlay::Ids;
use pybox_fuse_overlay::filesystem::{
    Attributes, Caller, Change, FileSystem as _, Listed, Listing, Move, New, ROOT, SetXattr, kind,
};
use rustix::io::Errno;

use crate::bench::{Bench, View, me};
use crate::operations::Operation;
use crate::text;

pub(crate) type Answer = Result<String, Errno>;

/// Links and names of each file.
type Names = BTreeMap<u64, (u32, Vec<String>)>;

/// Where a path ends.
struct End {
    parent: u64,
    name: String,
    node: Option<Attributes>,
}

/// A mount, and what a kernel would remember of it.
pub(crate) struct Player {
    bench: Bench,
    view: Option<View>,
    open: BTreeMap<String, u64>,
    /// How often each number was looked up and not forgotten.
    known: BTreeMap<u64, u64>,
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
        Self { bench, view, open: BTreeMap::new(), known: BTreeMap::new() }
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

    /// What a kernel does that is short of memory: only what is open stays known.
    pub(crate) fn forget(&mut self) {
        let open: Vec<u64> = self.open.values().copied().collect();
        let (stay, go) = std::mem::take(&mut self.known).into_iter().partition(|(ino, _)| open.contains(ino));
        self.known = stay;
        let go: BTreeMap<u64, u64> = go;
        for (ino, count) in go {
            self.view().overlay.forget(ino, count);
        }
    }

    pub(crate) fn remount(&mut self) {
        self.open.clear();
        self.known.clear();
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
            Some(open) => self.view().overlay.attributes(self.open[open]),
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
        let found = self.node(path, true)?;
        match found.kind() {
            kind::REGULAR => self.open.insert(name.into(), found.ino),
            kind::DIRECTORY => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        };
        ok()
    }

    /// A kernel forgets at once what has no name and is closed.
    fn close(&mut self, name: &str) -> Answer {
        let ino = self.open.remove(name).expect("an open file");
        let used = self.open.values().any(|open| *open == ino);
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
        ok()
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
            self.view().overlay.set_owner(ino, Some(uid), Some(gid))?;
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

    /// A listing in small pieces, each entry as a lookup finds it.
    fn entries(&mut self, ino: u64) -> Result<Vec<(String, Attributes)>, Errno> {
        let mut listed = Vec::new();
        let mut offset = 0;
        loop {
            let mut page = Page { entries: Vec::new(), next: offset, room: 3 };
            self.view().overlay.list(ino, offset, &mut page)?;
            if page.entries.is_empty() {
                break;
            }
            offset = page.next;
            listed.extend(page.entries);
        }
        let mut entries = Vec::new();
        for (name, of_list, known) in listed {
            if known {
                self.counted(of_list);
            }
            if name == "." || name == ".." {
                continue;
            }
            let found = self.lookup(ino, &name)?;
            assert_eq!((of_list.ino, of_list.kind()), (found.ino, found.kind()), "`{name}` as listed, as looked up");
            if known {
                assert_eq!(of_list, found, "`{name}` as listed, as looked up");
            }
            entries.push((name, found));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }

    fn list(&mut self, path: &str) -> Answer {
        let found = self.node(path, true)?;
        let names: Vec<_> = self.entries(found.ino)?.into_iter().map(|(name, _)| name).collect();
        Ok(if names.is_empty() { "empty".into() } else { names.join(" ") })
    }

    /// Who the model's user is, is whoever runs this.
    fn owner(&self, found: &Attributes) -> Result<(u32, u32), Errno> {
        let truth = self.view().overlay.owner_of(found.ino)?;
        if self.bench.ids != Ids::Hidden {
            assert_eq!((truth.uid, truth.gid), (found.uid, found.gid), "the owner shown, the true one");
        }
        let own = |id: u32, me: u32| if id == me { 0 } else { id };
        Ok((own(truth.uid, me().uid), own(truth.gid, me().gid)))
    }

    fn stat(&mut self, path: &str) -> Answer {
        let found = self.node(path, false)?;
        let (uid, gid) = self.owner(&found)?;
        Ok(format!("{} {:04o} {uid} {gid}", kind_name(found.kind()), found.mode & 0o7777))
    }

    fn tree(&mut self) -> Answer {
        let root = self.view().overlay.attributes(ROOT)?;
        let mut lines = Vec::new();
        let mut names = Names::new();
        self.dump(&root, ".", (&mut lines, &mut names))?;
        for (links, names) in names.values() {
            assert_eq!(*links as usize, names.len(), "links of {names:?}");
        }
        Ok(lines.join(" "))
    }

    fn dump(
        &mut self,
        found: &Attributes,
        path: &str,
        (lines, names): (&mut Vec<String>, &mut Names),
    ) -> Result<(), Errno> {
        let mut inside = Vec::new();
        let content = match found.kind() {
            kind::REGULAR => {
                let content = self.read(found.ino, 0, 1 << 16)?;
                assert_eq!(content.len() as u64, found.size, "bytes of {path}");
                format!("{}:{:x}:{}", content.len(), text::sum(&content), found.links)
            }
            kind::SYMLINK => format!("{}:{}", self.target(found.ino)?, found.links),
            kind::DIRECTORY => {
                inside = self.entries(found.ino)?;
                inside.len().to_string()
            }
            _ => found.links.to_string(),
        };
        let (uid, gid) = self.owner(found)?;
        let (kind, mode) = (kind_name(found.kind()), found.mode & 0o7777);
        lines.push(format!("{path}|{kind}|{mode:04o}|{uid}:{gid}|{content}|{}", self.attributes(found)?));
        if found.kind() != kind::DIRECTORY {
            names.entry(found.ino).or_insert((found.links, Vec::new())).1.push(path.into());
        }
        for (name, found) in inside {
            self.dump(&found, &format!("{path}/{name}"), (lines, names))?;
        }
        Ok(())
    }

    fn attributes(&self, found: &Attributes) -> Answer {
        if !matches!(found.kind(), kind::REGULAR | kind::DIRECTORY) {
            return Ok(String::new());
        }
        let overlay = &self.view().overlay;
        let mut attributes = Vec::new();
        for name in overlay.xattr_names(found.ino)?.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = overlay.xattr(found.ino, name)?;
            attributes.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(&value)));
        }
        attributes.sort();
        Ok(attributes.join(","))
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
                self.put(self.open[name], *offset as u64, content)?;
                Ok(content.len().to_string())
            }
            Operation::Pread(name, offset, length) => {
                Ok(text::show(&self.read(self.open[name], *offset as u64, *length)?))
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

fn kind_name(kind: u32) -> &'static str {
    match kind {
        kind::REGULAR => "file",
        kind::DIRECTORY => "dir",
        kind::SYMLINK => "link",
        kind::FIFO => "fifo",
        _ => "other",
    }
}

/// A few entries of a listing, now and then with attributes, as the kernel asks.
struct Page {
    entries: Vec<(String, Attributes, bool)>,
    next: u64,
    room: usize,
}

impl Listing for Page {
    fn wants_attributes(&self) -> bool {
        true
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        if self.entries.len() == self.room {
            return false;
        }
        self.entries.push((String::from_utf8_lossy(entry.name).into_owned(), entry.attributes, entry.known));
        self.next = entry.next;
        true
    }

    fn room(&self) -> usize {
        100
    }
}
