//! One start of the container: its first process and its streams.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::attached::Pipes;
use super::emulator::{self, Emulator};
use super::error::MonitorError;
use super::input::Input;
use super::membership;
use super::names::Names;
use super::network::{self, Network};
use super::private;
use super::protocol::{Mapping, Start};
use super::pump::Pump;
use super::server::Server;
use crate::emulation::Beginning;
use crate::launch::document::Document;
use crate::launch::parent::{self, Held, Running, Stdio};
use crate::launch::plan::{INIT_ANNOTATION, ROOTFS_ANNOTATION};
use crate::launch::{self, Extras, JoinFacts, LaunchError, Plan};
use crate::logs::journal::{self, Journal, Subject};
use crate::logs::writer::Writer;
use crate::model::supervision::{Descriptors, LogDriver};
use crate::network::holder::client::Joined;
use crate::sys::failpoint;
use crate::sys::idmap::Helpers;

/// A container that runs.
#[derive(Debug)]
pub struct Incarnation {
    /// The first process, and its terminal.
    pub running: Running,
    /// Who serves its file system, if somebody does.
    pub server: Option<Server>,
    /// Who answers its calls about ids, if somebody has to.
    pub emulator: Option<Emulator>,
    /// What connects its network, if something does.
    pub network: Option<Network>,
    /// Its name servers, if they follow the host's.
    pub names: Option<Names>,
    /// The networks that it is on, if it is on some.
    pub networks: Option<Joined>,
    /// How it was made, for those who join it.
    pub facts: JoinFacts,
    /// What it is typed.
    pub input: Input,
    /// What it writes.
    pub output: Pump,
}

impl Incarnation {
    /// Launches the container of the bundle that is the working directory, in `cgroup` where one is given. `held` is told the pid of the first
    /// process before that executes anything: it ends if we do until then, and has to be found by others after.
    ///
    /// # Errors
    /// With what is wrong with the bundle, the step that failed, or what `held` says.
    pub fn launch(
        start: &Start,
        (filter, inherited): (Option<&OwnedFd>, &[OwnedFd]),
        (bundle, cgroup): (&OwnedFd, Option<BorrowedFd<'_>>),
        held: impl FnOnce(u32, Option<u32>) -> Result<(), MonitorError>,
    ) -> Result<Self, MonitorError> {
        let system = MonitorError::system;
        let log = (start.log.driver != LogDriver::None).then(|| Writer::new(bundle.as_fd(), &start.log));
        let log =
            log.transpose().map_err(system("open the bundle once more"))?.map(|log| log.telling(journal_of(start)));
        let Compiled { mut plan, facts, recipe, beginning } = compile(filter, inherited, start)?;
        plan.connected = start.network.is_some();
        let mapping = match &start.mapping {
            Mapping::Direct { deny_setgroups } => launch::Mapping::Direct { deny_setgroups: *deny_setgroups },
            Mapping::Helpers { newuidmap, newgidmap } => {
                launch::Mapping::Helpers(Helpers { newuidmap: newuidmap.clone(), newgidmap: newgidmap.clone() })
            }
        };
        let server = recipe.map(|recipe| Server::start(&recipe)).transpose()?;
        let emulator = plan.pretends().then(Emulator::start).transpose()?;
        failpoint::reach!("monitor.compiled");
        // What cannot be followed is as it was when the container was made.
        let follows = start.network.as_ref().is_some_and(|network| network.follows_names);
        let names = follows.then(|| Names::follow(bundle.as_fd()).ok()).flatten();
        let networks = start.membership.as_ref().map(|membership| membership::join(membership, None)).transpose()?;
        let mut network = None;
        let begin = |stdio: Stdio<'_>| -> Result<Running, MonitorError> {
            let mut child = match (&start.membership, &networks) {
                (Some(membership), Some(joined)) => {
                    membership::born(&plan, &mapping, (membership, joined), (stdio, cgroup))?
                }
                _ => match &start.network_of {
                    Some(other) => membership::born_beside(&plan, other, (stdio, cgroup))?,
                    None => parent::start(&plan, &mapping, stdio, cgroup)?,
                },
            };
            network = connect(start, &mut child)?;
            held(child.pid(), network.as_ref().and_then(Network::pid))?;
            failpoint::reach!("monitor.recorded");
            if let Some(network) = network.as_mut().filter(|network| network.is_awaited()) {
                let given = network.wants_interface().then(|| child.await_interface(&plan)).transpose()?;
                network.take(given);
                network.await_ready()?;
            }
            let mut running = run(child, &plan, server.as_ref())?;
            if let Some(network) = &mut network {
                network.take(running.interface.take());
            }
            if let Some(emulator) = &emulator {
                let handed = emulator.line().hand(&beginning, &mut running);
                handed.map_err(system("talk to who answers the container's calls"))?;
            }
            Ok(running)
        };
        if plan.terminal {
            let running = begin(None)?;
            return with_terminal((running, (server, emulator, network, names, networks), facts), start, log);
        }
        let pipes = Pipes::new(start.interactive).map_err(system("make pipes"))?;
        let [input, output, error] = &pipes.program;
        let stdio = Some([input.as_fd(), output.as_fd(), error.as_fd()]);
        let running = begin(stdio)?;
        let (feed, output, error) = pipes.ours();
        // What the caller of `run` has to say ends with it; a detached container can be typed to later.
        let input = Input::new(feed, start.attached);
        Ok(Self {
            running,
            server,
            emulator,
            network,
            names,
            networks,
            facts,
            input,
            output: Pump::new(output, Some(error), log, start.attached),
        })
    }
}

