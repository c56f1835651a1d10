//! Packs a directory of the user's into an archive that [`super::worker`] unpacks.
//!
//! Runs as the user, in no namespace: what the user may not read is an error.
//! No link is followed and no other file system entered. For a tree that stands
//! still; one that changes meanwhile gives an archive of what was seen, or an error.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::failure::{SnapshotError, shown};
use super::kernel_overlay::OPAQUE;
use super::layered::is_whiteout;
use super::tar::entry::Attribute;
use super::tar::writer::{Meta, Writer, Written};
use super::truth::Truth;
use super::witness::Witness;
use crate::model::host::{IdMap, IdRange};
use crate::model::ignore::Fate;
use crate::model::permissions::Permissions;
use crate::sys::path::lstat_at;

/// Attributes of one file that are looked at.
const MAX_ATTRIBUTES: usize = 64 << 10;

/// What a finished archive says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries written.
    pub entries: u64,
    /// Names that are not in the archive, as sockets are not.
    pub left_out: u64,
}

/// Writes `directory` and all in it to `output` as an uncompressed archive, names
/// sorted, so that the same tree gives the same bytes. Owners become what they
/// are in the namespace that `map` is of; those it does not know (the host's
/// own root, as a rule) stay what they are outside.
///
/// # Errors
/// With the file that could not be read, or with the error of `output`.
pub fn pack(directory: &Path, map: Option<&IdMap>, output: impl Write) -> Result<Packed, SnapshotError> {
    let root = rustix::fs::openat(CWD, directory, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty());
    let root = root.map_err(|error| failed(b"", error))?;
    pack_below(root, b"", Style { map, ..Style::default() }, output)
}

/// How an archive tells of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style<'s> {
    /// What takes the place of the path that is packed; empty for what is in it alone.
    pub name: &'s [u8],
    /// Owners become what they are in the namespace of this map.
    pub map: Option<&'s IdMap>,
    /// Whether other file systems are entered, but for those that the kernel makes up.
    pub cross: bool,
    /// Whether the tree is the upper directory of an overlay: its marks become those of a layer
    /// (OCI image-spec 1.1, "Whiteouts").
    pub layer: bool,
    /// Whether what packing starts at, if that is the root, has no entry itself.
    pub without_root: bool,
    /// Whose all files are, whoever owns them.
    pub owner: Option<(u32, u32)>,
    /// The permission bits of all files and directories.
    pub mode: Option<Permissions>,
    /// What becomes of times.
    pub times: Times,
    /// What is passed over.
    pub choice: Option<Choice<'s>>,
    /// Sees what is packed.
    pub witness: Option<&'s Witness>,
}

/// What becomes of the times of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// They stay.
    #[default]
    Kept,
    /// What is later than this, in seconds since 1970, becomes this.
    AtMost(u64),
    /// All become this.
    Fixed(u64),
}

impl Times {
    fn of(self, time: u64) -> u64 {
        match self {
            Self::Kept => time,
            Self::AtMost(latest) => time.min(latest),
            Self::Fixed(time) => time,
        }
    }
}

/// Decides about each path below the root.
#[derive(Clone, Copy)]
pub struct Choice<'s>(pub &'s dyn Fn(&[u8]) -> Fate);

impl std::fmt::Debug for Choice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Choice")
    }
}

/// Writes what stands at `start` below the directory `root`, a path without links; all of `root` if it
/// is empty. As [`pack`] otherwise.
///
/// # Errors
/// As [`pack`].
pub fn pack_below(root: OwnedFd, start: &[u8], style: Style<'_>, output: impl Write) -> Result<Packed, SnapshotError> {
    pack_truly(root, start, style, &Truth::Disk, output)
}

