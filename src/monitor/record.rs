//! What a monitor writes into its bundle, for those who come when it is gone.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::placement::Seat;
use crate::model::lifecycle::{Lifecycle, ProcessIdentity};
use crate::model::supervision::Health;

/// `run.json`: written when the program is executed, and whenever something of this changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first process; none between an end and the restart.
    pub init: Option<ProcessIdentity>,
    /// The monitor.
    pub monitor: ProcessIdentity,
    /// When the program was executed, in milliseconds since the epoch.
    pub since: i64,
    /// Whether all its processes are frozen.
    #[serde(default)]
    pub paused: bool,
    /// What connects its network, if something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ProcessIdentity>,
    /// Its cgroups, if they were made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Seat>,
    /// How often the monitor has started it again by itself.
    #[serde(default)]
    pub restarts: u32,
    /// How it ended before it was started again.
    #[serde(default)]
    pub last: Option<Exit>,
}

impl Run {
    /// The state that this stands for, while the monitor lives.
    pub fn lifecycle(&self) -> Lifecycle {
        match (&self.init, &self.last) {
            (Some(init), _) => {
                let (init, monitor, since) = (init.clone(), self.monitor.clone(), self.since);
                if self.paused {
                    Lifecycle::Paused { init, monitor, since }
                } else {
                    Lifecycle::Running { init, monitor, since }
                }
            }
            (None, last) => Lifecycle::Restarting {
                monitor: self.monitor.clone(),
                exit_code: last.as_ref().map_or(255, |exit| exit.exit_code),
                at: last.as_ref().map_or(self.since, |exit| exit.at),
            },
        }
    }
}

/// `exit.json`: written when the first process has ended for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, or 128 + the signal.
    pub exit_code: i32,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// When the program had been executed, in milliseconds since the epoch.
    #[serde(default)]
    pub since: i64,
    /// Why, where it is not simply that the process ended.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether the user asked for it.
    #[serde(default)]
    pub by_user: bool,
    /// Whether the kernel has killed a process of it for want of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

impl Exit {
    /// The state that this stands for.
    pub fn lifecycle(&self) -> Lifecycle {
        let Self { exit_code, at, reason, by_user, .. } = self.clone();
        Lifecycle::Stopped { exit_code, at, reason, by_user }
    }
}

/// `health.json`: written after each health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthState {
    /// How it fares.
    pub status: Health,
    /// How many checks in a row have failed.
    pub failing_streak: u32,
    /// The last checks, the oldest first.
    pub log: Vec<Probe>,
}

/// One health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Milliseconds since the epoch.
    pub start: i64,
    /// The same.
    pub end: i64,
    /// 0 is good; -1 where it took too long or could not be started.
    pub exit_code: i32,
    /// What it wrote, cut to a few kilobytes.
    pub output: String,
}

/// Name of [`Run`] in the bundle.
pub const RUN: &str = "run.json";
/// Name of [`Exit`] in the bundle.
pub const EXIT: &str = "exit.json";
/// Name of [`HealthState`] in the bundle.
pub const HEALTH: &str = "health.json";

/// More than a [`Run`] or an [`Exit`] takes.
const ROOM: u64 = 4096;

/// Takes the room that the record `name` will need: a disk that is full by then must not cost the exit code, or keep a
/// container from being stopped, frozen or started again.
pub fn make_room(bundle: BorrowedFd<'_>, name: &str) {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if let Ok(file) = rustix::fs::openat(bundle, temporary(name).as_str(), flags, Mode::RUSR | Mode::WUSR) {
        // Where the file system cannot keep room, the record is written as well as may be.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, ROOM);
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}")
}

/// Writes `record` as `name` in `bundle`: whole, or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write<T: Serialize>(bundle: BorrowedFd<'_>, name: &str, record: &T) -> std::io::Result<()> {
    let temporary = temporary(name);
    crate::sys::failpoint::fails!("record.write")?;
    // What room it has it keeps: it is cut when all is written.
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = std::fs::File::from(rustix::fs::openat(bundle, temporary.as_str(), flags, mode)?);
    let text = serde_json::to_vec(record)?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)?;
    rustix::fs::renameat(bundle, temporary.as_str(), bundle, name)?;
    Ok(())
}

/// Reads the record `name` of `bundle`; none if it was never written.
///
/// # Errors
/// Those of the file system, and of content that is no such record.
pub fn read<T: DeserializeOwned>(bundle: BorrowedFd<'_>, name: &str) -> std::io::Result<Option<T>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = match rustix::fs::openat(bundle.as_fd(), name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => std::fs::File::from(other?),
    };
    // All of it first: a parser that reads from a file asks for one byte at a time.
    let mut text = Vec::with_capacity(1024);
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).map(Some)?)
}

/// Now, in milliseconds since the epoch.
pub fn now() -> i64 {
    i64::try_from(crate::sys::clock::since_epoch().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_whole_or_absent() {
        let dir = tempfile::tempdir().expect("a directory");
        let bundle = std::fs::File::open(dir.path()).expect("open");
        assert_eq!(read::<Exit>(bundle.as_fd(), EXIT).expect("read"), None);
        let exit = Exit { exit_code: 137, at: now(), since: now(), reason: None, by_user: false, oom_killed: false };
        write(bundle.as_fd(), EXIT, &exit).expect("write");
        assert_eq!(read(bundle.as_fd(), EXIT).expect("read"), Some(exit));
        make_room(bundle.as_fd(), EXIT);
        assert_eq!(std::fs::metadata(dir.path().join(".exit.json")).expect("room").len(), ROOM);
        let exit = Exit { exit_code: 0, at: 1, since: 1, reason: None, by_user: true, oom_killed: false };
        write(bundle.as_fd(), EXIT, &exit).expect("write");
        assert_eq!(read(bundle.as_fd(), EXIT).expect("read"), Some(exit));
        std::fs::write(dir.path().join(EXIT), "{").expect("damage");
        assert!(read::<Exit>(bundle.as_fd(), EXIT).is_err());
    }
}