/// What may be there beside the first process.
type Beside = (Option<Server>, Option<Emulator>, Option<Network>, Option<Names>, Option<Joined>);

/// Begins to connect the network of a process that is held, if it has one.
fn connect(start: &Start, child: &mut Held) -> Result<Option<Network>, MonitorError> {
    let Some((wish, (network, user))) = start.network.as_ref().zip(child.take_network()) else { return Ok(None) };
    let user = user.map(|user| rustix::io::fcntl_dupfd_cloexec(user, 3)).transpose();
    let user = user.map_err(MonitorError::system("hold a namespace"))?;
    Network::new(wish, network, user).map(Some)
}

/// Goes on with the first process, and hands the device of its root file system to the server.
fn run(child: Held, plan: &Plan, server: Option<&Server>) -> Result<Running, LaunchError> {
    let mut serve = |device: BorrowedFd<'_>, user: Option<BorrowedFd<'_>>| {
        server.map_or(Err(Errno::NOTCONN), |server| server.take(device, user))
    };
    child.run(plan, &mut serve).map_err(|error| match server {
        Some(server) => server.blame(error),
        None => error,
    })
}

/// The journal, if it is to be told. Without a socket there is still the file.
fn journal_of(start: &Start) -> Option<Journal> {
    let of = &start.subject;
    let subject = Subject { id: &of.id, name: &of.name, image: &of.image, tag: start.log.tag.as_deref() };
    if start.log.driver != LogDriver::Journald {
        return None;
    }
    // Who may not read the journal again is to see the log all the same.
    let is_kept = !journal::is_readable();
    let more = start.log_fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Journal::new(subject, more, is_kept).ok()
}

fn with_terminal(
    (running, (server, emulator, network, names, networks), facts): (Running, Beside, JoinFacts),
    start: &Start,
    log: Option<Writer>,
) -> Result<Incarnation, MonitorError> {
    let system = MonitorError::system;
    let control = running.terminal.as_ref().ok_or(LaunchError::Died(125))?;
    let quiet = || -> Result<OwnedFd, Errno> {
        rustix::fs::fcntl_setfl(control, rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::RDWR)?;
        rustix::io::fcntl_dupfd_cloexec(control, 3)
    };
    let output = quiet().map_err(system("take the terminal"))?;
    let feed = start.interactive.then(quiet).transpose().map_err(system("take the terminal"))?;
    let (input, output) = (Input::new(feed, false), Pump::new(output, None, log, false));
    Ok(Incarnation { running, server, emulator, network, names, networks, facts, input, output })
}

/// What comes of a document.
struct Compiled {
    plan: Plan,
    /// What those need who join.
    facts: JoinFacts,
    /// The root file system, if it has to be served.
    recipe: Option<String>,
    /// Who the first process begins as, to who answers its calls.
    beginning: Beginning,
}

