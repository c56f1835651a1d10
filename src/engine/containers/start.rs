//! `start`, and what `run` shares with it: a bundle, a monitor, a row that says so.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use oci_spec::runtime::Spec;
use rustix::fs::FlockOperation;

use super::attach::{self, Outcome, Signals};
use super::cgroup::{self, Pending};
use super::{create, filter, narrate, supervision};
use crate::engine::api::{AttachOptions, Failure, FailureKind, ListDue, Start, Started};
use crate::engine::{Engine, network};
use crate::model::id::ContainerId;
use crate::model::lifecycle::Lifecycle;
use crate::model::limits::Limits;
use crate::model::supervision::{Descriptors, Notify, ReadyWhen};
use crate::monitor::client::{Idle, Session};
use crate::monitor::protocol;
use crate::monitor::record;
use crate::spec;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;
use crate::store::{Access, Store, StoreError};
use crate::sys::{exec, failpoint, startup};

/// A container that can be started: its bundle is locked.
pub(super) struct Ready {
    pub(super) container: Container,
    pub(super) bundle: Bundle,
    pub(super) filter: Option<OwnedFd>,
    pub(super) start: protocol::Start,
    /// What its program inherits.
    pub(super) inherited: Vec<OwnedFd>,
}

/// How long a start waits for another process that has the bundle for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

