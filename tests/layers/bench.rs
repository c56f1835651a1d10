//! Where layers are unpacked in these tests, and how the results are read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use pybox::model::digest::Digest;
use pybox::model::host::{IdMap, IdRange};
use pybox::snapshot::failure::{Failure, SnapshotError};
use pybox::snapshot::worker::{Compression, Ids, Limits, Unpack, Unpacked, WorkerProgram};
use pybox::sys::idmap::Helpers;
use pybox_fuse_overlay::record::Owners;

/// How many ids the map of the tests has.
pub(crate) const RANGE: u32 = 65536;

/// The program under test, as a worker needs it.
pub(crate) fn exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_pybox"))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The map that this user can have: for root any, else what /etc/subuid grants.
pub(crate) fn ids() -> (Ids, IdMap) {
    if is_root() {
        let range = vec![IdRange { inside: 0, outside: 100_000, count: RANGE }];
        let map = IdMap { uids: range.clone(), gids: range };
        return (Ids::Mapped { map: map.clone(), helpers: None }, map);
    }
    let ranges = |file: &str, own: u32| {
        let text = std::fs::read_to_string(file).expect(file);
        let user = std::process::Command::new("id").arg("-un").output().expect("id").stdout;
        let user = String::from_utf8(user).expect("a name").trim().to_owned();
        let line = text.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("a subordinate range");
        let numbers: Vec<u32> = line.split(':').skip(1).map(|number| number.parse().expect("a number")).collect();
        vec![
            IdRange { inside: 0, outside: own, count: 1 },
            IdRange { inside: 1, outside: numbers[0], count: numbers[1].min(RANGE) },
        ]
    };
    let uids = ranges("/etc/subuid", rustix::process::geteuid().as_raw());
    let gids = ranges("/etc/subgid", rustix::process::getegid().as_raw());
    let map = IdMap { uids, gids };
    (Ids::Mapped { map: map.clone(), helpers: Some(Helpers::find().expect("newuidmap")) }, map)
}

/// A place with an empty layer directory and things around it that must not change.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    before: BTreeMap<PathBuf, Node>,
    ids: Ids,
    map: IdMap,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (ids, map) = ids();
        Self::with_ids(ids, map)
    }

    pub(crate) fn with_ids(ids: Ids, map: IdMap) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let canary = dir.path().join("canary");
        std::fs::create_dir_all(canary.join("inner")).expect("mkdir");
        std::fs::set_permissions(&canary, std::fs::Permissions::from_mode(0o700)).expect("chmod");
        std::fs::write(canary.join("secret"), "nobody's").expect("write");
        std::fs::write(dir.path().join("secret"), "nobody's").expect("write");
        std::fs::create_dir(dir.path().join("layer")).expect("mkdir");
        let mut bench = Self { dir, before: BTreeMap::new(), ids, map };
        if let (Some(uid), Some(gid)) = (IdMap::outside(&bench.map.uids, 0), IdMap::outside(&bench.map.gids, 0)) {
            chown(bench.layer(), Some(uid), Some(gid)).expect("chown");
        }
        bench.before = bench.around();
        bench
    }

    pub(crate) fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.layer().join(path)
    }

    /// Path of the directory that nothing may touch.
    pub(crate) fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    pub(crate) fn program(&self) -> WorkerProgram {
        WorkerProgram::new(exe(), self.ids.clone())
    }

    pub(crate) fn map(&self) -> &IdMap {
        &self.map
    }

    /// Unpacks `archive` as it is, with the usual limits.
    pub(crate) fn unpack(&self, archive: &[u8]) -> Result<Unpacked, SnapshotError> {
        let job = Unpack { compression: Compression::None, diff_id: Some(Digest::of(archive)), limits: small() };
        self.run(&job, archive)
    }

    pub(crate) fn run(&self, job: &Unpack, archive: &[u8]) -> Result<Unpacked, SnapshotError> {
        let mut input = tempfile::tempfile_in("/var/tmp").expect("a temporary file");
        std::io::Write::write_all(&mut input, archive).expect("write");
        std::io::Seek::rewind(&mut input).expect("seek");
        let layer = File::open(self.layer()).expect("open");
        self.program().unpack(job, layer.as_fd(), input.as_fd())?.wait()
    }

    /// Unpacks what has to be accepted.
    pub(crate) fn accept(&self, archive: &[u8]) -> Unpacked {
        let unpacked = self.unpack(archive).unwrap_or_else(|error| panic!("refused: {error:?}"));
        self.check_canary();
        unpacked
    }

    /// Unpacks what has to be refused.
    pub(crate) fn refuse(&self, archive: &[u8]) -> Failure {
        let result = self.unpack(archive);
        self.check_canary();
        match result {
            Err(SnapshotError::Job(failure)) => failure,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Whether all around the layer is as it was.
    pub(crate) fn check_canary(&self) {
        assert_eq!(self.around(), self.before, "something outside of the layer has changed");
    }

    fn around(&self) -> BTreeMap<PathBuf, Node> {
        let mut nodes = tree(self.dir.path());
        nodes.retain(|path, _| !path.starts_with("layer") && path != Path::new(""));
        nodes
    }

    /// The layer as it is, ids as they are inside.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Node> {
        let mut nodes = tree(&self.layer());
        for node in nodes.values_mut() {
            node.uid = inside(&self.map.uids, node.uid);
            node.gid = inside(&self.map.gids, node.gid);
        }
        nodes
    }

    /// What the layer's side file says.
    pub(crate) fn owners(&self) -> Owners {
        let layer = File::open(self.layer()).expect("the layer");
        Owners::beside(&layer).expect("a side file").expect("a side file")
    }

    pub(crate) fn node(&self, path: &str) -> Node {
        let nodes = self.tree();
        nodes.get(Path::new(path)).unwrap_or_else(|| panic!("{path} is not in {:?}", nodes.keys())).clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Directories of other ids would outlive the temporary directory.
        if let Ok(layer) = File::open(self.layer()) {
            let _ = self.program().empty(layer.as_fd());
        }
    }
}

