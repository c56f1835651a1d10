//! `stop`, `restart`, `kill`, `pause`, `unpause`, `wait`: words to monitors.
//!
//! The monitor does it, whatever becomes of us; we wait for its answer. One that
//! cannot be reached is reached by signals instead.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::attach::{ended, not_running};
use super::reconcile;
use crate::engine::Engine;
use crate::engine::api::{Act, Acted, Action, Ended, Failure, FailureKind, Start, Wait};
use crate::model::id::ContainerId;
use crate::model::lifecycle::Lifecycle;
use crate::monitor::client::Session;
use crate::monitor::protocol::{Control, Event, StopWish, WireError};
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::{Access, Store};
use crate::sys::failpoint;
use crate::sys::wait::readable_within;

/// How many containers are dealt with at the same time.
const AT_ONCE: usize = 32;

impl Engine {
    pub(in crate::engine) fn act(&self, act: &Act) -> Acted {
        let mut outcomes = Vec::with_capacity(act.names.len());
        for names in act.names.chunks(AT_ONCE) {
            if let [name] = names {
                outcomes.push(self.act_on(name, act.action));
                continue;
            }
            std::thread::scope(|scope| {
                let workers: Vec<_> = names.iter().map(|name| scope.spawn(|| self.act_on(name, act.action))).collect();
                outcomes.extend(workers.into_iter().map(|worker| {
                    worker.join().unwrap_or_else(|_| Err(Failure::say(FailureKind::Internal, "a thread panicked")))
                }));
            });
        }
        outcomes
    }

    fn act_on(&self, name: &str, action: Action) -> Result<ContainerId, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, name)?;
        let alive = container.lifecycle.is_alive();
        match action {
            Action::Stop { .. } if !alive => {}
            Action::Restart { .. } if !alive => return self.start_ended(&container),
            Action::Kill { .. } | Action::Pause | Action::Unpause if container.lifecycle.init().is_none() => {
                return Err(not_running(&container));
            }
            Action::Stop { signal, timeout } => self.stop(&store, &container, wish(signal, timeout))?,
            Action::Restart { signal, timeout } => self.restart(&store, &container, wish(signal, timeout))?,
            Action::Kill { signal } => kill(&store, &container, signal)?,
            Action::Pause => pause(&store, &container, true)?,
            Action::Unpause => pause(&store, &container, false)?,
        }
        Ok(container.id)
    }

    /// Stops a container that is alive, and sees its end written down.
    ///
    /// # Errors
    /// If it does not end.
    pub(super) fn stop(&self, store: &Store, container: &Container, wish: StopWish) -> Result<(), Failure> {
        let bundle = store.open_bundle(&container.id)?;
        let answer = Session::connect(bundle.as_fd()).and_then(|session| {
            session.control(&Control::Stop(wish))?;
            failpoint::reach!("stop.asked");
            end(&session)
        });
        match answer {
            Ok(_) => {}
            // Nobody listens: it has just ended, or its socket was taken away.
            Err(WireError::Closed) => without_words(&bundle, container)?,
            Err(error) => return Err(error.into()),
        }
        failpoint::reach!("stop.end_seen");
        self.fold(store, container);
        Ok(())
    }

    fn restart(&self, store: &Store, container: &Container, wish: StopWish) -> Result<(), Failure> {
        let bundle = store.open_bundle(&container.id)?;
        match begun_again(&bundle, wish) {
            Ok(Event::Started { init, monitor }) => {
                let lifecycle = Lifecycle::Running { init, monitor, since: crate::monitor::record::now() };
                let _ = super::start::note(store, container, lifecycle);
                Ok(())
            }
            Ok(Event::Failed { message, hint, exit_code }) => {
                self.fold(store, container);
                Err(super::start::failed(message, hint, exit_code))
            }
            // It has ended by itself meanwhile.
            Ok(_) | Err(WireError::Closed) => self.start_ended(container).map(drop),
            Err(error) => Err(error.into()),
        }
    }

    fn start_ended(&self, container: &Container) -> Result<ContainerId, Failure> {
        let start = Start {
            name: container.id.to_string(),
            attach: None,
            notify: None,
            descriptors: crate::model::supervision::Descriptors::default(),
        };
        self.start_container(&start).map(|done| done.container)
    }

    /// Brings the row up to what the monitor wrote.
    pub(super) fn fold(&self, store: &Store, container: &Container) {
        if let Ok(row) = store.find_container(container.id.as_str()) {
            let _ = self.looked_at(store, row);
        }
    }

    pub(in crate::engine) fn wait_for_container(&self, wait: &Wait) -> Result<Ended, Failure> {
        let store = self.store(Access::Write)?;
        let container = self.find_container(&store, &wait.name)?;
        let id = container.id.clone();
        let mut last = container;
        // A monitor that goes without a word has left its end in the bundle.
        for _ in 0..100 {
            match &last.lifecycle {
                Lifecycle::Stopped { exit_code, .. } | Lifecycle::Restarting { exit_code, .. } => {
                    return Ok(Ended { exit_code: *exit_code });
                }
                Lifecycle::Created => return Ok(Ended { exit_code: 0 }),
                Lifecycle::Running { .. } | Lifecycle::Paused { .. } => {}
            }
            let bundle = store.open_bundle(&id)?;
            let answer = Session::connect(bundle.as_fd()).and_then(|session| {
                session.control(&Control::Wait)?;
                end(&session)
            });
            match answer {
                Ok(exit_code) => {
                    self.fold(&store, &last);
                    return Ok(Ended { exit_code });
                }
                Err(WireError::Closed) => {}
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(Duration::from_millis(20));
            last = self.find_container(&store, id.as_str())?;
        }
        Err(Failure::say(FailureKind::Internal, format!("the monitor of container {} does not answer", last.name))
            .hint(format!("pybox stop {}", last.name)))
    }
}

