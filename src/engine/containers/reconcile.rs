//! Rows made true. Who looks at containers folds in what their monitors wrote,
//! so that there is no ghost: a container whose monitor is gone is stopped, with
//! the reason, and one that was to be removed is removed.

use crate::engine::Engine;
use crate::engine::api::Failure;
use crate::model::lifecycle::{Lifecycle, ProcessIdentity};
use crate::monitor::record::{self, Exit, Run};
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::{Durability, Store, StoreError};
use crate::sys::identity;

/// What has become of a container.
pub(super) enum Look {
    /// It is as `Container` says now.
    Here(Container),
    /// It was to be removed when it ended, and it has.
    Over(Container),
}

/// Looks at `container` and, where that is possible, writes down what changed.
pub(super) fn look(store: &Store, mut container: Container) -> Look {
    if settled(&container) {
        return Look::Here(container);
    }
    let Ok(bundle) = store.open_bundle(&container.id) else {
        container.lifecycle = stopped(137, Some("its bundle is gone"));
        return Look::Here(container);
    };
    let run = record::read::<Run>(std::os::fd::AsFd::as_fd(&bundle), record::RUN).ok().flatten();
    if is_owned(&bundle) {
        // Its maker or its monitor lives; the row may be a moment behind.
        if let Some(run) = run {
            container.lifecycle = run.lifecycle();
        }
        return Look::Here(container);
    }
    let exit = record::read::<Exit>(std::os::fd::AsFd::as_fd(&bundle), record::EXIT).ok().flatten();
    container.lifecycle = match (exit, run) {
        (Some(exit), _) => exit.lifecycle(),
        (None, Some(run)) => lost(&run),
        (None, None) if container.auto_remove => stopped(125, Some("its start was interrupted")),
        (None, None) => container.lifecycle,
    };
    let found = container.lifecycle.clone();
    // On a read-only store the answer is as true, and told again next time.
    let _ = store.change_lifecycle(&container.id, Durability::Throwaway, |_| Some(found));
    if container.auto_remove { Look::Over(container) } else { Look::Here(container) }
}

/// States that nothing but a verb changes.
fn settled(container: &Container) -> bool {
    match container.lifecycle {
        Lifecycle::Stopped { .. } => !container.auto_remove,
        _ => false,
    }
}

/// Whether a process holds the bundle's lock, which a monitor inherits from its maker.
fn is_owned(bundle: &Bundle) -> bool {
    let probe = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    match rustix::fs::flock(bundle, probe) {
        Ok(()) => {
            let _ = rustix::fs::flock(bundle, rustix::fs::FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// The end of a container that started and whose monitor wrote no end; it is killed.
pub(super) fn orphaned(bundle: &Bundle) -> Option<Lifecycle> {
    let bundle = std::os::fd::AsFd::as_fd(bundle);
    match record::read::<Exit>(bundle, record::EXIT) {
        Ok(None) => record::read::<Run>(bundle, record::RUN).ok().flatten().map(|run| lost(&run)),
        _ => None,
    }
}

/// The monitor was killed: its container has nobody to speak to, and is killed too.
fn lost(run: &Run) -> Lifecycle {
    if identity::boot_id().is_ok_and(|boot| boot != run.monitor.boot_id) {
        return stopped(137, Some("host restarted"));
    }
    if let Some(init) = &run.init {
        kill(init);
    }
    stopped(137, Some("monitor lost"))
}

/// Kills exactly this process, whoever may have its number by now.
pub(super) fn kill(process: &ProcessIdentity) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) else { return };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
    // Opened first, compared after: the pidfd stays with the process it was opened on.
    if identity::started_ticks(process.pid) == Ok(process.started_ticks) {
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        // Readable when it has ended, and with it all of its pid namespace.
        let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
        let _ = rustix::event::poll(&mut ended, Some(&patience));
    }
}

fn stopped(exit_code: i32, reason: Option<&str>) -> Lifecycle {
    Lifecycle::Stopped { exit_code, at: record::now(), reason: reason.map(Into::into), by_user: false }
}

impl Engine {
    /// Finds one container and looks at it; one that is over is not there any more.
    ///
    /// # Errors
    /// If there is no such container.
    pub(super) fn find_container(&self, store: &Store, text: &str) -> Result<Container, Failure> {
        let container = store.find_container(text)?;
        match look(store, container) {
            Look::Here(container) => Ok(container),
            Look::Over(container) => {
                self.discard_container(store, &container.id, Durability::Throwaway)?;
                Err(StoreError::NoSuchContainer(text.chars().take(200).collect()).into())
            }
        }
    }
}
