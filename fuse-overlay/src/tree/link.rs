//! Hard links and symbolic links.

use rustix::io::Errno;

use super::Tree;
use super::make::Spot;
use super::work::Work;
use crate::filesystem::{Attributes, kind};

impl Tree {
    /// Links a node; one of the layers is copied up first.
    pub(super) fn link(&mut self, ino: u64, parent: u64, name: &[u8]) -> Result<Attributes, Errno> {
        let spot = self.spot(parent, name)?;
        if self.place(ino)?.kind == kind::DIRECTORY {
            return Err(Errno::PERM);
        }
        self.raise(ino)?;
        let fd = self.handle(ino)?;
        let directory = self.handle(parent)?;
        if spot == Spot::Whiteout {
            let aside = self.work()?.name();
            let aside_directory = rustix::io::fcntl_dupfd_cloexec(self.work()?.directory(), 0)?;
            let work = self.work()?;
            work.link(&fd, &aside_directory, &aside)?;
            work.settle(&aside, &directory, name, false).inspect_err(|_| self.abandon(&aside))?;
        } else {
            self.work()?.link(&fd, &directory, name)?;
        }
        if spot == Spot::HiddenByFile {
            Work::unhide(&directory, name)?;
        }
        // What had no name can be reached by this one now.
        self.nodes.get_mut(ino)?.pinned = None;
        self.nodes.add_name(ino, parent, name);
        self.nodes.count(ino);
        self.attributes(ino)
    }

    /// The target of a symbolic link.
    pub(super) fn read_link(&mut self, ino: u64) -> Result<Vec<u8>, Errno> {
        let place = self.place(ino)?;
        if place.kind != kind::SYMLINK {
            return Err(Errno::INVAL);
        }
        if place.upper {
            let fd = self.handle(ino)?;
            return Ok(rustix::fs::readlinkat(&fd, c"", Vec::new())?.into_bytes());
        }
        let entry = self.index.entry(place.lower.ok_or(Errno::STALE)?)?;
        self.index.target(&entry).map(<[u8]>::to_vec)
    }
}
