//! A workbench: layers and an upper directory, and an overlay of them.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use pybox_fuse_overlay::filesystem::{
    Attributes, Caller, FileSystem as _, Listed, Listing, Move, New, ROOT, SetXattr, kind,
};
use pybox_fuse_overlay::record::{Record, TRUTH};
use pybox_fuse_overlay::{Config, Durability, Ids, Overlay, Upper};
use rustix::io::Errno;

/// Directories of an overlay; they go with it.
#[derive(Debug)]
pub struct Bench {
    /// All of them.
    pub dir: tempfile::TempDir,
    /// How many layers.
    pub layers: usize,
    /// How owners are kept.
    pub ids: Ids,
}

/// A directory that goes when it is dropped: on a disk that tests may fill, or where who fuzzes says.
pub(crate) fn directory() -> tempfile::TempDir {
    let place = std::env::var_os("PYBOX_FUZZ_DIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    tempfile::tempdir_in(place).expect("a temporary directory")
}

impl Bench {
    /// With so many empty layers, 0 the topmost.
    pub fn new(layers: usize) -> Self {
        let dir = directory();
        for layer in 0..layers {
            std::fs::create_dir(dir.path().join(format!("l{layer}"))).expect("mkdir");
        }
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        crate::laying::chmod(&dir.path().join("upper"), 0o755);
        Self { dir, layers, ids: Ids::Real }
    }

    /// The directory of a layer.
    #[must_use]
    pub fn layer(&self, layer: usize) -> PathBuf {
        self.dir.path().join(format!("l{layer}"))
    }

    /// The upper directory.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    /// The work directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Whether all of it is in a tmpfs.
    pub(crate) fn is_in_memory(&self) -> bool {
        const TMPFS: rustix::fs::FsWord = 0x0102_1994;
        rustix::fs::statfs(self.dir.path()).is_ok_and(|found| found.f_type == TMPFS)
    }

    /// Puts a file into a layer, with the directories above it.
    pub fn lower(&self, layer: usize, path: &str, contents: &str) {
        let path = self.layer(layer).join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, contents).expect("write");
    }

    /// Gives a file of a layer one more name, with the directories above it.
    pub fn lower_link(&self, layer: usize, from: &str, to: &str) {
        let (from, to) = (self.layer(layer).join(from), self.layer(layer).join(to));
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("mkdir");
        std::fs::hard_link(from, to).expect("link");
    }

    /// What an overlay of all this is opened with.
    #[must_use]
    pub fn config(&self, upper: bool) -> Config {
        let open = |path: PathBuf| File::open(path).expect("open").into();
        let lower = (0..self.layers).map(|layer| open(self.layer(layer))).collect();
        let upper = upper.then(|| Upper { directory: open(self.upper()), work: open(self.work()) });
        Config { lower, index: None, upper, ids: self.ids, durability: Durability::Volatile }
    }

    /// Mounts it, so to say.
    #[must_use]
    pub fn open(&self) -> View {
        View { overlay: Overlay::open(self.config(true)).expect("an overlay") }
    }

    /// The next mount, when this one has ended: an upper directory has one server.
    pub fn open_after(&self, view: View) -> View {
        drop(view);
        self.open()
    }

    /// The same without the upper directory.
    #[must_use]
    pub fn open_read_only(&self) -> View {
        View { overlay: Overlay::open(self.config(false)).expect("an overlay") }
    }
}

/// Calls by path, as the kernel makes them: a lookup for each component.
pub struct View {
    /// The core itself.
    pub overlay: Overlay,
}