impl Engine {
    pub(in crate::engine) fn start_container(&self, start: &Start) -> Result<Started, Failure> {
        let mut inherited = inherited(&start.descriptors)?;
        let store = self.store(Access::Write)?;
        let signals = start.attach.as_ref().map(|_| Signals::block()).transpose()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let container = self.find_container(&store, &start.name)?;
            match &container.lifecycle {
                Lifecycle::Paused { .. } => {
                    let failure =
                        Failure::say(FailureKind::Conflict, format!("container {} is paused", container.name));
                    return Err(failure.hint(format!("pybox unpause {}", container.name)));
                }
                // As docker: it is what was wanted.
                Lifecycle::Running { .. } | Lifecycle::Restarting { .. } => {
                    return self.started_already(&store, container, start, signals.as_ref());
                }
                Lifecycle::Created | Lifecycle::Stopped { .. } => {}
            }
            if let Some(ready) = ready(&store, &container.id)? {
                let inherited = std::mem::take(&mut inherited);
                return self.start_ready(&store, (ready, inherited), start, signals.as_ref());
            }
            if Instant::now() > deadline {
                return Err(Failure::say(
                    FailureKind::Conflict,
                    format!("container {} is being started or removed by another process", container.name),
                )
                .hint("pybox ps --all".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn started_already(
        &self,
        store: &Store,
        container: Container,
        start: &Start,
        signals: Option<&Signals>,
    ) -> Result<Started, Failure> {
        let code = match (&start.attach, signals) {
            (Some(attached), Some(signals)) => {
                attach::to_running(store, &container, &attached.options, signals)?.code()
            }
            _ => None,
        };
        Ok(Started { container: container.id, code })
    }

    fn start_ready(
        &self,
        store: &Store,
        (mut ready, inherited): (Ready, Vec<OwnedFd>),
        start: &Start,
        signals: Option<&Signals>,
    ) -> Result<Started, Failure> {
        let attached = start.attach.as_ref().map(|attached| &attached.options);
        if let Some(options) = attached {
            if ready.container.request.tty && options.input {
                attach::require_terminal()?;
            }
            ready.start.interactive &= options.input;
        }
        let id = ready.container.id.clone();
        ready.container.request.cgroup.speaks = start.notify.is_some();
        let choice = self.choose_cgroup(&ready.container.request)?;
        cgroup::check(&ready.container.request, &choice)?;
        let monitor = spawn_monitor(attached.is_some())?;
        let cgroup = self.begin_cgroup(choice, (&id, &ready.container.request), monitor.pid());
        self.find_company(store, &mut ready)?;
        prepare(&mut ready, start.notify.as_ref(), (&start.descriptors, inherited))?;
        let supervised = supervise(store, &mut ready, (monitor, cgroup), attached.zip(signals));
        let outcome = self.write_down(store, &ready, supervised)?;
        Ok(Started { container: id, code: outcome.code() })
    }

    /// Settles whom it shares a network with, as that is now.
    ///
    /// # Errors
    /// If a network has no address left, or the container whose network it is does not run.
    pub(super) fn find_company(&self, store: &Store, ready: &mut Ready) -> Result<(), Failure> {
        ready.start.membership = self.membership(store, &ready.container)?;
        ready.start.network_of = self.network_of(store, &ready.container.request)?;
        Ok(())
    }

    /// Names of the containers that a restart policy wants running.
    pub(in crate::engine) fn list_due(&self) -> Result<Vec<String>, Failure> {
        let _ = ListDue {};
        let store = self.store(Access::Read)?;
        let looked = store.list_containers()?.into_iter().filter_map(|row| self.looked_at(&store, row));
        let due = looked.filter(|container| {
            let by_user = matches!(container.lifecycle, Lifecycle::Stopped { by_user: true, .. });
            let began = !matches!(container.lifecycle, Lifecycle::Created);
            began && !container.lifecycle.is_alive() && container.request.restart.is_due(by_user)
        });
        // The oldest first: what was made earlier may be what later ones rely on.
        let mut names: Vec<_> = due.map(|container| (container.created, container.name.to_string())).collect();
        names.sort();
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }
}

/// Takes what a container's program is to inherit of us. To be called before anything is opened that could be taken for it.
///
/// # Errors
/// If a descriptor is not open.
pub(super) fn inherited(descriptors: &Descriptors) -> Result<Vec<OwnedFd>, Failure> {
    let numbers = (3..).take(usize::try_from(descriptors.count()).unwrap_or(usize::MAX));
    let take = |number: i32| {
        exec::inherited(number).ok_or_else(|| {
            let sentence = format!("the container is to inherit descriptor {number}, which is not open");
            Failure::say(FailureKind::Conflict, sentence)
                .hint("open it: pybox run --preserve-fds 1 … 3<FILE".to_owned())
        })
    };
    numbers.map(take).collect()
}

/// Has the monitor tell `to` how the container fares, and the program inherit these descriptors.
///
/// # Errors
/// If it is to tell when it is healthy, and there is no check.
pub(super) fn prepare(
    ready: &mut Ready,
    to: Option<&Notify>,
    (descriptors, inherited): (&Descriptors, Vec<OwnedFd>),
) -> Result<(), Failure> {
    ready.start.descriptors = descriptors.clone();
    ready.inherited = inherited;
    if to.is_some_and(|to| to.when == ReadyWhen::Healthy) && ready.start.health.is_none() {
        let sentence = format!("--sdnotify healthy: container {} has no health check", ready.container.name);
        return Err(
            Failure::say(FailureKind::Conflict, sentence).hint("give it one: --health-cmd 'COMMAND'".to_owned())
        );
    }
    ready.start.notify = to.cloned();
    Ok(())
}

/// Locks the bundle of a container and reads what a start needs; none if another process has it just now.
fn ready(store: &Store, id: &ContainerId) -> Result<Option<Ready>, Failure> {
    let bundle = store.open_bundle(id)?;
    if rustix::fs::flock(&bundle, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    // Whoever had the lock before may have removed it, or started it and seen it end.
    let container = store.find_container(id.as_str())?;
    failpoint::reach!("start.bundle_locked");
    let start = supervision::read(&bundle, &container)?;
    let filter = filter::compiled(store, &read_spec(&bundle, &container)?, &mut |_| {})?;
    for old in [record::RUN, record::EXIT, record::HEALTH] {
        remove(&bundle, old)?;
    }
    failpoint::reach!("start.records_removed");
    Ok(Some(Ready { container, bundle, filter, start, inherited: Vec::new() }))
}

fn remove(bundle: &Bundle, name: &str) -> Result<(), Failure> {
    match std::fs::remove_file(bundle.path().join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &bundle.path().join(name))(error).into())
        }
        _ => Ok(()),
    }
}

fn read_spec(bundle: &Bundle, container: &Container) -> Result<Spec, Failure> {
    let path = bundle.file(BundleFile::Config);
    let damaged = |error: String| {
        Failure::say(FailureKind::Corrupt, format!("read {}: {error}", path.display()))
            .hint(format!("remove the container and create it again: pybox rm {}", container.name))
    };
    let text = std::fs::read(&path).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

/// Writes other limits into the document of a container.
///
/// # Errors
/// If it cannot be read or written.
pub(super) fn rewrite_limits(store: &Store, container: &Container, limits: &Limits) -> Result<(), Failure> {
    let bundle = store.open_bundle(&container.id)?;
    let mut spec = read_spec(&bundle, container)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(spec::resources(limits)?);
    }
    let text = create::document(&spec)?;
    Ok(bundle.write(BundleFile::Config, text.as_bytes(), create::durability(&container.request))?)
}

/// A monitor that waits to be told what to launch.
///
/// # Errors
/// With what kept it from starting.
pub(super) fn spawn_monitor(attached: bool) -> Result<Idle, Failure> {
    Ok(Idle::spawn(attached)?)
}

/// What came of a start, and the monitor that told of it.
pub(super) struct Supervised {
    pub(super) outcome: Outcome,
    monitor: Session,
}

impl Supervised {
    /// Waits until the monitor is gone, if it is about to go.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub(super) fn finish(self) -> Result<Outcome, Failure> {
        if matches!(self.outcome, Outcome::Ended(_)) {
            let finished = self.monitor.finish();
            finished.map_err(|error| Failure::say(FailureKind::Internal, format!("wait for the monitor: {error}")))?;
        }
        Ok(self.outcome)
    }
}

/// Starts the container, and stays with it if `attached`.
///
/// # Errors
/// If it did not start, or its monitor was lost.
pub(super) fn supervise(
    store: &Store,
    ready: &mut Ready,
    (monitor, cgroup): (Idle, Pending),
    attached: Option<(&AttachOptions, &Signals)>,
) -> Result<Supervised, Failure> {
    network::check_ports(&ready.container.request.ports)?;
    ready.start.attached = attached.is_some();
    ready.start.detach_keys = attached.map(|(options, _)| options.detach_keys.clone()).unwrap_or_default();
    let subject = (&ready.container.id, &ready.container.request);
    ready.start.cgroup = cgroup.finish(subject, monitor.pid())?;
    narrate::launch(ready);
    let fds: Vec<_> = [ready.bundle.as_fd()].into_iter().chain(ready.filter.iter().map(|fd| fd.as_fd())).collect();
    failpoint::reach!("start.before_told");
    let session = monitor.start(&ready.start, &fds, &ready.inherited)?;
    failpoint::reach!("start.told");
    // All that is left is to wait: the code that parsed and composed need not stay in memory.
    startup::forget_code();
    match session.next()? {
        protocol::Event::Started { init, monitor } => {
            failpoint::reach!("start.started_seen");
            let lifecycle = Lifecycle::Running { init, monitor, since: record::now() };
            // It runs, whatever the row says: who looks reads what its monitor has written.
            let _ = note(store, &ready.container, lifecycle);
            failpoint::reach!("start.row_running");
        }
        protocol::Event::Failed { message, hint, exit_code } => return Err(failed(message, hint, exit_code)),
        protocol::Event::Exited { exit_code } => {
            return Ok(Supervised { outcome: Outcome::Ended(exit_code), monitor: session });
        }
        protocol::Event::Executed { .. } | protocol::Event::Done => {}
    }
    let Some((options, signals)) = attached else { return Ok(Supervised { outcome: Outcome::Left, monitor: session }) };
    let request = &ready.container.request;
    let raw = request.tty && request.interactive && options.input;
    failpoint::reach!("start.attached");
    let outcome = attach::stay(&session, signals, raw, options.pass_signals)?;
    failpoint::reach!("start.exit_seen");
    Ok(Supervised { outcome, monitor: session })
}

/// Writes the state of a container into its row, which somebody may have removed with force meanwhile.
///
/// # Errors
/// What the store says.
pub(super) fn note(store: &Store, container: &Container, lifecycle: Lifecycle) -> Result<(), Failure> {
    match store.change_lifecycle(&container.id, create::durability(&container.request), |_| Some(lifecycle)) {
        Ok(_) | Err(StoreError::NoSuchContainer(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The failure that the monitor tells of.
pub(super) fn failed(message: String, hint: Option<String>, exit_code: u8) -> Failure {
    let kind = match exit_code {
        127 => FailureKind::CommandNotFound,
        126 => FailureKind::CommandNotExecutable,
        _ => FailureKind::Host,
    };
    Failure { kind, message, hint }
}