/// The same, with owners as `truth` tells them.
pub(super) fn pack_truly(
    root: OwnedFd,
    start: &[u8],
    style: Style<'_>,
    truth: &Truth,
    output: impl Write,
) -> Result<Packed, SnapshotError> {
    let device = rustix::fs::fstat(&root).map_err(|error| failed(b"", error))?.st_dev;
    let writer = Writer::new(output);
    let start = start.to_vec();
    let (linked, done) = (HashMap::new(), Packed::default());
    let mut packer = Packer { root, device, start, style, truth, writer, linked, done };
    let start = packer.start.clone();
    // Paths still to be read, the next one last.
    let mut pending = Vec::new();
    if start.is_empty() {
        if !packer.style.without_root {
            packer.directory(b"")?;
        }
        pending = packer.names(b"")?;
    } else if packer.entry(&start)? {
        pending = packer.names(&start)?;
    }
    while let Some(path) = pending.pop() {
        if packer.entry(&path)? {
            pending.extend(packer.names(&path)?);
        }
    }
    packer.writer.finish().map_err(|error| write_failed(b"", error))?;
    Ok(packer.done)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

struct Packer<'p, W> {
    root: OwnedFd,
    device: u64,
    start: Vec<u8>,
    style: Style<'p>,
    truth: &'p Truth,
    writer: Writer<W>,
    /// Files with several names: inode to the first name.
    linked: HashMap<u64, Vec<u8>>,
    done: Packed,
}

