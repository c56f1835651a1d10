//! The core: index, upper directory and what the kernel knows, as one tree.
//!
//! The tree is authoritative: nobody else may change the layers or the upper
//! directory while it serves, so the kernel is told to keep what it has heard.
//!
//! [`Tree`] stands behind one lock and answers everything about names and
//! attributes; an operation family has a file. Contents are read and written
//! with no lock held, through descriptors that [`Overlay`] took out before.

mod ahead;
mod attributes;
mod contents;
mod copy_up;
mod copying;
mod descriptors;
mod eagerness;
mod link;
mod listing;
mod lookup;
mod make;
mod nodes;
mod overlay;
mod owners;
mod place;
mod remove;
mod rename;
mod room;
mod visible;
mod work;
mod xattr;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::Resource;

use crate::beneath;
use crate::config::{Config, Durability, Ids};
use crate::filesystem::{ROOT, kind};
use crate::index::{self, Index, Position};
use crate::record::{Journal, Owners};

use self::ahead::Ahead;
use self::descriptors::Descriptors;
use self::eagerness::Eagerness;
use self::nodes::{Node, Nodes};
use self::work::Work;

/// The overlay: give it to [`crate::serve`].
#[derive(Debug)]
pub struct Overlay {
    tree: Mutex<Tree>,
    ahead: Ahead,
    /// Whether anything has an extended attribute, or can get one.
    xattrs: bool,
    durability: Durability,
}

/// All that is known of the tree.
#[derive(Debug)]
struct Tree {
    index: Index,
    layers: Vec<OwnedFd>,
    work: Option<Work>,
    nodes: Nodes,
    open: Descriptors,
    eagerness: Eagerness,
    ids: Ids,
    /// Records of what cannot carry its own; only where owners are recorded.
    journal: Option<Journal>,
    durability: Durability,
    /// Who owns what this process makes.
    creator: (u32, u32),
}

impl Overlay {
    /// Puts an overlay together. Without an index one is built in memory.
    ///
    /// The process's file mode creation mask becomes 0, since a caller's own
    /// mask is applied to what it makes. To be called as the user that owns
    /// the upper directory, which in a user namespace is its root.
    ///
    /// # Errors
    /// What the disk says, and `InvalidData` for an index that is damaged or of
    /// other layers.
    pub fn open(config: Config) -> io::Result<Self> {
        let index = match &config.index {
            Some(file) => Index::open(file)?,
            None => in_memory(&config.lower)?,
        };
        if index.layers() as usize != config.lower.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the index is of other layers"));
        }
        rustix::process::umask(rustix::fs::Mode::empty());
        let durability = config.durability;
        let mut tree = Tree {
            nodes: Nodes::new(index.len()),
            index,
            layers: config.lower,
            work: None,
            open: Descriptors::new(descriptor_room()),
            eagerness: Eagerness::default(),
            ids: config.ids,
            journal: None,
            durability,
            creator: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        if let Some(upper) = config.upper {
            let root = tree.root_node(&upper.directory)?;
            let work = Work::begin(&upper)?;
            if config.ids.are_recorded() {
                tree.journal = Some(Journal::open(work.directory())?);
            }
            tree.work = Some(work);
            tree.nodes.put(ROOT, root);
        }
        // Whose the files of layers are is asked for as one.
        let xattrs = tree.work.is_some() || tree.ids.are_recorded() || tree.index.has_xattrs();
        Ok(Self { tree: Mutex::new(tree), ahead: Ahead::default(), xattrs, durability })
    }

    /// The tree, for one operation. A thread that died holding it left a tree
    /// that is still true to the disk.
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn root_node(&self, directory: &OwnedFd) -> Result<Node, Errno> {
        // A descriptor of our own, whatever the given one was opened for.
        let root = beneath::open(directory.as_fd(), b"", beneath::DIRECTORY)?;
        let stat = beneath::stat_of(&root)?;
        let lower = if crate::whiteout::is_opaque(&root)? { None } else { Some(Position::ROOT) };
        let record = match self.ids {
            Ids::Real => None,
            Ids::Recorded | Ids::Hidden => self.read_record(&root, b".", &stat)?,
        };
        let pinned = Some(Arc::new(root));
        let record = record.into();
        Ok(Node { kind: kind::DIRECTORY, lower, upper: Some(stat.st_ino), pinned, record, ..Node::default() })
    }
}

/// Builds an index that nobody else has a name for, and seals it.
fn in_memory(layers: &[OwnedFd]) -> io::Result<Index> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let memory = rustix::fs::memfd_create(c"index", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let file = File::from(memory);
    let owners = layers.iter().map(Owners::beside).collect::<io::Result<Vec<_>>>()?;
    let layers = layers.iter().zip(&owners);
    let layers: Vec<_> =
        layers.map(|(layer, owners)| index::Layer { directory: layer.as_fd(), owners: owners.as_ref() }).collect();
    index::build(&layers, &|uid, gid| (uid, gid), &file)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Index::open(&file)
}

/// How many descriptors may be kept: some are for layers, requests under way,
/// and what was unlinked while in use.
fn descriptor_room() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(1 << 16);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(300).clamp(16, 1024)
}
