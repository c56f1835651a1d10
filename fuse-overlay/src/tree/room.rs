//! Room and use.

use rustix::io::Errno;

use super::Tree;
use crate::filesystem::{NAME_MAX, Room};

impl Tree {
    /// That of the upper directory; without one, of the topmost layer.
    pub(super) fn room(&self) -> Result<Room, Errno> {
        let on = self.work.as_ref().map(super::work::Work::directory).or_else(|| self.layers.first());
        let stat = rustix::fs::fstatvfs(on.ok_or(Errno::IO)?)?;
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Room {
            blocks: stat.f_blocks,
            free: stat.f_bfree,
            available: stat.f_bavail,
            files: stat.f_files,
            files_free: stat.f_ffree,
            block_size: number(stat.f_bsize),
            fragment_size: number(stat.f_frsize),
            name_max: number(stat.f_namemax).min(u32::try_from(NAME_MAX).unwrap_or(255)),
        })
    }
}