/// Limits as by default, on whatever small disk the tests run.
pub(crate) fn small() -> Limits {
    Limits { reserve: 1 << 20, ..Limits::default() }
}

/// The id inside that `outside` is, itself where the map is empty.
pub(crate) fn inside(ranges: &[IdRange], outside: u32) -> u32 {
    let found = ranges.iter().find(|range| (range.outside..range.outside + range.count).contains(&outside));
    found.map_or(outside, |range| range.inside + (outside - range.outside))
}

/// All that is compared of a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) links: u64,
    /// First path with the same inode.
    pub(crate) first: PathBuf,
    /// File contents (or their digest), target of a link, numbers of a device.
    pub(crate) data: String,
    pub(crate) size: u64,
    pub(crate) attributes: BTreeMap<OsString, Vec<u8>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, mode, uid, gid, mtime, links, first, data, size, attributes } = self;
        write!(f, "{kind} {mode:04o} {uid}:{gid} {mtime:?} x{links} {first:?} {size} {data:?} {attributes:?}")
    }
}

/// Every file beneath `root` by its path in it; the root is the empty path.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut first = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        let stat = full.symlink_metadata().expect("stat");
        if stat.is_dir() {
            let entries = std::fs::read_dir(&full).into_iter().flatten();
            pending.extend(entries.map(|entry| path.join(entry.expect("entry").file_name())));
            pending.sort_by(|a, b| b.cmp(a));
        }
        let first = first.entry(stat.ino()).or_insert_with(|| path.clone()).clone();
        nodes.insert(path, node(&full, &stat, first));
    }
    nodes
}

fn node(path: &Path, stat: &std::fs::Metadata, first: PathBuf) -> Node {
    let kind = stat.file_type();
    let (kind, data) = if kind.is_dir() {
        ("dir", String::new())
    } else if kind.is_symlink() {
        ("link", std::fs::read_link(path).expect("readlink").display().to_string())
    } else if kind.is_fifo() {
        ("fifo", String::new())
    } else if kind.is_char_device() || kind.is_block_device() {
        ("device", format!("{}", stat.rdev()))
    } else {
        ("file", content(path))
    };
    Node {
        kind: kind.to_owned(),
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: (stat.mtime(), stat.mtime_nsec()),
        links: if kind == "dir" { 0 } else { stat.nlink() },
        first,
        data,
        size: if kind == "file" { stat.size() } else { 0 },
        attributes: if matches!(kind, "file" | "dir") { attributes(path) } else { BTreeMap::new() },
    }
}

fn content(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() < 100 => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(bytes) => Digest::of(&bytes).to_string(),
        Err(error) => error.to_string(),
    }
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0_u8; 65536];
    let Ok(length) = rustix::fs::listxattr(path, &mut names[..]) else { return BTreeMap::new() };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 65536];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap_or(0);
        value.truncate(length);
        (std::ffi::OsStr::from_bytes(name).to_owned(), value)
    };
    names.map(value).collect()
}
