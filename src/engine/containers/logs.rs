//! `logs`: what a container has written, and what it goes on to write.

mod journal;
mod output;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use self::output::Output;
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind, LogShown, ShowLog};
use crate::logs::reader::Reader;
use crate::model::id::ContainerName;
use crate::model::supervision::LogDriver;
use crate::monitor::client::Session;
use crate::store::Access;

/// How often a log is looked at that cannot be watched.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

impl Engine {
    pub(in crate::engine) fn show_log(&self, show: &ShowLog) -> Result<LogShown, Failure> {
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &show.name)?;
        let name = &container.name;
        if container.request.log.driver == LogDriver::None {
            let sentence = format!("container {name} keeps no log: it was created with --log-driver none");
            let failure = Failure::say(FailureKind::Conflict, sentence);
            return Err(failure.hint(format!("see what it writes from now on: pybox attach --no-stdin {name}")));
        }
        let bundle = store.open_bundle(&container.id)?;
        // Who follows for days must not hold the store open.
        drop(store);
        let bundle = bundle.as_fd();
        // Stands before the first look, so that nothing comes unseen.
        let watch = show.follow.then(|| Watch::new(bundle));
        let failed = |error: std::io::Error| unreadable(name, &error);
        if container.request.log.driver == LogDriver::Journald && journal::is_readable() {
            return journal::show((&container, bundle), show, watch.as_ref());
        }
        let mut reader = Reader::open(bundle).map_err(failed)?;
        if let Some(lines) = show.tail {
            reader.keep_last(lines).map_err(failed)?;
        }
        let mut output = Output::new(show);
        loop {
            // Before reading: what it wrote before it went is read.
            let gone = watch.as_ref().is_none_or(Watch::is_gone);
            while let Some(entry) = reader.read().map_err(failed)? {
                if let Err(stopped) = output.show(&entry) {
                    return stopped.answer();
                }
            }
            if let Err(stopped) = output.flush() {
                return stopped.answer();
            }
            let left = show.until.map(|until| until.saturating_sub(output::now()));
            if gone || left.is_some_and(|left| left < 0) {
                return whole(&reader, name);
            }
            if let Some(watch) = &watch {
                watch.wait(left, None);
            }
        }
    }
}

fn unreadable(name: &ContainerName, error: &std::io::Error) -> Failure {
    Failure::say(FailureKind::Corrupt, format!("read the log of container {name}: {error}"))
        .hint(format!("pybox check, and ls -l the files of: pybox inspect --format {{{{.LogPath}}}} {name}"))
}

/// All was shown; a log with damage in it must not pass for a whole one.
fn whole(reader: &Reader, name: &ContainerName) -> Result<LogShown, Failure> {
    match reader.damaged() {
        0 => Ok(LogShown {}),
        bytes => {
            let sentence = format!("the log of container {name} is damaged: {bytes} bytes could not be shown");
            Err(Failure::say(FailureKind::Corrupt, sentence).hint(format!("pybox inspect {name}")))
        }
    }
}

/// Tells when there may be more to read, and when there will be no more.
struct Watch {
    inotify: Option<OwnedFd>,
    monitor: Option<Session>,
}

impl Watch {
    fn new(bundle: BorrowedFd<'_>) -> Self {
        let watch = || {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&bundle));
            let of_interest = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            inotify::add_watch(&inotify, path, of_interest).ok()?;
            Some(inotify)
        };
        Self { inotify: watch(), monitor: Session::connect(bundle).ok() }
    }

    /// Whether the monitor has gone, with the last byte written.
    fn is_gone(&self) -> bool {
        let Some(monitor) = &self.monitor else { return true };
        let socket = monitor.as_fd();
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // We have asked for nothing, so all there can be is the end.
        matches!(rustix::event::poll(&mut ready, Some(&now)), Ok(1..))
    }

    /// Waits for a change, for what `other` has to read, or until so many milliseconds have passed.
    fn wait(&self, left: Option<i64>, other: Option<BorrowedFd<'_>>) {
        let socket = self.monitor.as_ref().map(Session::as_fd);
        let fds = [socket, other];
        let mut fds: Vec<_> = fds.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        fds.extend(self.inotify.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        // One more, so that the time has passed then.
        let left = left.map(|left| left.saturating_add(1).max(1));
        let left = left.map(|left| Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 });
        let pause = if self.inotify.is_none() { Some(PAUSE) } else { left };
        let _ = rustix::event::poll(&mut fds, pause.as_ref());
        if let Some(inotify) = &self.inotify {
            // What has changed does not matter; all of it is looked at.
            let mut buffer = [0; 4096];
            while let Ok(1..) = rustix::io::read(inotify, &mut buffer) {}
        }
    }
}