fn wish(signal: Option<i32>, seconds: Option<u64>) -> StopWish {
    StopWish { signal, grace: seconds.map(|seconds| seconds.saturating_mul(1000)) }
}

/// Has the monitor start its container again: that it has, or why it could not.
fn begun_again(bundle: &Bundle, wish: StopWish) -> Result<Event, WireError> {
    let session = Session::connect(bundle.as_fd())?;
    session.control(&Control::Restart(wish))?;
    failpoint::reach!("restart.asked");
    loop {
        match session.next()? {
            event @ (Event::Started { .. } | Event::Failed { .. }) => return Ok(event),
            Event::Exited { .. } | Event::Executed { .. } | Event::Done => {}
        }
    }
}

/// The exit code that the monitor tells.
fn end(session: &Session) -> Result<i32, WireError> {
    loop {
        if let Event::Exited { exit_code } = session.next()? {
            return Ok(exit_code);
        }
    }
}

fn kill(store: &Store, container: &Container, signal: i32) -> Result<(), Failure> {
    let bundle = store.open_bundle(&container.id)?;
    let told = Session::connect(bundle.as_fd()).and_then(|session| session.control(&Control::Signal(signal)));
    told.map_err(ended(container))
}

fn pause(store: &Store, container: &Container, freeze: bool) -> Result<(), Failure> {
    let paused = matches!(container.lifecycle, Lifecycle::Paused { .. });
    if paused == freeze {
        let (state, verb) = if paused { ("already paused", "unpause") } else { ("not paused", "pause") };
        let failure = Failure::say(FailureKind::Conflict, format!("container {} is {state}", container.name));
        return Err(failure.hint(format!("pybox {verb} {}", container.name)));
    }
    let bundle = store.open_bundle(&container.id)?;
    let session = Session::connect(bundle.as_fd()).map_err(ended(container))?;
    let control = if freeze { Control::Pause } else { Control::Unpause };
    self::freeze(&session, container, &control)?;
    let lifecycle = match container.lifecycle.clone() {
        Lifecycle::Running { init, monitor, since } if freeze => Lifecycle::Paused { init, monitor, since },
        Lifecycle::Paused { init, monitor, since } if !freeze => Lifecycle::Running { init, monitor, since },
        other => other,
    };
    // It is so, whatever the row says: who looks reads what the monitor has written.
    let _ = super::start::note(store, container, lifecycle);
    Ok(())
}

