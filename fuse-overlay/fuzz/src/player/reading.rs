//! A listing that is read a piece at a time while the tree changes.

use std::collections::BTreeSet;

use pybox_fuse_overlay::filesystem::{FileSystem as _, kind};
use rustix::io::Errno;

use super::Player;

/// A directory that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ino: u64,
    offset: u64,
    came: Vec<String>,
    /// Names that were there all the time, and the nodes behind them.
    lasting: BTreeSet<(String, u64)>,
}

impl Player {
    /// Reads on by a piece, or begins with what is at `path`, if that is a directory. At the end each name that was
    /// there all the time must have come once, or it is named. Whether there may be more.
    ///
    /// Not so in a tmpfs, which begins anew where the last entry is removed before it is read.
    pub(crate) fn read_on(&mut self, path: &str) -> Result<bool, String> {
        let Some(mut reading) = self.reading.take() else { return Ok(self.begin_reading(path)) };
        let (page, next) = self.view().page(reading.ino, reading.offset, true).expect("a listing under way");
        if page.is_empty() {
            let times = |name: &String| reading.came.iter().filter(|came| *came == name).count();
            let most = if self.bench.is_in_memory() { usize::MAX } else { 1 };
            let wrong = reading.lasting.iter().find(|(name, _)| !(1..=most).contains(&times(name)));
            return wrong.map_or(Ok(false), |(name, _)| Err(format!("{name} came {} times", times(name))));
        }
        for found in page {
            if found.known {
                self.counted(found.attributes);
            }
            reading.came.push(found.name);
        }
        reading.offset = next;
        self.reading = Some(reading);
        Ok(true)
    }

    fn begin_reading(&mut self, path: &str) -> bool {
        let Ok(found) = self.node(path, true) else { return false };
        if found.kind() != kind::DIRECTORY {
            return false;
        }
        let lasting = self.names(found.ino).expect("a listing");
        self.reading = Some(Reading { ino: found.ino, offset: 0, came: Vec::new(), lasting });
        true
    }

    fn names(&self, ino: u64) -> Result<BTreeSet<(String, u64)>, Errno> {
        Ok(self.view().entries(ino, false)?.into_iter().map(|found| (found.name, found.attributes.ino)).collect())
    }

    /// Looks at what is there still, after each change. Of a directory that was removed the kernel reads nothing.
    pub(crate) fn watch_reading(&mut self) -> Result<(), Errno> {
        let Some(mut reading) = self.reading.take() else { return Ok(()) };
        if self.view().overlay.attributes(reading.ino)?.links > 0 {
            let now = self.names(reading.ino)?;
            reading.lasting.retain(|entry| now.contains(entry));
            self.reading = Some(reading);
        }
        Ok(())
    }
}