/// Whoever runs this.
#[must_use]
pub fn me() -> Caller {
    Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

impl View {
    /// Looks a path up.
    ///
    /// # Errors
    /// The overlay's.
    pub fn find(&self, path: &str) -> Result<Attributes, Errno> {
        let mut found = self.overlay.attributes(ROOT)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            found = self.overlay.lookup(found.ino, name.as_bytes())?;
        }
        Ok(found)
    }

    /// The directory of a path, and its last name.
    ///
    /// # Errors
    /// The overlay's.
    pub fn parent<'a>(&self, path: &'a str) -> Result<(u64, &'a [u8]), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.find(parent)?.ino, name.as_bytes()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The overlay's.
    pub fn read(&self, path: &str) -> Result<String, Errno> {
        let mut buffer = vec![0; 1 << 16];
        let got = self.overlay.read(self.find(path)?.ino, 0, &mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..got]).into_owned())
    }

    /// Makes something, less the usual mask.
    ///
    /// # Errors
    /// The overlay's.
    pub fn make(&self, path: &str, mode: u32) -> Result<Attributes, Errno> {
        let (parent, name) = self.parent(path)?;
        self.overlay.make(parent, name, &New { mode, mask: 0o022, rdev: 0, target: b"" }, me())
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// The overlay's.
    pub fn symlink(&self, path: &str, target: &str) -> Result<Attributes, Errno> {
        let (parent, name) = self.parent(path)?;
        let new = New { mode: kind::SYMLINK | 0o777, mask: 0, rdev: 0, target: target.as_bytes() };
        self.overlay.make(parent, name, &new, me())
    }

    /// What a node really is, where that is recorded.
    ///
    /// # Errors
    /// The overlay's; EIO for what is no record.
    pub fn truth(&self, ino: u64) -> Result<Record, Errno> {
        Record::parse(&self.overlay.xattr(ino, TRUTH.as_bytes())?).ok_or(Errno::IO)
    }

    /// Gives a node away, where owners are recorded and the kernel could not be asked to.
    ///
    /// # Errors
    /// The overlay's.
    pub fn give(&self, ino: u64, uid: u32, gid: u32) -> Result<(), Errno> {
        let owner = Record { uid, gid, mode: 0, rdev: 0 };
        self.overlay.set_xattr(ino, TRUTH.as_bytes(), owner.text().as_bytes(), SetXattr::default())
    }

    /// Writes into a file, which is made if there is none.
    ///
    /// # Errors
    /// The overlay's.
    pub fn write(&self, path: &str, contents: &str) -> Result<(), Errno> {
        let found = match self.find(path) {
            Err(Errno::NOENT) => self.make(path, kind::REGULAR | 0o666)?,
            other => other?,
        };
        self.overlay.write(found.ino, 0, contents.as_bytes(), false).map(drop)
    }

    /// Removes a name.
    ///
    /// # Errors
    /// The overlay's.
    pub fn unlink(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = self.parent(path)?;
        self.overlay.unlink(parent, name)
    }

    /// Removes a directory.
    ///
    /// # Errors
    /// The overlay's.
    pub fn rmdir(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = self.parent(path)?;
        self.overlay.rmdir(parent, name)
    }

    /// Moves a name.
    ///
    /// # Errors
    /// The overlay's.
    pub fn rename(&self, from: &str, to: &str, how: Move) -> Result<(), Errno> {
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        self.overlay.rename(from, to, how)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// The overlay's.
    pub fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        let ino = self.find(from)?.ino;
        let (parent, name) = self.parent(to)?;
        self.overlay.link(ino, parent, name).map(drop)
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// The overlay's.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let entries = self.entries(self.find(path)?.ino, false)?;
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    /// A listing without the two dots, in pieces of three: where it goes on is part of what is tested.
    pub(crate) fn entries(&self, ino: u64, wants_attributes: bool) -> Result<Vec<Found>, Errno> {
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let (entries, next) = self.page(ino, offset, wants_attributes)?;
            if entries.is_empty() {
                return Ok(all);
            }
            offset = next;
            all.extend(entries.into_iter().filter(|found| found.name != "." && found.name != ".."));
        }
    }

    /// One piece of it, and where the next begins.
    pub(crate) fn page(&self, ino: u64, offset: u64, wants_attributes: bool) -> Result<(Vec<Found>, u64), Errno> {
        let mut page = Page { entries: Vec::new(), next: offset, wants_attributes };
        self.overlay.list(ino, offset, &mut page)?;
        Ok((page.entries, page.next))
    }
}

/// An entry of a listing.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    /// Whether the attributes came along, which counts as a lookup.
    pub(crate) known: bool,
}

struct Page {
    entries: Vec<Found>,
    next: u64,
    wants_attributes: bool,
}

impl Listing for Page {
    fn wants_attributes(&self) -> bool {
        self.wants_attributes
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        if self.entries.len() == 3 {
            return false;
        }
        let name = String::from_utf8_lossy(entry.name).into_owned();
        self.entries.push(Found { name, attributes: entry.attributes, known: entry.known });
        self.next = entry.next;
        true
    }

    fn room(&self) -> usize {
        100
    }
}

/// An access list as the kernel writes it: tag, rights and id of each entry.
pub fn access_list(entries: impl IntoIterator<Item = (u16, u16, u32)>) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Sets an extended attribute on disk.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).expect("setxattr");
}

/// Whether there is a whiteout on disk.
#[must_use]
pub fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|stat| stat.mode() & kind::MASK == kind::CHARACTER && stat.rdev() == 0)
}

/// Makes a whiteout on disk.
pub fn whiteout(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode};
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).expect("a whiteout");
}
