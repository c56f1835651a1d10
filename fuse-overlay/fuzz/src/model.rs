//! A file system of maps: what a real one has to answer. Knows one user, root of a
//! namespace, and none of the rights of others.

use std::collections::BTreeMap;

use crate::operations::Laid;
use crate::rules::Rules;
use crate::text;

/// The name of an errno, as the steps write it.
pub(crate) type Errno = &'static str;
pub(crate) type Answer = Result<String, Errno>;

#[derive(Clone, Debug)]
enum Body {
    File(Vec<u8>),
    Directory(BTreeMap<String, usize>),
    Link(String),
    Pipe,
}

#[derive(Clone, Debug)]
struct Node {
    body: Body,
    mode: u32,
    owner: (u32, u32),
    links: u32,
    attributes: BTreeMap<String, String>,
    /// A directory of which a layer has a part.
    below: bool,
    /// Where it is, for directories.
    parent: usize,
}

/// Where a path ends.
struct End {
    parent: usize,
    name: String,
    node: Option<usize>,
}

/// The tree and what is open.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    nodes: Vec<Node>,
    open: BTreeMap<String, usize>,
    rules: Rules,
}

const ROOT: usize = 0;

fn ok() -> Answer {
    Ok("ok".into())
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        let mut model = Self { nodes: Vec::new(), open: BTreeMap::new(), rules };
        let root = model.add(Body::Directory(BTreeMap::new()), 0o755, ROOT);
        if let Some((name, value)) = rules.mark() {
            model.nodes[root].attributes.insert(name.into(), value.into());
        }
        model
    }

    fn add(&mut self, body: Body, mode: u32, parent: usize) -> usize {
        let attributes = BTreeMap::new();
        self.nodes.push(Node { body, mode, owner: (0, 0), links: 0, attributes, below: false, parent });
        self.nodes.len() - 1
    }

    fn entries(&self, node: usize) -> Result<&BTreeMap<String, usize>, Errno> {
        match &self.nodes[node].body {
            Body::Directory(entries) => Ok(entries),
            _ => Err("ENOTDIR"),
        }
    }

    fn is_directory(&self, node: usize) -> bool {
        matches!(self.nodes[node].body, Body::Directory(_))
    }

    fn entries_mut(&mut self, node: usize) -> Result<&mut BTreeMap<String, usize>, Errno> {
        match &mut self.nodes[node].body {
            Body::Directory(entries) => Ok(entries),
            _ => Err("ENOTDIR"),
        }
    }

    fn walk(&self, from: usize, path: &str, follow: bool, depth: u32) -> Result<End, Errno> {
        if depth > 40 {
            return Err("ELOOP");
        }
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let entries = self.entries(from)?;
        let node = match first {
            ".." => Some(self.nodes[from].parent),
            "." => Some(from),
            name => entries.get(name).copied(),
        };
        let target = node.and_then(|node| match &self.nodes[node].body {
            Body::Link(target) if rest.is_some() || follow => Some(target.clone()),
            _ => None,
        });
        match (target, rest) {
            (Some(target), None) => self.walk(from, &target, true, depth + 1),
            (Some(target), Some(rest)) => {
                let end = self.walk(from, &target, true, depth + 1)?;
                self.walk(end.node.ok_or("ENOENT")?, rest, follow, depth + 1)
            }
            (None, Some(rest)) => self.walk(node.ok_or("ENOENT")?, rest, follow, depth),
            (None, None) => Ok(End { parent: from, name: first.into(), node }),
        }
    }

    fn end(&self, path: &str, follow: bool) -> Result<End, Errno> {
        self.walk(ROOT, path, follow, 0)
    }

    fn node(&self, path: &str, follow: bool) -> Result<usize, Errno> {
        if let Some(open) = path.strip_prefix('@') {
            return Ok(self.open[open]);
        }
        self.end(path, follow)?.node.ok_or("ENOENT")
    }

    fn enter(&mut self, end: &End, node: usize) -> Answer {
        self.entries_mut(end.parent)?.insert(end.name.clone(), node);
        self.nodes[node].links += 1;
        if self.is_directory(node) {
            self.nodes[node].parent = end.parent;
        }
        ok()
    }

    fn leave(&mut self, end: &End) -> Answer {
        if let Some(node) = self.entries_mut(end.parent)?.remove(&end.name) {
            self.nodes[node].links -= 1;
        }
        ok()
    }

    fn make(&mut self, path: &str, body: Body, mode: u32) -> Answer {
        let end = self.end(path, false)?;
        if end.node.is_some() {
            return Err("EEXIST");
        }
        let node = self.add(body, mode, end.parent);
        self.enter(&end, node)
    }

    pub(crate) fn mkdir(&mut self, path: &str, mode: u32) -> Answer {
        self.make(path, Body::Directory(BTreeMap::new()), mode & !0o022)
    }

    pub(crate) fn symlink(&mut self, target: &str, path: &str) -> Answer {
        self.make(path, Body::Link(target.into()), 0o777)
    }

    pub(crate) fn pipe(&mut self, path: &str) -> Answer {
        self.make(path, Body::Pipe, 0o600)
    }

    /// Opens to write, and makes what is not there.
    fn create(&mut self, path: &str) -> Result<usize, Errno> {
        let end = self.end(path, true)?;
        let Some(node) = end.node else {
            let node = self.add(Body::File(Vec::new()), 0o644, end.parent);
            self.enter(&end, node)?;
            return Ok(node);
        };
        match self.nodes[node].body {
            Body::File(_) => Ok(node),
            Body::Pipe => Err("ENXIO"),
            Body::Directory(_) | Body::Link(_) => Err("EISDIR"),
        }
    }

    pub(crate) fn write(&mut self, path: &str, content: &[u8]) -> Answer {
        let node = self.create(path)?;
        self.nodes[node].body = Body::File(content.to_vec());
        ok()
    }

    fn content(&mut self, node: usize) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.nodes[node].body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err("EISDIR"),
            _ => Err("EINVAL"),
        }
    }

    pub(crate) fn append(&mut self, path: &str, content: &[u8]) -> Answer {
        let node = self.node(path, true)?;
        if matches!(self.nodes[node].body, Body::Pipe) {
            return Err("ENXIO");
        }
        self.content(node)?.extend(content);
        ok()
    }

    pub(crate) fn truncate(&mut self, path: &str, size: usize) -> Answer {
        let node = self.node(path, true)?;
        self.content(node)?.resize(size, 0);
        ok()
    }

    pub(crate) fn cat(&mut self, path: &str) -> Answer {
        let node = self.node(path, true)?;
        if matches!(self.nodes[node].body, Body::Pipe) {
            return Ok(text::show(b""));
        }
        Ok(text::show(self.content(node)?))
    }

    pub(crate) fn open(&mut self, name: &str, path: &str) -> Answer {
        let node = self.node(path, true)?;
        match self.nodes[node].body {
            Body::File(_) => self.open.insert(name.into(), node),
            Body::Directory(_) => return Err("EISDIR"),
            _ => return Err("EINVAL"),
        };
        ok()
    }

    pub(crate) fn pwrite(&mut self, name: &str, offset: usize, content: &[u8]) -> Answer {
        let node = self.open[name];
        let file = self.content(node)?;
        if !content.is_empty() && file.len() < offset + content.len() {
            file.resize(offset + content.len(), 0);
        }
        if let Some(place) = file.get_mut(offset..offset + content.len()) {
            place.copy_from_slice(content);
        }
        Ok(content.len().to_string())
    }

    pub(crate) fn pread(&mut self, name: &str, offset: usize, length: usize) -> Answer {
        let node = self.open[name];
        let file = self.content(node)?;
        let end = file.len().min(offset + length);
        Ok(text::show(file.get(offset..end).unwrap_or_default()))
    }

    pub(crate) fn close(&mut self, name: &str) -> Answer {
        self.open.remove(name);
        ok()
    }

    pub(crate) fn unlink(&mut self, path: &str) -> Answer {
        let end = self.end(path, false)?;
        if self.is_directory(end.node.ok_or("ENOENT")?) {
            return Err("EISDIR");
        }
        self.leave(&end)
    }

    pub(crate) fn rmdir(&mut self, path: &str) -> Answer {
        let end = self.end(path, false)?;
        if self.entries(end.node.ok_or("ENOENT")?)?.is_empty() { self.leave(&end) } else { Err("ENOTEMPTY") }
    }

    pub(crate) fn link(&mut self, from: &str, to: &str) -> Answer {
        let node = self.node(from, false)?;
        let end = self.end(to, false)?;
        if end.node.is_some() {
            return Err("EEXIST");
        }
        if self.is_directory(node) {
            return Err("EPERM");
        }
        self.enter(&end, node)
    }

    /// Whether `node` is `below` or a directory above it.
    fn is_above(&self, node: usize, below: usize) -> bool {
        let mut at = below;
        loop {
            if at == node {
                return true;
            }
            if at == ROOT {
                return false;
            }
            at = self.nodes[at].parent;
        }
    }

    /// In the order in which the kernel looks.
    fn may_rename(&self, from: &End, to: &End, flag: &str) -> Result<(), Errno> {
        let node = from.node.ok_or("ENOENT")?;
        match flag {
            "noreplace" if to.node.is_some() => return Err("EEXIST"),
            "exchange" if to.node.is_none() => return Err("ENOENT"),
            _ => {}
        }
        if self.is_directory(node) && self.is_above(node, to.parent) {
            return Err("EINVAL");
        }
        if to.node.is_some_and(|target| self.is_directory(target) && self.is_above(target, from.parent)) {
            return Err(if flag == "exchange" { "EINVAL" } else { "ENOTEMPTY" });
        }
        if to.node == Some(node) {
            return Ok(());
        }
        let below = |node: usize| self.rules.overlay && self.is_directory(node) && self.nodes[node].below;
        if let Some(target) = to.node.filter(|_| flag != "exchange") {
            match (self.is_directory(node), self.is_directory(target)) {
                (true, false) => return Err("ENOTDIR"),
                (false, true) => return Err("EISDIR"),
                (true, true) if below(node) => return Err("EXDEV"),
                (true, true) if !self.entries(target)?.is_empty() => return Err("ENOTEMPTY"),
                _ => {}
            }
        }
        let moved = flag == "exchange" && to.node.is_some_and(below);
        if below(node) || moved { Err("EXDEV") } else { Ok(()) }
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, flag: &str) -> Answer {
        let from = self.end(from, false)?;
        let to = self.end(to, false)?;
        self.may_rename(&from, &to, flag)?;
        let (Some(node), target) = (from.node, to.node) else { return Err("ENOENT") };
        if target == Some(node) {
            return ok();
        }
        self.leave(&from)?;
        if let Some(target) = target {
            self.leave(&to)?;
            if flag == "exchange" {
                self.enter(&from, target)?;
            }
        }
        self.enter(&to, node)
    }

    pub(crate) fn chmod(&mut self, path: &str, mode: u32) -> Answer {
        let node = self.node(path, true)?;
        self.nodes[node].mode = mode;
        ok()
    }

    pub(crate) fn chown(&mut self, path: &str, uid: u32, gid: u32) -> Answer {
        let node = self.node(path, false)?;
        if !self.rules.has_ids && (uid, gid) != (0, 0) {
            return Err("EINVAL");
        }
        self.nodes[node].owner = (uid, gid);
        ok()
    }

    pub(crate) fn set_attribute(&mut self, path: &str, name: &str, value: &str) -> Answer {
        let node = self.node(path, false)?;
        if matches!(self.nodes[node].body, Body::Link(_) | Body::Pipe) {
            return Err("EPERM");
        }
        self.nodes[node].attributes.insert(name.into(), value.into());
        ok()
    }

    pub(crate) fn remove_attribute(&mut self, path: &str, name: &str) -> Answer {
        let node = self.node(path, false)?;
        if matches!(self.nodes[node].body, Body::Link(_) | Body::Pipe) {
            return Err("EPERM");
        }
        self.nodes[node].attributes.remove(name).ok_or("ENODATA")?;
        ok()
    }

    pub(crate) fn ls(&self, path: &str) -> Answer {
        let names = self.entries(self.node(path, true)?)?.keys().cloned().collect::<Vec<_>>();
        Ok(if names.is_empty() { "empty".into() } else { names.join(" ") })
    }

    pub(crate) fn stat(&self, path: &str) -> Answer {
        let found = &self.nodes[self.node(path, false)?];
        Ok(format!("{} {:04o} {} {}", kind(&found.body), found.mode, found.owner.0, found.owner.1))
    }

    /// Every name with all that is known of it; as `tree` of the steps.
    pub(crate) fn tree(&self) -> String {
        let mut lines = Vec::new();
        self.dump(ROOT, ".", &mut lines);
        lines.join(" ")
    }

    fn dump(&self, node: usize, path: &str, lines: &mut Vec<String>) {
        let found = &self.nodes[node];
        let content = match &found.body {
            Body::File(content) => format!("{}:{:x}:{}", content.len(), text::sum(content), found.links),
            Body::Link(target) => format!("{target}:{}", found.links),
            Body::Pipe => found.links.to_string(),
            Body::Directory(entries) => entries.len().to_string(),
        };
        let attributes: Vec<_> = found.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let owner = found.owner;
        let kind = kind(&found.body);
        let mode = found.mode;
        lines.push(format!("{path}|{kind}|{mode:04o}|{}:{}|{content}|{}", owner.0, owner.1, attributes.join(",")));
        for (name, node) in self.entries(node).into_iter().flatten() {
            self.dump(*node, &format!("{path}/{name}"), lines);
        }
    }

    /// A layer above has this here: what is there gives way, except that directories become one.
    pub(crate) fn lay(&mut self, path: &str, line: &Laid) -> Answer {
        let end = self.end(path, false)?;
        if let (Laid::Directory(mode), Some(node)) = (line, end.node.filter(|node| self.is_directory(*node))) {
            self.nodes[node].mode = *mode;
            return ok();
        }
        if matches!(line, Laid::Opaque) {
            return self.empty(end.node.ok_or("ENOENT")?);
        }
        if let Some(node) = end.node {
            self.empty(node)?;
        }
        self.leave(&end)?;
        let (body, mode) = match line {
            Laid::Directory(mode) => (Body::Directory(BTreeMap::new()), *mode),
            Laid::File(content, mode) => (Body::File(content.clone()), *mode),
            Laid::Link(target) => (Body::Link(target.clone()), 0o777),
            Laid::Pipe => (Body::Pipe, 0o600),
            Laid::Whiteout | Laid::Opaque => return ok(),
            Laid::Same(other) => {
                let node = self.node(other, false)?;
                return self.enter(&end, node);
            }
        };
        let node = self.add(body, mode, end.parent);
        self.nodes[node].below = true;
        self.enter(&end, node)
    }

    /// Takes away what is in a directory, down to the last link.
    fn empty(&mut self, node: usize) -> Answer {
        let Ok(entries) = self.entries_mut(node) else { return ok() };
        for inner in std::mem::take(entries).into_values() {
            self.nodes[inner].links -= 1;
            self.empty(inner)?;
        }
        ok()
    }

    /// Whether a path leads to a pipe, at which an open would wait.
    pub(crate) fn is_pipe(&self, path: &str) -> bool {
        self.node(path, true).is_ok_and(|node| matches!(self.nodes[node].body, Body::Pipe))
    }

    /// On the kernel's overlay: two names of one file, the one moved over the other; see
    /// `link-over-link` in `differences.rs`.
    pub(crate) fn is_kernels_trouble(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.node(from, false), self.node(to, false));
        self.rules.overlay && from.is_ok() && from == to
    }

    /// Every path of the tree.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(ROOT, "", &mut paths);
        paths
    }

    fn collect(&self, node: usize, path: &str, paths: &mut Vec<String>) {
        for (name, node) in self.entries(node).into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            paths.push(path.clone());
            self.collect(*node, &path, paths);
        }
    }

    pub(crate) fn opened(&self) -> Vec<String> {
        self.open.keys().cloned().collect()
    }

    pub(crate) fn closes_all(&mut self) {
        self.open.clear();
    }
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::File(_) => "file",
        Body::Directory(_) => "dir",
        Body::Link(_) => "link",
        Body::Pipe => "fifo",
    }
}
