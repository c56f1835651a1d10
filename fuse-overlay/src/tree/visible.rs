//! Which names of a hard-linked file of the layers are still to be seen.

use rustix::io::Errno;

use super::Tree;
use super::lookup::{Seen, is_hidden_by_file, look};
use crate::beneath;
use crate::index::Position;

impl Tree {
    /// The names of a file of the layers that the tree still shows.
    pub(super) fn visible_links(&mut self, position: Position) -> Result<Vec<Position>, Errno> {
        let entry = self.index.entry(position)?;
        if !entry.is_linked() {
            return Ok(vec![position]);
        }
        let all: Vec<Position> = self.index.links(&entry).collect();
        let mut visible = Vec::with_capacity(all.len());
        for name in all {
            if self.is_visible(name)? {
                visible.push(name);
            }
        }
        Ok(visible)
    }

    /// Whether the walk along the names of the index still comes to `position`.
    fn is_visible(&mut self, position: Position) -> Result<bool, Errno> {
        let mut way = vec![position];
        let mut here = position;
        while here != Position::ROOT {
            here = self.index.parent(here)?;
            way.push(here);
        }
        way.pop();
        if self.place(Position::ROOT.ino())?.lower.is_none() {
            return Ok(false);
        }
        let mut directory = Position::ROOT;
        while let Some(next) = way.pop() {
            if !self.directory(directory.ino())?.upper {
                return Ok(true);
            }
            let fd = self.handle(directory.ino())?;
            let name: Box<[u8]> = self.index.entry(next)?.name.into();
            let lower = self.directory(directory.ino())?.lower;
            match look(&fd, &name)? {
                Seen::Hidden => return Ok(false),
                Seen::Nothing if is_hidden_by_file(&fd, &name)? => return Ok(false),
                // One that was moved and came back is closed to the layers.
                Seen::Nothing => return Ok(lower.is_some()),
                Seen::Present(stat) => {
                    let is_dir = beneath::is_directory(&stat);
                    if !is_dir || self.adopt(directory.ino(), &name, &stat, lower)?.ino != next.ino() {
                        return Ok(false);
                    }
                }
            }
            directory = next;
        }
        Ok(true)
    }
}
