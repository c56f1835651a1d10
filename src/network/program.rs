//! Programs that connect a network namespace: they get it as standard input, run in its user namespace, and print
//! something when they are ready.
//!
//! pasta makes an interface of a descriptor. Where there is one already, made by ourselves and perhaps with packets that
//! wait at its other end, a filter has that call asked of us ([`Started::asks`]): pasta is given the other end instead
//! ([`hand_over`]), and does not notice. So nothing waits for its start, and the interface outlives it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::sys::clone::Child;
use crate::sys::notify::{self, Answer};
use crate::sys::{exec, message};

/// One that has been started.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Child,
    /// Where it says that it is ready.
    pub ready: ChildStdout,
    /// Where it says why it is not.
    pub said: ChildStderr,
    /// Where it asks for its interface, if it is to be given one.
    pub asks: Option<OwnedFd>,
}

/// Starts `program` for the network namespace, in the user namespace where there is one. It is killed when we end,
/// unless it changes its own rights. With `given` it asks for its interface.
///
/// # Errors
/// Those of starting a process, and of seccomp(2): EBUSY if we are asked about by somebody ourselves.
pub fn start(
    program: &Path,
    arguments: &[String],
    network: BorrowedFd<'_>,
    user: Option<BorrowedFd<'_>>,
    given: bool,
) -> std::io::Result<Started> {
    let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(copy(network)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    exec::enter_before(&mut command, user.map(copy).transpose()?);
    let mut ours = None;
    if given {
        let (end, theirs) = message::pair()?;
        exec::listen_before(&mut command, notify::attachments(), theirs);
        ours = Some(end);
    }
    let mut child = command.spawn()?;
    let process = Child::of(&child)?;
    let (Some(ready), Some(said)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    // It has been executed, so what it sent before is here.
    let received = ours.map(|ours| message::receive(ours.as_fd(), &mut [0])).transpose()?;
    let asks = received.and_then(|received| received.fds.into_iter().flatten().next());
    Ok(Started { process, ready, said, asks })
}

/// Gives who asks at `asks` the other end of an interface in the place of the descriptor that it would have made one of.
///
/// # Errors
/// If it has ended meanwhile.
pub fn hand_over(asks: BorrowedFd<'_>, interface: BorrowedFd<'_>) -> Result<(), Errno> {
    // Whose last process has gone is ready too, and would be waited for on old kernels.
    let mut waits = [PollFd::new(&asks, PollFlags::IN)];
    rustix::event::poll(&mut waits, Some(&Timespec::default()))?;
    if !waits.iter().any(|fd| fd.revents().contains(PollFlags::IN)) {
        return Err(Errno::PIPE);
    }
    let call = notify::receive(asks)?;
    let [number, ..] = call.arguments;
    let number = u32::try_from(number).map_err(|_| Errno::BADF)?;
    match notify::replace_file(asks, &call, number, interface) {
        // The name that it wished for stays in its structure: it asked for the one that the interface has.
        Ok(()) => notify::answer(asks, &call, Answer::Value(0)),
        Err(error) => notify::answer(asks, &call, Answer::Error(error)),
    }
}
