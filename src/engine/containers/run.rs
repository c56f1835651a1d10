//! `run` in the foreground: create, start, wait, and with `--rm` remove.

use super::attach::{self, Signals};
use super::create::{self, Created};
use super::reconcile;
use crate::engine::Engine;
use crate::engine::api::{Event, Exit, Failure, FailureKind};
use crate::model::container::ContainerRequest;
use crate::model::host::HostFacts;
use crate::model::lifecycle::Lifecycle;
use crate::monitor::client::{Idle, Session};
use crate::monitor::protocol::{self, Mapping, Start};
use crate::monitor::{program, record};
use crate::store::{Access, Store, StoreError};
use crate::sys::idmap::Helpers;
use crate::sys::startup;

impl Engine {
    pub(in crate::engine) fn run(
        &self,
        request: &ContainerRequest,
        events: &mut dyn FnMut(Event),
    ) -> Result<Exit, Failure> {
        if request.tty {
            attach::require_terminal()?;
        }
        let store = self.store(Access::Write)?;
        let image = self.image_for(&store, request, events)?;
        // From here on signals are for the container; before, they end us as they always do.
        let signals = Signals::block()?;
        startup::forget_code();
        // It starts up while we compose; told nothing, it would go away.
        let monitor = spawn_monitor()?;
        let created = create::create(&store, request.clone(), &image, events)?;
        let outcome = supervise(&store, &created, monitor, &signals);
        self.finish(&store, &created, &outcome)?;
        outcome.map(|code| Exit { container: created.container.id, code })
    }
}

fn spawn_monitor() -> Result<Idle, Failure> {
    use std::os::fd::AsFd as _;
    let sealed = program::sealed()
        .map_err(|error| Failure::say(FailureKind::Host, format!("copy the monitor into memory: {error}")))?;
    Ok(Idle::spawn(sealed.as_fd())?)
}

/// Starts the container and stays with it; its exit code.
fn supervise(store: &Store, created: &Created, monitor: Idle, signals: &Signals) -> Result<i32, Failure> {
    let request = &created.container.request;
    let start = Start {
        subject: protocol::Subject {
            id: created.container.id.to_string(),
            name: created.container.name.to_string(),
            image: request.image.clone(),
        },
        attached: true,
        log: request.log.clone(),
        restart: request.restart,
        health: None,
        timeout: request.timeout.map(|seconds| seconds.saturating_mul(1000)),
        stop: protocol::Stop { signal: request.stop_signal.unwrap_or(15), grace: Some(10_000) },
        events: store.layout().events(),
        finish: Vec::new(),
        mapping: mapping(&created.facts)?,
        interactive: request.interactive,
        keyring: format!("_pybox.{}", created.container.id.short()),
    };
    let bundle = std::os::fd::AsFd::as_fd(&created.bundle);
    let fds: Vec<_> = [bundle].into_iter().chain(created.filter.iter().map(std::os::fd::AsFd::as_fd)).collect();
    let session = monitor.start(&start, &fds)?;
    // All that is left is to wait: the code that parsed and composed need not stay in memory.
    startup::forget_code();
    let code = follow(store, created, &session, signals)?;
    session.finish().map_err(|error| Failure::say(FailureKind::Internal, format!("wait for the monitor: {error}")))?;
    Ok(code)
}

fn mapping(facts: &HostFacts) -> Result<Mapping, Failure> {
    let single = |ranges: &[crate::model::host::IdRange]| matches!(ranges, [range] if range.count == 1);
    if !facts.user_namespace || (single(&facts.id_map.uids) && single(&facts.id_map.gids)) {
        return Ok(Mapping::Direct { deny_setgroups: facts.uid != 0 });
    }
    let helpers =
        Helpers::find().ok_or_else(|| Failure::say(FailureKind::Host, "newuidmap and newgidmap are not installed"))?;
    Ok(Mapping::Helpers { newuidmap: helpers.newuidmap, newgidmap: helpers.newgidmap })
}

fn follow(store: &Store, created: &Created, session: &Session, signals: &Signals) -> Result<i32, Failure> {
    let container = &created.container;
    match session.next()? {
        protocol::Event::Started { init, monitor } => {
            let lifecycle = Lifecycle::Running { init, monitor, since: record::now() };
            // Without the row the container would run all the same: its bundle tells.
            store.change_lifecycle(&container.id, create::durability(&container.request), |_| Some(lifecycle))?;
        }
        protocol::Event::Failed { message, hint, exit_code } => return Err(failed(message, hint, exit_code)),
        protocol::Event::Exited { exit_code } => return Ok(exit_code),
        protocol::Event::Executed { .. } | protocol::Event::Done => {}
    }
    attach::stay(session, signals, container.request.tty && container.request.interactive)
}

fn failed(message: String, hint: Option<String>, exit_code: u8) -> Failure {
    let kind = match exit_code {
        127 => FailureKind::CommandNotFound,
        126 => FailureKind::CommandNotExecutable,
        _ => FailureKind::Host,
    };
    Failure { kind, message, hint }
}

impl Engine {
    /// Writes down how it ended, or removes what nobody will ask for again. A
    /// container that never ran stays, as docker's does, for a look at it.
    fn finish(&self, store: &Store, created: &Created, outcome: &Result<i32, Failure>) -> Result<(), Failure> {
        let container = &created.container;
        let durability = create::durability(&container.request);
        // A monitor that was killed leaves its container to us.
        let lost = outcome.is_err().then(|| reconcile::orphaned(&created.bundle)).flatten();
        if container.auto_remove {
            return self.discard_container(store, &container.id, durability);
        }
        let lifecycle = match (outcome, &lost) {
            (Ok(code), _) => Lifecycle::Stopped { exit_code: *code, at: record::now(), reason: None, by_user: false },
            (Err(_), Some(lost)) => lost.clone(),
            (Err(failure), None) => {
                let reason = Some(failure.message.clone());
                Lifecycle::Stopped { exit_code: start_code(failure), at: record::now(), reason, by_user: false }
            }
        };
        match store.change_lifecycle(&container.id, durability, |_| Some(lifecycle)) {
            // Somebody has removed it meanwhile, with force.
            Ok(_) | Err(StoreError::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The exit code of a container that did not start.
fn start_code(failure: &Failure) -> i32 {
    match failure.kind {
        FailureKind::CommandNotFound => 127,
        FailureKind::CommandNotExecutable => 126,
        _ => 125,
    }
}
