//! Waiting until something is written to the file of happenings.
//!
//! The watch stands before the file is read, so nothing comes unseen between
//! reading and waiting. Where no watch can be had, a pause has to do.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Where there is nothing to watch.
const PAUSE: Duration = Duration::from_millis(200);

/// A watch on a file that may not be there yet.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<OwnedFd>,
}

impl Watch {
    /// Watches the file `path`, and its directory for a new file of the name.
    pub(super) fn new(path: &Path) -> Self {
        let watch = || {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            let directory = path.parent()?;
            // Written, or moved away to make room for a new one.
            let file = inotify::add_watch(&inotify, path, WatchFlags::MODIFY | WatchFlags::MOVE_SELF);
            if file.is_err() {
                inotify::add_watch(&inotify, directory, WatchFlags::CREATE | WatchFlags::MOVED_TO).ok()?;
            }
            Some(inotify)
        };
        Self { inotify: watch() }
    }

    /// Waits until something has changed, or this long.
    pub(super) fn wait(&self, most: Duration) {
        let Some(inotify) = &self.inotify else {
            std::thread::sleep(most.min(PAUSE));
            return;
        };
        let limit = Timespec {
            tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(most.subsec_nanos()),
        };
        let mut ready = [PollFd::new(inotify, PollFlags::IN)];
        let _ = rustix::event::poll(&mut ready, Some(&limit));
    }
}
