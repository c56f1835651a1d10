//! The side of those who need a network.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::PERSONA;
use super::wire::{self, Answer, Ask};
use crate::network::segment::{Keeper, Plug};
use crate::sys::message;
use crate::sys::wait::readable_within;

/// Name of the socket.
pub(super) const SOCKET: &str = "keeper";
/// Name of the lock under which it is made and removed.
pub(super) const LOCK: &str = "keeper.lock";
/// How long a keeper may be about to go when one comes; and how long one may take to answer, in which a process
/// inside that says nothing is replaced.
const PATIENCE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(15);

/// A membership. It ends when this is dropped.
#[derive(Debug)]
pub struct Joined {
    socket: OwnedFd,
    /// The user namespace that containers on the networks are born below; none for root's.
    pub user: Option<OwnedFd>,
    /// The network namespace with the bridges.
    pub network: OwnedFd,
}

impl AsFd for Joined {
    /// Readable when the keeper has gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Joins these networks; makes them, and their keeper, if they are not there. A new keeper takes over the namespaces of
/// the membership `before`, if nobody else has them.
///
/// # Errors
/// With the sentence that says what failed.
pub fn join(keeper: &Keeper, plugs: &[Plug], before: Option<&Joined>) -> Result<Joined, String> {
    let place = open(&keeper.place)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let socket = match message::connect(place.as_fd(), SOCKET) {
            Ok(socket) => socket,
            Err(_) => start(keeper, place.as_fd(), before)?,
        };
        match ask(socket.as_fd(), &Ask::Join(plugs.to_vec())) {
            Ok(Some((network, user))) => return Ok(Joined { socket, user, network }),
            Err(sentence) => return Err(sentence),
            // It was about to go.
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return Err("the process that keeps the networks does not stay".to_owned()),
        }
    }
}

/// Both namespaces; none if the keeper goes instead of answering.
fn ask(socket: BorrowedFd<'_>, question: &Ask) -> Result<Option<(OwnedFd, Option<OwnedFd>)>, String> {
    if wire::send(socket, question, &[]).is_err() {
        return Ok(None);
    }
    // One that is stopped, or stuck, is ended: another one finds all that it has made.
    if !readable_within(socket, SILENCE) {
        if let Ok(peer) = rustix::net::sockopt::socket_peercred(socket) {
            let _ = rustix::process::kill_process(peer.pid, rustix::process::Signal::KILL);
        }
        return Ok(None);
    }
    match wire::receive::<Answer>(socket) {
        Ok(Some((Answer::Joined, fds))) => {
            let mut fds = fds.into_iter();
            Ok(fds.next().map(|network| (network, fds.next())))
        }
        Ok(Some((Answer::Failed(sentence), _))) => Err(sentence),
        Ok(None) => Ok(None),
        Err(error) => Err(format!("ask the process that keeps the networks: {error}")),
    }
}

fn open(place: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty()).map_err(|error| format!("open {}: {error}", place.display()))
}

/// Takes the lock under which a keeper comes and goes.
pub(super) fn lock(place: BorrowedFd<'_>) -> Result<File, Errno> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::openat(place, LOCK, flags, Mode::RUSR | Mode::WUSR)?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(3));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(Errno::TIMEDOUT),
            other => return other.map(|()| file),
        }
    }
}

/// Starts a keeper, unless somebody else has done so, and connects to it.
fn start(keeper: &Keeper, place: BorrowedFd<'_>, before: Option<&Joined>) -> Result<OwnedFd, String> {
    let failed = |what: &str, error: Errno| format!("{what} the process that keeps the networks: {error}");
    let _lock = lock(place).map_err(|error| failed("lock", error))?;
    if let Ok(socket) = message::connect(place, SOCKET) {
        return Ok(socket);
    }
    let (ours, theirs) = message::pair().map_err(|error| failed("reach", error))?;
    let mut command = Command::new(&keeper.program);
    command.arg(PERSONA).env_clear().current_dir("/");
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    crate::sys::failpoint::hand_on(&mut command);
    let mut child = command.spawn().map_err(|error| format!("start {}: {error}", keeper.program.display()))?;
    drop(command);
    let given = before.into_iter().flat_map(|joined| [&joined.network].into_iter().chain(&joined.user));
    let fds: Vec<_> = [place].into_iter().chain(given.map(AsFd::as_fd)).collect();
    wire::send(ours.as_fd(), keeper, &fds).map_err(|error| failed("instruct", error))?;
    let answer =
        if readable_within(&ours, PATIENCE) { wire::receive::<Answer>(ours.as_fd()) } else { Err(Errno::TIMEDOUT) };
    // It has made another process of itself, which stays. Whoever reaps all children may have had it.
    let _ = child.wait();
    match answer {
        Ok(Some((Answer::Joined, _))) => message::connect(place, SOCKET).map_err(|error| failed("reach", error)),
        Ok(Some((Answer::Failed(sentence), _))) => Err(sentence),
        Ok(None) => Err("the process that keeps the networks ended at once".to_owned()),
        Err(error) => Err(failed("hear", error)),
    }
}
