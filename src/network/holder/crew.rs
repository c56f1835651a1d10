//! The processes of a keeper: the one inside the namespaces, and the one that leads out.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::inside::of_host;
use super::wire::{self, Order, Said};
use super::{INSIDE, PERSONA};
use crate::network::pasta;
use crate::network::program::{self, Started};
use crate::network::segment::{Ids, Keeper};
use crate::sys::clone::Child;
use crate::sys::wait::readable_within;
use crate::sys::{identity, idmap, message};

/// How long a process may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where it stands who they are, for one who takes over.
const NOTE: &str = "keeper.json";
/// One that lived shorter than this is not started again at once.
const LIVES: Duration = Duration::from_secs(2);

/// Two processes, each by its pid and the time that it started at, and what they have made.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    inside: Option<(u32, u64)>,
    uplink: Option<(u32, u64)>,
    #[serde(default)]
    bridges: Vec<String>,
}

/// Writes down who is there. Without that, one who takes over makes new namespaces.
pub(super) fn note(place: BorrowedFd<'_>, inside: &Inside, uplink: Option<&Uplink>, bridges: Vec<String>) {
    let named = |child: &Child| identity::started_ticks(child.pid).ok().map(|ticks| (child.pid, ticks));
    let note =
        Note { inside: named(&inside.process), uplink: uplink.and_then(|uplink| named(&uplink.process)), bridges };
    let text = serde_json::to_vec(&note).unwrap_or_default();
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if let Ok(file) = rustix::fs::openat(place, NOTE, flags, Mode::RUSR | Mode::WUSR) {
        let _ = rustix::io::write(&file, &text);
    }
}

/// Who is left of a keeper that was killed.
fn left(place: BorrowedFd<'_>) -> Note {
    let file = rustix::fs::openat(place, NOTE, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    let mut text = Vec::new();
    if let Ok(file) = file {
        let _ = std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text);
    }
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Its pid and its pidfd, if exactly this process is there.
fn held(named: Option<(u32, u64)>) -> Option<(u32, OwnedFd)> {
    let (pid, ticks) = named?;
    identity::hold(pid, ticks).map(|pidfd| (pid, pidfd))
}

/// The process inside.
#[derive(Debug)]
pub(super) struct Inside {
    process: Child,
    socket: OwnedFd,
    network: OwnedFd,
    user: Option<OwnedFd>,
}

impl Inside {
    /// Starts it: in the namespaces that a keeper before us has left, in those that are given, or in new ones.
    ///
    /// # Errors
    /// With the sentence that says what failed.
    pub(super) fn start(
        keeper: &Keeper,
        place: BorrowedFd<'_>,
        given: Option<(OwnedFd, Option<OwnedFd>)>,
    ) -> Result<Self, String> {
        let left = left(place);
        let found = held(left.inside);
        let theirs = found.as_ref().and_then(|(pid, _)| namespaces_of(*pid, keeper.ids.is_some()).ok());
        let inside = match theirs.or(given) {
            Some((network, user)) => Self::enter(keeper, network, user),
            None => Self::make(keeper),
        }?;
        // Their part is ours now.
        for (_, pidfd) in found.into_iter().chain(held(left.uplink)) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            let _ = readable_within(&pidfd, PATIENCE);
        }
        inside.knows(keeper, left.bridges)?;
        note(place, &inside, None, Vec::new());
        Ok(inside)
    }

    fn make(keeper: &Keeper) -> Result<Self, String> {
        let (process, socket) = spawn(&keeper.program)?;
        let Some(ids) = &keeper.ids else {
            tell(socket.as_fd(), &Order::Stay, &[])?;
            said_done(socket.as_fd())?;
            let (network, user) = namespaces_of(process.pid, false)?;
            return Ok(Self { process, socket, network, user });
        };
        tell(socket.as_fd(), &Order::Make, &[])?;
        match answer(socket.as_fd())? {
            Said::Born => {}
            Said::Failed(sentence) => return Err(sentence),
            Said::Done => return Err("make the namespaces of the networks: it was not done".to_owned()),
        }
        let (network, user) = namespaces_of(process.pid, true)?;
        map(process.pid, ids)?;
        tell(socket.as_fd(), &Order::Mapped, &[])?;
        said_done(socket.as_fd())?;
        Ok(Self { process, socket, network, user })
    }

    fn enter(keeper: &Keeper, network: OwnedFd, user: Option<OwnedFd>) -> Result<Self, String> {
        let (process, socket) = spawn(&keeper.program)?;
        // The user namespace comes first: it gives the right to enter the other.
        let fds: Vec<_> = user.iter().chain([&network]).map(AsFd::as_fd).collect();
        tell(socket.as_fd(), &Order::Enter, &fds)?;
        said_done(socket.as_fd())?;
        Ok(Self { process, socket, network, user })
    }

    /// Another one in the same namespaces, this one having ended.
    ///
    /// # Errors
    /// With the sentence that says what failed.
    pub(super) fn again(&self, keeper: &Keeper) -> Result<Self, String> {
        let _ = self.process.wait();
        let copy = |fd: &OwnedFd| {
            rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|error| format!("hold the namespaces: {error}"))
        };
        let next = Self::enter(keeper, copy(&self.network)?, self.user.as_ref().map(copy).transpose()?)?;
        next.knows(keeper, Vec::new())?;
        Ok(next)
    }

    /// Tells it the name of its table, and what one before it has left.
    fn knows(&self, keeper: &Keeper, left: Vec<String>) -> Result<(), String> {
        self.order(&Order::Know { table: keeper.table.clone(), left }, &[])
    }

    /// Has it do something.
    ///
    /// # Errors
    /// With the sentence that says what failed.
    pub(super) fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), String> {
        tell(self.socket.as_fd(), order, fds)?;
        said_done(self.socket.as_fd())
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.process.kill();
    }

    /// Lets it end.
    pub(super) fn end(&self) {
        let _ = tell(self.socket.as_fd(), &Order::End, &[]);
        if !readable_within(&self.process.pidfd, PATIENCE) {
            self.process.kill();
        }
        let _ = self.process.wait();
    }

    /// Readable when it has ended.
    pub(super) fn process(&self) -> &OwnedFd {
        &self.process.pidfd
    }

    /// The network namespace.
    pub(super) fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// The user namespace, if it is another one than ours.
    pub(super) fn user(&self) -> Option<BorrowedFd<'_>> {
        self.user.as_ref().map(AsFd::as_fd)
    }
}

