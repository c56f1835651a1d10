//! The cgroup of one container, held by its monitor.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::error::CgroupError;
use super::hierarchy::{number, words};
use super::leftovers;
use super::placement::Placement;
use super::settings::Setting;

/// How long the kernel may take to freeze all processes.
const FREEZE: u64 = 5;

/// How long processes that were killed may take to be gone.
const GONE: Duration = Duration::from_millis(500);

/// A container's cgroup. Dropped, it is emptied and removed.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    directory: OwnedFd,
    /// `memory.events`, where memory is accounted for.
    memory: Option<File>,
    /// How many processes the kernel has killed here for want of memory, as far as we know.
    killed: u64,
}

impl Group {
    /// Moves us where `placement` has the monitor, and makes the container's cgroup.
    ///
    /// # Errors
    /// If that cannot be, or something that was asked for cannot be kept.
    pub fn make(placement: &Placement) -> Result<Self, CgroupError> {
        let (monitor, path) = (&placement.seat.monitor, placement.seat.container.clone());
        leftovers::make(monitor)?;
        std::fs::write(monitor.join("cgroup.procs"), "0").map_err(CgroupError::tree("move the monitor to", monitor))?;
        if let Some(parent) = path.parent() {
            enable(parent, &placement.settings)?;
        }
        // One of that name is what a monitor that was killed has left.
        remove(&path);
        let directory = leftovers::hold(&path)?;
        let memory = File::open(path.join("memory.events")).ok();
        let mut group = Self { path, directory, memory, killed: 0 };
        group.apply(&placement.settings)?;
        group.killed = group.count_killed();
        Ok(group)
    }

    /// The directory, for processes to be born in.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Writes these lines.
    ///
    /// # Errors
    /// With the first that was asked for and cannot be kept.
    pub fn apply(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        for setting in settings {
            let written = std::fs::write(self.path.join(&setting.file), &setting.value);
            if let Err(source) = written
                && setting.asked
            {
                return Err(CgroupError::Setting { setting: setting.clone(), source });
            }
        }
        Ok(())
    }

    /// Freezes all processes, or lets them go on.
    ///
    /// # Errors
    /// If the kernel does not, within five seconds.
    pub fn freeze(&self, freeze: bool) -> Result<(), CgroupError> {
        let file = self.path.join("cgroup.freeze");
        std::fs::write(&file, if freeze { "1" } else { "0" }).map_err(CgroupError::tree("write", &file))?;
        if wait_for(&self.path, "frozen", u64::from(freeze), Duration::from_secs(FREEZE)) {
            return Ok(());
        }
        if freeze {
            let _ = std::fs::write(&file, "0");
        }
        Err(CgroupError::Late("freezing the container", FREEZE))
    }

    /// Kills all processes at one blow, where the kernel can (5.14).
    pub fn kill(&self) {
        kill(&self.path);
    }

    /// Ready, with priority, when the kernel has done something for want of memory.
    pub fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(AsFd::as_fd)
    }

    /// How many processes the kernel has killed for want of memory since this was last asked.
    pub fn newly_killed(&mut self) -> u64 {
        let (before, now) = (self.killed, self.count_killed());
        self.killed = now;
        now.saturating_sub(before)
    }

    /// Reading is also what makes the file quiet again.
    fn count_killed(&self) -> u64 {
        let mut text = [0; 512];
        let length = self.memory.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let text = text.get(..length).map(String::from_utf8_lossy).unwrap_or_default();
        number(&text, "oom_kill").unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill(&self.path);
        remove(&self.path);
    }
}

/// Has `directory` hand on all that it has, or as much as it can.
pub(super) fn hand_on(directory: &Path) {
    let _ = enable(directory, &[]);
}

/// Has `directory` hand on its controllers.
///
/// # Errors
/// If one that somebody asked for is not to be had.
fn enable(directory: &Path, settings: &[Setting]) -> Result<(), CgroupError> {
    let read = |name: &str| words(&std::fs::read_to_string(directory.join(name)).unwrap_or_default());
    let (there, mut handed_on) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let missing: Vec<_> = there.iter().filter(|controller| !handed_on.contains(controller)).collect();
    let file = directory.join("cgroup.subtree_control");
    let together: Vec<_> = missing.iter().map(|controller| format!("+{controller}")).collect();
    let mut failure = None;
    if !missing.is_empty() && std::fs::write(&file, together.join(" ")).is_err() {
        // One by one, so that one that cannot be had keeps no other back.
        for word in &together {
            failure = std::fs::write(&file, word).err().or(failure);
        }
    }
    if !missing.is_empty() {
        handed_on = read("cgroup.subtree_control");
    }
    let lacks = |setting: &&Setting| setting.asked && !handed_on.iter().any(|known| known == setting.controller());
    let Some(setting) = settings.iter().find(lacks) else { return Ok(()) };
    let controller = setting.controller().to_owned();
    let source = failure.filter(|_| there.contains(&controller)).unwrap_or_else(|| ErrorKind::NotFound.into());
    Err(CgroupError::Controller { controller, directory: directory.to_owned(), source })
}

/// Kills all that is in a cgroup.
pub(super) fn kill(path: &Path) {
    let _ = std::fs::write(path.join("cgroup.kill"), "1");
    // What is frozen dies, too, but what only waits to be thawed by somebody who has gone would stay for ever.
    let _ = std::fs::write(path.join("cgroup.freeze"), "0");
}

/// Removes a cgroup as soon as its processes are gone. One that is not there is removed.
pub(super) fn remove(path: &Path) {
    if rustix::fs::rmdir(path) == Err(rustix::io::Errno::BUSY) {
        wait_for(path, "populated", 0, GONE);
        // What is left is found by whoever removes the container.
        let _ = rustix::fs::rmdir(path);
    }
}

/// Waits until `key` of cgroup.events is `value`; false if it is not in time.
fn wait_for(path: &Path, key: &str, value: u64, limit: Duration) -> bool {
    let Ok(events) = File::open(path.join("cgroup.events")) else { return false };
    let deadline = Instant::now() + limit;
    loop {
        let mut text = [0; 256];
        let length = events.read_at(&mut text, 0).unwrap_or(0);
        let text = text.get(..length).map(String::from_utf8_lossy).unwrap_or_default();
        if number(&text, key) == Some(value) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