impl<W: Write> Packer<'_, W> {
    /// What `path` is called in the archive.
    fn name_of(&self, path: &[u8]) -> Vec<u8> {
        match (self.style.name, self.below(path)) {
            (b"", below) => below.to_vec(),
            (name, b"") => name.to_vec(),
            (name, below) => [name, b"/", below].concat(),
        }
    }

    /// `path` from where the packing starts; empty for that itself.
    fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let below = path.strip_prefix(self.start.as_slice()).unwrap_or(path);
        below.strip_prefix(b"/").unwrap_or(below)
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, SnapshotError> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve).map_err(|error| failed(path, error))
    }

    /// Paths of all that is in the directory `path`, in reverse order.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let entries = Dir::new(self.open(path, DIRECTORY)?).map_err(|error| failed(path, error))?;
        let mut names: Vec<CString> = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| failed(path, error))?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort_by(|a, b| b.cmp(a));
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        Ok(names.into_iter().map(|name| [&prefix[..], name.to_bytes()].concat()).collect())
    }

    /// Writes the entry of `path`; true for a directory to be entered.
    fn entry(&mut self, path: &[u8]) -> Result<bool, SnapshotError> {
        match self.style.choice.map_or(Fate::Kept, |choice| choice.0(path)) {
            Fate::Kept => {}
            Fate::Gone => return Ok(false),
            // Unpacking makes the directories above what is kept.
            Fate::Below => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let stat = rustix::fs::fstat(self.open(path, flags)?).map_err(|error| failed(path, error))?;
                return Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            }
        }
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
            None => (&b""[..], path),
        };
        let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let stat = lstat_at(parent.as_fd(), std::ffi::OsStr::from_bytes(name))
            .and_then(|stat| self.truth.correct_entry(parent.as_fd(), name, stat))
            .map_err(|error| failed(path, error))?;
        let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.directory(path)?;
                return Ok(stat.st_dev == self.device || (self.style.cross && self.may_enter(path)?));
            }
            FileType::RegularFile => return self.file(path, &stat).map(|()| false),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(|error| failed(path, error))?;
                return self.write(path, &stat, Written::Symlink(target.as_bytes()), &[]).map(|()| false);
            }
            FileType::Fifo => Written::Fifo,
            FileType::CharacterDevice if self.style.layer && is_whiteout(&stat) => {
                return self.mark(path, &[b".wh.", name].concat()).map(|()| false);
            }
            FileType::CharacterDevice => Written::CharDevice(numbers.0, numbers.1),
            FileType::BlockDevice => Written::BlockDevice(numbers.0, numbers.1),
            _ => {
                self.done.left_out += 1;
                return Ok(false);
            }
        };
        self.write(path, &stat, kind, &[]).map(|()| false)
    }

    fn directory(&mut self, path: &[u8]) -> Result<(), SnapshotError> {
        let directory = self.open(path, DIRECTORY)?;
        let stat = rustix::fs::fstat(&directory).and_then(|stat| self.truth.correct(&directory, stat));
        let stat = stat.map_err(|error| failed(path, error))?;
        self.write(path, &stat, Written::Directory, &attributes(directory.as_fd()))?;
        if self.style.layer && !path.is_empty() && is_opaque(&directory) {
            return self.mark(&[path, b"/x"].concat(), b".wh..wh..opq");
        }
        Ok(())
    }

    /// Whether what is mounted at `path` is more than a view into the kernel.
    fn may_enter(&self, path: &[u8]) -> Result<bool, SnapshotError> {
        let kind = rustix::fs::fstatfs(&self.open(path, DIRECTORY)?).map_err(|error| failed(path, error))?.f_type;
        Ok(!MADE_UP.contains(&kind))
    }

    /// An empty file `name` beside `path`, which means something to whoever unpacks a layer.
    fn mark(&mut self, path: &[u8], name: &[u8]) -> Result<(), SnapshotError> {
        let parent = path.iter().rposition(|byte| *byte == b'/').and_then(|slash| path.get(..=slash));
        let path = [parent.unwrap_or_default(), name].concat();
        let (kind, attributes) = (Written::File(0), &[]);
        let meta = Meta { path: &path, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, attributes };
        self.writer.entry(&meta, &mut std::io::empty()).map_err(|error| write_failed(&path, error))?;
        self.done.entries += 1;
        Ok(())
    }

    fn file(&mut self, path: &[u8], stat: &Stat) -> Result<(), SnapshotError> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&stat.st_ino).cloned() {
                return self.write(path, stat, Written::Hardlink(&first), &[]);
            }
            self.linked.insert(stat.st_ino, path.to_vec());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open(path, flags)?;
        // Of what was opened, whatever the name meant a moment ago.
        let stat = rustix::fs::fstat(&file).and_then(|stat| self.truth.correct(&file, stat));
        let stat = stat.map_err(|error| failed(path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(path, Errno::INVAL));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let attributes = attributes(file.as_fd());
        self.write_data(path, &stat, (Written::File(size), &attributes), &mut std::fs::File::from(file))
    }

    fn write(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: Written<'_>,
        attributes: &[Attribute],
    ) -> Result<(), SnapshotError> {
        self.write_data(path, stat, (kind, attributes), &mut std::io::empty())
    }

    fn write_data(
        &mut self,
        path: &[u8],
        stat: &Stat,
        (kind, attributes): (Written<'_>, &[Attribute]),
        data: &mut dyn std::io::Read,
    ) -> Result<(), SnapshotError> {
        let map = self.style.map;
        let inside = |ranges: fn(&IdMap) -> &[IdRange], id| map.map_or(id, |map| inside(ranges(map), id));
        let mut name = self.name_of(path);
        if matches!(kind, Written::Directory) {
            name.extend(if name.is_empty() { b"./".as_slice() } else { b"/" });
        }
        let first;
        let seen = match kind {
            Written::Hardlink(path) => Written::Hardlink(self.below(path)),
            kind => kind,
        };
        let kind = match kind {
            Written::Hardlink(path) => {
                first = self.name_of(path);
                Written::Hardlink(&first)
            }
            kind => kind,
        };
        let meta = Meta {
            path: &name,
            kind,
            mode: match (self.style.mode, kind) {
                (Some(mode), kind) if !matches!(kind, Written::Symlink(_)) => {
                    mode.of_file(stat.st_mode & 0o7777, matches!(kind, Written::Directory))
                }
                _ => stat.st_mode & 0o7777,
            },
            uid: self.style.owner.map_or_else(|| inside(|map| &map.uids, stat.st_uid), |(uid, _)| uid),
            gid: self.style.owner.map_or_else(|| inside(|map| &map.gids, stat.st_gid), |(_, gid)| gid),
            mtime: self.style.times.of(u64::try_from(stat.st_mtime).unwrap_or(0)),
            attributes,
        };
        let written = match self.style.witness {
            // Of the file as it is, whatever it becomes.
            Some(witness) => {
                witness.entry(self.below(path), seen, stat.st_mode & 0o7777, attributes);
                self.writer.entry(&meta, &mut witness.watch(data))
            }
            None => self.writer.entry(&meta, data),
        };
        written.map_err(|error| write_failed(path, error))?;
        self.done.entries += 1;
        Ok(())
    }
}

