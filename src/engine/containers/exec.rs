//! `exec`: one more process in a container, made by its monitor.
//!
//! The host is not looked at: all that counts was written down when the container was made.

mod process;
mod streams;

use std::os::fd::{AsFd as _, OwnedFd};

use oci_spec::runtime::Process;
use rustix::fs::MemfdFlags;

use self::streams::{Ends, Streams};
use super::attach;
use super::start::failed;
use crate::engine::Engine;
use crate::engine::api::{Event, Exec, Executed, Failure, FailureKind};
use crate::model::lifecycle::Lifecycle;
use crate::monitor::client::Session;
use crate::monitor::protocol::{self, Control};
use crate::store::Access;
use crate::store::containers::Container;
use crate::sys::failpoint;

impl Engine {
    pub(in crate::engine) fn exec(&self, exec: &Exec, events: &mut dyn FnMut(Event)) -> Result<Executed, Failure> {
        if exec.tty && exec.interactive && !exec.detach {
            attach::require_terminal()?;
        }
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &exec.name)?;
        must_run(&container)?;
        let bundle = store.open_bundle(&container.id)?;
        let process = process::compose(&store, (&container, &bundle), exec, events)?;
        let session = Session::connect(bundle.as_fd()).map_err(attach::ended(&container))?;
        follow(&session, &process, exec)
    }
}

fn must_run(container: &Container) -> Result<(), Failure> {
    let name = &container.name;
    let say = |what: &str| Failure::say(FailureKind::Conflict, format!("container {name} is {what}"));
    match container.lifecycle {
        Lifecycle::Running { .. } => Ok(()),
        Lifecycle::Paused { .. } => Err(say("paused").hint(format!("pybox unpause {name}"))),
        Lifecycle::Restarting { .. } => Err(say("restarting").hint("try again when it runs: pybox ps -a".to_owned())),
        Lifecycle::Created | Lifecycle::Stopped { .. } => Err(attach::not_running(container)),
    }
}

/// Has the monitor make the process, and stays with it unless it is detached.
fn follow(session: &Session, process: &Process, exec: &Exec) -> Result<Executed, Failure> {
    let document = document(process)?;
    let ends = if exec.tty { None } else { Some(Ends::new(exec)?) };
    let order = Control::Exec { unfiltered: exec.privileged, detached: exec.detach };
    let fds = [document.as_fd()].into_iter().chain(ends.iter().flat_map(Ends::of_program));
    session.control_with_cargo(&order, &fds.collect::<Vec<_>>()).map_err(lost)?;
    failpoint::reach!("exec.ordered");
    let (answer, [terminal, ..]) = session.next_with_cargo().map_err(lost)?;
    match answer {
        protocol::Event::Executed { .. } => {}
        protocol::Event::Failed { message, hint, exit_code } => return Err(failed(message, hint, exit_code)),
        other => return Err(Failure::say(FailureKind::Internal, format!("the monitor answered {other:?}"))),
    }
    failpoint::reach!("exec.executed");
    if exec.detach {
        return Ok(Executed { code: None });
    }
    let streams = match (ends, terminal) {
        (Some(ends), _) => Streams::of_pipes(ends)?,
        (None, Some(terminal)) => Streams::of_terminal(terminal, exec)?,
        (None, None) => return Err(Failure::say(FailureKind::Internal, "the monitor sent no terminal")),
    };
    streams.follow(session).map(|code| Executed { code })
}

/// The process as a file that the monitor reads.
fn document(process: &Process) -> Result<OwnedFd, Failure> {
    let failed = |error: String| Failure::say(FailureKind::Internal, format!("write the process down: {error}"));
    let text = serde_json::to_vec(process).map_err(|error| failed(error.to_string()))?;
    let file = rustix::fs::memfd_create(c"process", MemfdFlags::CLOEXEC).map_err(|error| failed(error.to_string()))?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest));
        let written = written.map_err(|error| failed(error.to_string()))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}

/// The monitor went away: killed, or because its container ended.
fn lost(error: protocol::WireError) -> Failure {
    match error {
        protocol::WireError::Closed => {
            Failure::say(FailureKind::Conflict, "the container ended meanwhile").hint("pybox ps -a".to_owned())
        }
        error => error.into(),
    }
}
