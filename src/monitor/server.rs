//! The process that serves a container's file system, where one does: made with
//! the container's first process, and gone with it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::error::MonitorError;
use crate::launch::LaunchError;
use crate::snapshot::fuse_overlay::{DEVICE, PERSONA};
use crate::sys::clone::Child;
use crate::sys::{exec, message};

/// The server of a file system. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    socket: OwnedFd,
}

/// Starts our own program as `persona`, with one end of a socket; the other one comes back.
///
/// # Errors
/// With what kept it from starting.
pub fn beside(persona: &str) -> Result<(Child, OwnedFd), MonitorError> {
    let system = MonitorError::system;
    let (socket, theirs) = message::pair().map_err(system("make a socket"))?;
    exec::keep_open(theirs.as_fd()).map_err(system("make a socket"))?;
    let process = Command::new("/proc/self/exe")
        .arg0("pybox")
        .args([persona, &theirs.as_raw_fd().to_string()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| MonitorError::System("start what serves the container", error))?;
    let process = Child::of(&process).map_err(system("hold what serves the container"))?;
    Ok((process, socket))
}

/// The longest sentence that it says.
const SENTENCE: usize = 4096;

impl Server {
    /// Starts one, which opens what `recipe` names.
    ///
    /// # Errors
    /// With what kept it from starting.
    pub fn start(recipe: &str) -> Result<Self, MonitorError> {
        let system = MonitorError::system;
        let (process, socket) = beside(PERSONA)?;
        let server = Self { process, socket };
        message::send(server.socket.as_fd(), recipe.as_bytes(), &[])
            .map_err(system("talk to the file system's server"))?;
        Ok(server)
    }

    /// Hands it the device, and the user namespace to serve it in if that is a new one.
    ///
    /// # Errors
    /// EPIPE if it has ended.
    pub fn take(&self, device: BorrowedFd<'_>, user: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let fds: Vec<_> = [device].into_iter().chain(user).collect();
        message::send(self.socket.as_fd(), &[DEVICE], &fds)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Why the container could not be launched, if the reason is here.
    pub fn blame(&self, error: LaunchError) -> LaunchError {
        match last_words(&self.socket) {
            Some(sentence) => LaunchError::Served(sentence),
            None => error,
        }
    }
}

/// What it said before it ended, if it did; it may not have heard us by then.
fn last_words(socket: &OwnedFd) -> Option<String> {
    let mut text = [0; SENTENCE];
    let (length, _) = message::retry(|| rustix::net::recv(socket, &mut text, RecvFlags::DONTWAIT)).ok()?;
    let text = text.get(..length).filter(|text| !text.is_empty())?;
    Some(String::from_utf8_lossy(text).into_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        // Whoever reaps all children may have had it.
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_sentence_arrives_though_it_has_not_heard_ours() {
        let (ours, theirs) = message::pair().expect("a pair");
        assert_eq!(last_words(&ours), None);
        message::send(ours.as_fd(), &[DEVICE], &[]).expect("send");
        message::send(theirs.as_fd(), b"no index there", &[]).expect("send");
        drop(theirs);
        assert_eq!(last_words(&ours).as_deref(), Some("no index there"));
        assert_eq!(last_words(&ours), None);
    }
}
