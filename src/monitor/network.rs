//! The process that connects a container's network namespace, where one does: started while the container's first
//! process sets itself up, and started again if it dies.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::error::MonitorError;
use super::protocol::NetworkProgram;
use crate::sys::clone::Child;
use crate::sys::exec;

/// How long it may take to say that it is ready, in seconds.
const PATIENCE: i64 = 10;
/// One that lived shorter than this is not started again at once.
const LIVES: Duration = Duration::from_secs(2);
/// As many short lives in a row are enough.
const MOST_LIVES: u32 = 5;
/// The longest sentence that it says.
const SENTENCE: u64 = 4096;

/// A connection. Dropped, its process is killed and reaped.
#[derive(Debug)]
pub struct Network {
    wish: NetworkProgram,
    /// The namespaces it needs, for the next time.
    network: OwnedFd,
    user: Option<OwnedFd>,
    process: Child,
    ready: Option<ChildStdout>,
    said: Option<ChildStderr>,
    began: Instant,
    short_lives: u32,
}

impl Network {
    /// Starts the process for these namespaces, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(wish: &NetworkProgram, network: OwnedFd, user: Option<OwnedFd>) -> Result<Self, MonitorError> {
        let (process, ready, said) = spawn(wish, &network, user.as_ref())?;
        let (wish, began) = (wish.clone(), Instant::now());
        Ok(Self { wish, network, user, process, ready, said, began, short_lives: 0 })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Waits until the network is there.
    ///
    /// # Errors
    /// With what the process said when it gave up.
    pub fn await_ready(&mut self) -> Result<(), MonitorError> {
        let Some(mut ready) = self.ready.take() else { return Ok(()) };
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let deadline = Instant::now() + Duration::from_secs(PATIENCE.unsigned_abs());
        loop {
            match rustix::event::poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&patience)) {
                Err(Errno::INTR) if Instant::now() < deadline => {}
                Ok(0) | Err(_) => return Err(MonitorError::Network("it does not get ready".to_owned())),
                Ok(_) => break,
            }
        }
        let mut word = [0; 32];
        match ready.read(&mut word) {
            // What it says from now on is of no use to anybody: it must not wait for a reader either.
            Ok(length) if length > 0 => {
                self.said = None;
                Ok(())
            }
            _ => Err(MonitorError::Network(self.last_words())),
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(said) = self.said.take() {
            let _ = said.take(SENTENCE).read_to_string(&mut text);
        }
        let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if said.is_empty() { "it ended without a word".to_owned() } else { said.join("; ") }
    }

    /// It has ended, and been reaped: starts it again in the same namespaces. False if it does not stay alive.
    pub fn again(&mut self) -> bool {
        self.short_lives = if self.began.elapsed() < LIVES { self.short_lives + 1 } else { 0 };
        if self.short_lives >= MOST_LIVES {
            return false;
        }
        let Ok((process, ready, _)) = spawn(&self.wish, &self.network, self.user.as_ref()) else { return false };
        // Kept open, so that it can say that it is ready; nobody waits for it.
        (self.process, self.ready, self.began) = (process, ready, Instant::now());
        true
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.process.kill();
        // Whoever reaps all children may have had it.
        let _ = self.process.wait();
    }
}

type Spawned = (Child, Option<ChildStdout>, Option<ChildStderr>);

fn spawn(wish: &NetworkProgram, network: &OwnedFd, user: Option<&OwnedFd>) -> Result<Spawned, MonitorError> {
    let system = MonitorError::system;
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 3).map_err(system("hold a namespace"));
    let mut command = Command::new(&wish.program);
    command.args(&wish.arguments).env_clear().current_dir("/");
    command.stdin(copy(network)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    exec::enter_before(&mut command, user.map(copy).transpose()?);
    let mut child = command.spawn().map_err(|error| MonitorError::System("start what connects the network", error))?;
    let (ready, said) = (child.stdout.take(), child.stderr.take());
    let process = Child::of(&child).map_err(system("hold what connects the network"))?;
    Ok((process, ready, said))
}