fn compile(filter: Option<&OwnedFd>, inherited: &[OwnedFd], start: &Start) -> Result<Compiled, MonitorError> {
    let text = std::fs::read("config.json").map_err(MonitorError::Bundle)?;
    let mut spec: Document = serde_json::from_slice(&text).map_err(MonitorError::Document)?;
    let filter = filter.map(|filter| whole(filter.as_fd(), LARGEST)).transpose().map_err(MonitorError::Bundle)?;
    let interface = network::interface(start.network.as_ref());
    let above = i32::try_from(inherited.len()).unwrap_or(i32::MAX).saturating_add(3);
    let copies = inherited.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, above)).collect::<Result<_, _>>();
    let inherited = copies.map_err(MonitorError::system("copy what the program inherits"))?;
    let is_below_reaper = spec.annotations.contains_key(INIT_ANNOTATION);
    if let Some(process) = &mut spec.process {
        tell_of_sockets(&mut process.env, &start.descriptors, if is_below_reaper { 2 } else { 1 });
    }
    let files = private::give(&start.private, spec.process.as_mut())?;
    let keyring = Some(start.keyring.clone());
    let extras = Extras { filter: filter.unwrap_or_default(), keyring, interface, inherited, files };
    let plan = Plan::compile(&spec, extras).map_err(LaunchError::from)?;
    let facts = JoinFacts::of(&spec).map_err(LaunchError::from)?;
    let recipe = spec.annotations.remove(ROOTFS_ANNOTATION).filter(|_| plan.is_served());
    let beginning = spec.process.as_ref().map(emulator::beginning).unwrap_or_default();
    Ok(Compiled { plan, facts, recipe, beginning })
}

/// The variables by which a program finds sockets that systemd has opened for it (sd_listen_fds(3)).
fn tell_of_sockets(env: &mut Vec<String>, descriptors: &Descriptors, pid: u32) {
    if descriptors.listening == 0 {
        return;
    }
    env.retain(|variable| {
        !["LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="].iter().any(|name| variable.starts_with(name))
    });
    env.push(format!("LISTEN_FDS={}", descriptors.listening));
    env.push(format!("LISTEN_PID={pid}"));
    env.extend(descriptors.names.iter().map(|names| format!("LISTEN_FDNAMES={names}")));
}

/// More than any filter, or any process with its arguments, has.
pub const LARGEST: u64 = 16 << 20;

/// All of a file that stays open, from its beginning.
///
/// # Errors
/// EFBIG if it has more than `limit` bytes, else those of reading.
pub fn whole(file: BorrowedFd<'_>, limit: u64) -> std::io::Result<Vec<u8>> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(u64::MAX);
    if size > limit {
        return Err(Errno::FBIG.into());
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Removes the mark that overlayfs leaves when it is mounted with `volatile`, which
/// would keep it from being mounted again (Documentation/filesystems/overlayfs.rst):
/// this boot has seen all that was written.
pub fn make_mountable(bundle: &OwnedFd) {
    use rustix::fs::{AtFlags, Mode};
    // The kernel makes them without any rights; where they are ours we may give ourselves some.
    for directory in ["work/work", "work/work/incompat", "work/work/incompat/volatile"] {
        let _ = rustix::fs::chmodat(bundle, directory, Mode::RWXU, AtFlags::empty());
    }
    let _ = rustix::fs::unlinkat(bundle, "work/work/incompat/volatile/dirty", AtFlags::empty());
    let _ = rustix::fs::unlinkat(bundle, "work/work/incompat/volatile", AtFlags::REMOVEDIR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_of_in_the_programs_words() {
        let mut env = vec!["A=1".to_owned(), "LISTEN_PID=9".to_owned()];
        tell_of_sockets(&mut env, &Descriptors { more: 3, ..Descriptors::default() }, 1);
        assert_eq!(env, ["A=1", "LISTEN_PID=9"]);
        let descriptors = Descriptors { listening: 2, names: Some("web:tls".to_owned()), more: 1 };
        tell_of_sockets(&mut env, &descriptors, 2);
        assert_eq!(env, ["A=1", "LISTEN_FDS=2", "LISTEN_PID=2", "LISTEN_FDNAMES=web:tls"]);
    }
}
