//! What a monitor writes into its bundle, for those who come when it is gone.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::lifecycle::ProcessIdentity;

/// `run.json`: written when the program is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first process.
    pub init: ProcessIdentity,
    /// The monitor.
    pub monitor: ProcessIdentity,
    /// Milliseconds since the epoch.
    pub since: i64,
}

/// `exit.json`: written when the first process has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, or 128 + the signal.
    pub exit_code: i32,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// Name of [`Run`] in the bundle.
pub const RUN: &str = "run.json";
/// Name of [`Exit`] in the bundle.
pub const EXIT: &str = "exit.json";

/// Writes `record` as `name` in `bundle`: whole, or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write<T: Serialize>(bundle: BorrowedFd<'_>, name: &str, record: &T) -> std::io::Result<()> {
    let temporary = format!(".{name}");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = std::fs::File::from(rustix::fs::openat(bundle, temporary.as_str(), flags, mode)?);
    file.write_all(&serde_json::to_vec(record)?)?;
    rustix::fs::renameat(bundle, temporary.as_str(), bundle, name)?;
    Ok(())
}

/// Reads the record `name` of `bundle`; none if it was never written.
///
/// # Errors
/// Those of the file system, and of content that is no such record.
pub fn read<T: DeserializeOwned>(bundle: BorrowedFd<'_>, name: &str) -> std::io::Result<Option<T>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match rustix::fs::openat(bundle.as_fd(), name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => std::fs::File::from(other?),
    };
    Ok(serde_json::from_reader(file).map(Some)?)
}

/// Now, in milliseconds since the epoch.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_whole_or_absent() {
        let dir = tempfile::tempdir().expect("a directory");
        let bundle = std::fs::File::open(dir.path()).expect("open");
        assert_eq!(read::<Exit>(bundle.as_fd(), EXIT).expect("read"), None);
        let exit = Exit { exit_code: 137, at: now() };
        write(bundle.as_fd(), EXIT, &exit).expect("write");
        assert_eq!(read(bundle.as_fd(), EXIT).expect("read"), Some(exit));
        std::fs::write(dir.path().join(EXIT), "{").expect("damage");
        assert!(read::<Exit>(bundle.as_fd(), EXIT).is_err());
    }
}
