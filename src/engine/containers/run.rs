//! `run` and `create`: a new container, with or without a start.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::attach::{self, Outcome, Signals};
use super::start::{self, Ready, Supervised};
use super::{cgroup, create, reconcile};
use crate::engine::Engine;
use crate::engine::api::{AttachOptions, Create, Created, Event, Failure, FailureKind, Ran, Run};
use crate::model::lifecycle::Lifecycle;
use crate::monitor::record;
use crate::store::{Access, Store};
use crate::sys::{failpoint, startup};

impl Engine {
    pub(in crate::engine) fn run(&self, run: &Run, events: &mut dyn FnMut(Event)) -> Result<Ran, Failure> {
        let inherited = start::inherited(&run.descriptors)?;
        let mut request = run.request.clone();
        request.cgroup.speaks = run.notify.is_some();
        if request.tty && !run.detach {
            attach::require_terminal()?;
        }
        let id_file = run.id_file.as_deref().map(IdFile::new).transpose()?;
        let choice = self.choose_cgroup(&request)?;
        cgroup::check(&request, &choice)?;
        let store = self.store(Access::Write)?;
        let image = self.image_for(&store, &request, events)?;
        failpoint::reach!("run.image_found");
        // From here on signals are for the container; before, they end us as they always do.
        let signals = if run.detach { None } else { Some(Signals::block()?) };
        startup::forget_code();
        // It starts up while we compose; told nothing, it would go away.
        let monitor = start::spawn_monitor(!run.detach)?;
        failpoint::reach!("run.monitor_spawned");
        let id = create::new_id()?;
        let cgroup = self.begin_cgroup(choice, (&id, &request), monitor.pid());
        let again = !request.remove;
        let mut ready = self.create(&store, request, &image, (again, id), events)?;
        if let Some(id_file) = id_file {
            id_file.write(&ready.container.id.to_string())?;
        }
        failpoint::reach!("run.id_written");
        let options = AttachOptions { input: true, detach_keys: run.detach_keys.clone(), pass_signals: true };
        let attached = signals.as_ref().map(|signals| (&options, signals));
        let company = self
            .find_company(&store, &mut ready)
            .and_then(|()| start::prepare(&mut ready, run.notify.as_ref(), (&run.descriptors, inherited)));
        let supervised = company.and_then(|()| start::supervise(&store, &mut ready, (monitor, cgroup), attached));
        failpoint::reach!("run.outcome_seen");
        let outcome = self.write_down(&store, &ready, supervised);
        failpoint::reach!("run.outcome_written");
        Ok(Ran { container: ready.container.id, code: outcome?.code() })
    }

    pub(in crate::engine) fn create_container(
        &self,
        create: &Create,
        events: &mut dyn FnMut(Event),
    ) -> Result<Created, Failure> {
        let id_file = create.id_file.as_deref().map(IdFile::new).transpose()?;
        let store = self.store(Access::Write)?;
        let image = self.image_for(&store, &create.request, events)?;
        let ready = self.create(&store, create.request.clone(), &image, (true, create::new_id()?), events)?;
        if let Some(id_file) = id_file {
            id_file.write(&ready.container.id.to_string())?;
        }
        Ok(Created { id: ready.container.id })
    }

    /// Writes down how a start went, or removes what nobody will ask for again. A
    /// container that never ran stays, as docker's does, for a look at it.
    pub(super) fn write_down(
        &self,
        store: &Store,
        ready: &Ready,
        supervised: Result<Supervised, Failure>,
    ) -> Result<Outcome, Failure> {
        let container = &ready.container;
        let discard = || self.discard_container(store, &container.id, create::durability(&container.request));
        match supervised {
            // Its monitor has it.
            Ok(Supervised { outcome: Outcome::Left, .. }) => Ok(Outcome::Left),
            Ok(supervised) if container.auto_remove => {
                // The monitor has said its last word: it goes away while we clear up.
                let discarded = discard();
                let outcome = supervised.finish()?;
                discarded.map(|()| outcome)
            }
            // By what the monitor wrote: it may be about to start it again.
            Ok(supervised) => {
                let outcome = supervised.finish()?;
                self.fold(store, container);
                Ok(outcome)
            }
            Err(failure) => {
                // A monitor that was killed leaves its container to us.
                let lost = reconcile::orphaned(&ready.bundle);
                if container.auto_remove {
                    discard()?;
                } else {
                    let stopped = || Lifecycle::Stopped {
                        exit_code: start_code(&failure),
                        at: record::now(),
                        reason: Some(failure.message.clone()),
                        by_user: false,
                    };
                    start::note(store, container, lost.unwrap_or_else(stopped))?;
                }
                Err(failure)
            }
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

/// The file of `--cidfile`: new, and gone again if there is no container.
struct IdFile<'a> {
    path: &'a Path,
    file: std::fs::File,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn new(path: &'a Path) -> Result<Self, Failure> {
        let file = std::fs::File::options().write(true).create_new(true).mode(0o644).open(path).map_err(|error| {
            let failure = Failure::say(FailureKind::Invalid, format!("--cidfile {}: {error}", path.display()));
            failure.hint(format!("remove it, or choose another: rm {}", path.display()))
        })?;
        Ok(Self { path, file, written: false })
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        self.file.write_all(id.as_bytes()).map_err(|error| {
            Failure::say(FailureKind::Invalid, format!("write --cidfile {}: {error}", self.path.display()))
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