/// Freezes a container for as long as the answer lives.
///
/// # Errors
/// If it does not run, or cannot be frozen.
pub(super) fn hold(store: &Store, container: &Container) -> Result<Session, Failure> {
    let bundle = store.open_bundle(&container.id)?;
    let session = Session::connect(bundle.as_fd()).map_err(ended(container))?;
    freeze(&session, container, &Control::Hold)?;
    Ok(session)
}

/// Has the monitor freeze the container, or let it go on.
///
/// # Errors
/// If it does not run, or the monitor cannot.
pub(super) fn freeze(session: &Session, container: &Container, control: &Control) -> Result<(), Failure> {
    session.control(control).map_err(ended(container))?;
    loop {
        match session.next().map_err(ended(container))? {
            Event::Done => return Ok(()),
            Event::Failed { message, hint, .. } => return Err(Failure { kind: FailureKind::Host, message, hint }),
            Event::Exited { .. } => return Err(not_running(container)),
            Event::Started { .. } | Event::Executed { .. } => {}
        }
    }
}

/// Ends a container whose monitor has no socket any more: a signal to the monitor, and
/// if that does not help, to all.
fn without_words(bundle: &Bundle, container: &Container) -> Result<(), Failure> {
    let Some((init, monitor)) = reconcile::processes(bundle) else { return Ok(()) };
    // The process is waited for, not the bundle's lock: another start may have that by now, and is not meant.
    let Some(process) = reconcile::signal(&monitor, rustix::process::Signal::TERM) else {
        init.iter().for_each(reconcile::kill);
        return Ok(());
    };
    if readable_within(&process, Duration::from_secs(12)) {
        return Ok(());
    }
    reconcile::kill(&monitor);
    init.iter().for_each(reconcile::kill);
    if readable_within(&process, Duration::from_secs(5)) {
        return Ok(());
    }
    Err(Failure::say(FailureKind::Conflict, format!("container {} does not end", container.name))
        .hint(format!("pybox ps --all --filter id={}", container.id.short())))
}

/// Waits until nobody owns the bundle; says whether that is so. It is ours then, until it is closed.
pub(super) fn wait_until_free(bundle: &Bundle, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if rustix::fs::flock(bundle, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How long it may take until a container that is killed is gone.
const LAST: Duration = Duration::from_secs(15);

/// Kills a container and waits until its bundle is ours, whatever state its monitor is in.
///
/// # Errors
/// If it does not end.
pub(super) fn kill_for_good(bundle: &Bundle, container: &Container) -> Result<(), Failure> {
    let now = StopWish { signal: Some(9), grace: Some(0) };
    let deadline = Instant::now() + LAST;
    // Again and again: whoever starts it just now has the bundle, and neither a socket nor a process to kill.
    while Instant::now() < deadline {
        if let Ok(session) = Session::connect(bundle.as_fd()) {
            let _ = session.control(&Control::Stop(now));
            // Readable when it answers or goes; a monitor that is stopped itself does neither.
            let _ = readable_within(session.as_fd(), Duration::from_secs(2));
        }
        if wait_until_free(bundle, Duration::from_millis(500)) {
            return Ok(());
        }
        reconcile::kill_all(bundle, &container.lifecycle);
        if wait_until_free(bundle, Duration::from_millis(100)) {
            return Ok(());
        }
    }
    Err(Failure::say(FailureKind::Conflict, format!("container {} does not end", container.name))
        .hint(format!("pybox ps --all --filter id={}", container.id.short())))
}
