//! The file of happenings: one JSON document a line, appended by whoever did it.
//!
//! A line is one write(2) to a file opened with O_APPEND, so lines of many
//! processes stand one after the other. A file that has grown is renamed; who
//! reads it reads the old one first.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::model::event::Happening;

/// The size from which a new file is begun.
const LARGE: u64 = 4 << 20;

/// Where the file goes when a new one is begun.
pub fn older(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// Appends a line.
///
/// # Errors
/// Those of the file system: what happened has happened all the same.
pub fn append(path: &Path, happening: &Happening) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(happening)?;
    line.push(b'\n');
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = std::fs::File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(&line)?;
    if file.metadata()?.len() > LARGE {
        // Two who do this at once lose the older file sooner, never the current one.
        std::fs::rename(path, older(path))?;
    }
    Ok(())
}
