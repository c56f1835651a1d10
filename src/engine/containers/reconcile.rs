//! Rows made true. Who looks at containers folds in what their monitors wrote,
//! so that there is no ghost: a container whose monitor is gone is stopped, with
//! the reason, and one that was to be removed is removed.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Signal;

use crate::cgroup::placement::Seat;
use crate::engine::Engine;
use crate::engine::api::Failure;
use crate::model::id::ContainerId;
use crate::model::lifecycle::{Lifecycle, ProcessIdentity};
use crate::monitor::record::{self, Exit, Run};
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;
use crate::store::{Durability, Store, StoreError};
use crate::sys::identity;
use crate::sys::wait::readable_within;

/// What has become of a container.
pub(super) enum Look {
    /// It is as `Container` says now.
    Here(Container),
    /// It was to be removed when it ended, and it has.
    Over(Container),
}

/// Looks at `container` and, where that is possible, writes down what changed.
pub(super) fn look(store: &Store, mut container: Container) -> Look {
    let Ok(bundle) = store.open_bundle(&container.id) else {
        if container.lifecycle.is_alive() {
            // Nobody will find its monitor any more, and what it writes goes nowhere.
            for process in known(&container.lifecycle) {
                kill(&process);
            }
            container.lifecycle = stopped(137, Some("its bundle is gone"));
        }
        return Look::Here(container);
    };
    // The end is read first: what is read of the run afterwards was true when there was no end yet.
    let exit = record::read::<Exit>(std::os::fd::AsFd::as_fd(&bundle), record::EXIT).ok().flatten();
    let run = record::read::<Run>(std::os::fd::AsFd::as_fd(&bundle), record::RUN).ok().flatten();
    if is_owned(&bundle) {
        // Its maker, its monitor or who removes it lives; the row may be a moment behind.
        match (exit, run) {
            (Some(exit), _) => container.lifecycle = exit.lifecycle(),
            (None, Some(run)) => container.lifecycle = run.lifecycle(),
            (None, None) => {}
        }
        return Look::Here(container);
    }
    // Whoever owned it may have written its end meanwhile.
    let exit = exit.or_else(|| record::read::<Exit>(std::os::fd::AsFd::as_fd(&bundle), record::EXIT).ok().flatten());
    let before = container.lifecycle.clone();
    container.lifecycle = match (exit, run) {
        (Some(exit), _) => exit.lifecycle(),
        (None, Some(run)) => lost(&run),
        (None, None) if container.lifecycle.is_alive() => stopped(137, Some("its records are gone")),
        (None, None) if container.auto_remove && !bundle.file(BundleFile::Start).exists() => {
            stopped(125, Some("its start was interrupted"))
        }
        (None, None) => container.lifecycle,
    };
    if container.lifecycle != before {
        let found = container.lifecycle.clone();
        // On a read-only store the answer is as true, and told again next time.
        let _ = store.change_lifecycle(&container.id, Durability::Throwaway, |_| Some(found));
    }
    let ended = matches!(container.lifecycle, Lifecycle::Stopped { .. });
    if container.auto_remove && ended { Look::Over(container) } else { Look::Here(container) }
}

/// Whether somebody makes, starts or runs the container; looks only.
pub(in crate::engine) fn has_owner(store: &Store, id: &ContainerId) -> bool {
    store.open_bundle(id).is_ok_and(|bundle| is_owned(&bundle))
}

/// Whether a process holds the bundle's lock, which a monitor inherits from its maker.
fn is_owned(bundle: &Bundle) -> bool {
    // Shared, so that those who look do not see each other.
    let probe = rustix::fs::FlockOperation::NonBlockingLockShared;
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
    for process in run.init.iter().chain(&run.network) {
        kill(process);
    }
    // Also what the monitor had started beside the container, where nobody else is.
    run.cgroup.iter().for_each(Seat::sweep);
    stopped(137, Some("monitor lost"))
}

/// The first process, if there is one, and the monitor, as the bundle has them.
pub(super) fn processes(bundle: &Bundle) -> Option<(Option<ProcessIdentity>, ProcessIdentity)> {
    let run = record::read::<Run>(std::os::fd::AsFd::as_fd(bundle), record::RUN).ok().flatten()?;
    identity::boot_id().is_ok_and(|boot| boot == run.monitor.boot_id).then_some((run.init, run.monitor))
}

/// The first process and the monitor, as the row has them.
fn known(lifecycle: &Lifecycle) -> Vec<ProcessIdentity> {
    let all = match lifecycle {
        Lifecycle::Running { init, monitor, .. } | Lifecycle::Paused { init, monitor, .. } => vec![monitor, init],
        Lifecycle::Restarting { monitor, .. } => vec![monitor],
        Lifecycle::Created | Lifecycle::Stopped { .. } => Vec::new(),
    };
    let boot = identity::boot_id().ok();
    all.into_iter().filter(|process| boot.as_ref() == Some(&process.boot_id)).cloned().collect()
}

/// Kills the monitor and the first process, whichever of the bundle and the row still know them.
pub(super) fn kill_all(bundle: &Bundle, lifecycle: &Lifecycle) {
    let recorded = processes(bundle).map(|(init, monitor)| [Some(monitor), init].into_iter().flatten().collect());
    let network = record::read::<Run>(std::os::fd::AsFd::as_fd(bundle), record::RUN).ok().flatten();
    let boot = identity::boot_id().ok();
    let run = network.filter(|run| boot.as_ref() == Some(&run.monitor.boot_id));
    let seat = run.as_ref().and_then(|run| run.cgroup.clone());
    let network = run.and_then(|run| run.network).filter(|process| boot.as_ref() == Some(&process.boot_id));
    for process in recorded.unwrap_or_else(|| known(lifecycle)).into_iter().chain(network) {
        kill(&process);
    }
    if let Some(seat) = seat {
        seat.sweep();
    }
}

/// The pidfd of exactly this process, whoever may have its number by now, if it is there.
pub(super) fn held(process: &ProcessIdentity) -> Option<OwnedFd> {
    identity::hold(process.pid, process.started_ticks)
}

/// Sends a signal to exactly this process; its pidfd, if it is there.
pub(super) fn signal(process: &ProcessIdentity, signal: Signal) -> Option<OwnedFd> {
    let pidfd = held(process)?;
    let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
    Some(pidfd)
}

/// Kills exactly this process, and waits for its end.
pub(super) fn kill(process: &ProcessIdentity) {
    if let Some(pidfd) = signal(process, Signal::KILL) {
        // Readable when it has ended, and with it all of its pid namespace.
        let _ = readable_within(&pidfd, Duration::from_secs(2));
    }
}

fn stopped(exit_code: i32, reason: Option<&str>) -> Lifecycle {
    Lifecycle::Stopped { exit_code, at: record::now(), reason: reason.map(Into::into), by_user: false }
}

impl Engine {
    /// The container of a row as it is; none if it is over, in which case it is removed if that is possible.
    pub(super) fn looked_at(&self, store: &Store, row: Container) -> Option<Container> {
        match look(store, row) {
            Look::Here(container) => Some(container),
            Look::Over(container) => {
                let _ = self.discard_container(store, &container.id, Durability::Throwaway);
                None
            }
        }
    }

    /// Finds one container and looks at it; one that is over is not there any more.
    ///
    /// # Errors
    /// If there is no such container.
    pub(in crate::engine) fn find_container(&self, store: &Store, text: &str) -> Result<Container, Failure> {
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