/// The contents of a file as they are, seen by `witness` as [`pack_below`] would have it see the file alone.
///
/// # Errors
/// What fstat(2) says.
pub fn witnessed<'w>(
    file: &'w mut std::fs::File,
    witness: &'w Witness,
) -> Result<impl std::io::Read + 'w, SnapshotError> {
    let stat = rustix::fs::fstat(&*file).map_err(|error| failed(b"", error))?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    witness.entry(b"", Written::File(size), stat.st_mode & 0o7777, &attributes(file.as_fd()));
    Ok(std::io::Read::take(witness.watch(file), size))
}

/// The id inside that `outside` is; itself for one that is not mapped.
fn inside(ranges: &[IdRange], outside: u32) -> u32 {
    let find = |range: &IdRange| {
        let offset = outside.checked_sub(range.outside)?;
        (offset < range.count).then(|| range.inside.checked_add(offset)).flatten()
    };
    ranges.iter().find_map(find).unwrap_or(outside)
}

/// The attributes of `file` that a layer may have and the user may read.
fn attributes(file: BorrowedFd<'_>) -> Vec<Attribute> {
    let mut names = vec![0_u8; MAX_ATTRIBUTES];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names[..]) else { return Vec::new() };
    let names = names.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    let marks = |name: &[u8]| name.starts_with(b"user.overlay.") || name.starts_with(b"user.pybox.");
    let kept = names.filter(|name| name.starts_with(b"user.") && !marks(name) || *name == b"security.capability");
    let read = |name: &[u8]| {
        let mut value = vec![0_u8; MAX_ATTRIBUTES];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some((name.to_vec(), value))
    };
    let mut attributes: Vec<Attribute> = kept.filter_map(read).collect();
    attributes.sort();
    attributes
}

/// File systems that show the kernel's own state: proc, sysfs, cgroup, devpts, mqueue, securityfs, debugfs.
const MADE_UP: [i64; 8] = [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202, 0x7363_6673, 0x6462_6720];

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 2];
    matches!(rustix::fs::fgetxattr(directory, OPAQUE, &mut value), Ok(1) if value.first() == Some(&b'y'))
}

/// Tells `each` what the upper directory `root` of an overlay changes: whether the path was deleted, and the
/// path, a directory before what is in it.
///
/// # Errors
/// What cannot be read, or what `each` says.
pub(crate) fn walk_changes(
    root: BorrowedFd<'_>,
    mut each: impl FnMut(bool, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let root = rustix::io::fcntl_dupfd_cloexec(root, 3)?;
    let writer = Writer::new(std::io::sink());
    let (start, style) = (Vec::new(), Style::default());
    let (linked, done, truth) = (HashMap::new(), Packed::default(), &Truth::Disk);
    let packer = Packer { root, device: 0, start, style, truth, writer, linked, done };
    let mut pending = packer.names(b"").map_err(std::io::Error::other)?;
    while let Some(path) = pending.pop() {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
            None => (&b""[..], path.as_slice()),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = packer.open(parent, flags).map_err(std::io::Error::other)?;
        let stat = lstat_at(parent.as_fd(), std::ffi::OsStr::from_bytes(name))?;
        each(is_whiteout(&stat), &[b"/", path.as_slice()].concat())?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            pending.extend(packer.names(&path).map_err(std::io::Error::other)?);
        }
    }
    Ok(())
}

fn failed(path: &[u8], error: Errno) -> SnapshotError {
    SnapshotError::Io { operation: format!("read {:?}", shown(path)), source: error.into() }
}

fn write_failed(path: &[u8], source: std::io::Error) -> SnapshotError {
    SnapshotError::Io { operation: format!("pack {:?}", shown(path)), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_become_those_inside() {
        let ranges =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65_536 }];
        for (outside, expected) in [(1000, 0), (100_000, 1), (165_535, 65_536), (165_536, 165_536), (0, 0), (33, 33)] {
            assert_eq!(inside(&ranges, outside), expected, "{outside}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = pack(Path::new("/nonexistent"), None, &mut Vec::new()).expect_err("nothing there");
        assert!(matches!(error, SnapshotError::Io { .. }));
    }
}