/// The network namespace of a process, and its user namespace if that is wanted.
fn namespaces_of(pid: u32, user: bool) -> Result<(OwnedFd, Option<OwnedFd>), String> {
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        let opened = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened.map_err(|error| format!("open {path}: {error}"))
    };
    Ok((open("net")?, user.then(|| open("user")).transpose()?))
}

fn map(pid: u32, ids: &Ids) -> Result<(), String> {
    let mapped = idmap::write(pid, &ids.uids, &ids.gids, ids.helpers.as_ref());
    mapped.map_err(|error| format!("map the ids of the networks: {error}"))
}

fn spawn(program: &Path) -> Result<(Child, OwnedFd), String> {
    let (ours, theirs) = message::pair().map_err(|error| format!("make a socket: {error}"))?;
    let mut command = Command::new(program);
    command.args([OsStr::new(PERSONA), OsStr::new(INSIDE)]).env_clear().current_dir("/");
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().map_err(|error| format!("start {}: {error}", program.display()))?;
    let process = Child::of(&started).map_err(|error| format!("hold the process inside: {error}"))?;
    Ok((process, ours))
}

fn tell(socket: BorrowedFd<'_>, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), String> {
    wire::send(socket, order, fds).map_err(|error| format!("speak to the process in the networks' namespaces: {error}"))
}

fn said_done(socket: BorrowedFd<'_>) -> Result<(), String> {
    match answer(socket)? {
        Said::Done => Ok(()),
        Said::Failed(sentence) => Err(sentence),
        Said::Born => Err("enter the namespaces of the networks: it was not done".to_owned()),
    }
}

fn answer(socket: BorrowedFd<'_>) -> Result<Said, String> {
    if !readable_within(socket, PATIENCE) {
        return Err("the process in the networks' namespaces does not answer".to_owned());
    }
    match wire::receive::<Said>(socket) {
        Ok(Some((said, _))) => Ok(said),
        Ok(None) => Err("the process in the networks' namespaces has ended".to_owned()),
        Err(error) => Err(format!("hear the process in the networks' namespaces: {error}")),
    }
}

/// What leads out: pasta, in the same namespaces.
#[derive(Debug)]
pub(super) struct Uplink {
    process: Child,
    since: Instant,
    /// Whether it leads to name servers of the host's loopback.
    forwards: bool,
}

impl Uplink {
    /// Starts it and waits until it leads out.
    ///
    /// # Errors
    /// With what it says.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        (network, user): (BorrowedFd<'_>, Option<BorrowedFd<'_>>),
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("start {}: {error}", program.display());
        let forwarding = pasta::forwarding(&of_host());
        let forwards = forwarding.is_some();
        let arguments: Vec<_> = arguments.iter().cloned().chain(forwarding.into_iter().flatten()).collect();
        let Started { process, mut ready, mut said, .. } =
            program::start(program, &arguments, network, user, false).map_err(failed)?;
        let uplink = Self { process, since: Instant::now(), forwards };
        let mut words = [0; 32];
        if readable_within(&ready, PATIENCE) && matches!(std::io::Read::read(&mut ready, &mut words), Ok(1..)) {
            return Ok(uplink);
        }
        uplink.process.kill();
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut said, &mut text);
        Err(format!("lead the networks out: {}", text.trim().replace('\n', "; ")))
    }

    /// Readable when it has ended.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Whether it does not lead to the host's name servers, as they are now.
    pub(super) fn leads_astray(&self) -> bool {
        !self.forwards && pasta::forwarding(&of_host()).is_some()
    }

    /// Whether it has not lived long; it has ended.
    pub(super) fn was_short(self) -> bool {
        self.since.elapsed() < LIVES
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.process.kill();
        let _ = self.process.wait();
    }
}
