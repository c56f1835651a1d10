//! Programs that connect a network namespace: they get it as standard input, run in its user namespace, and print
//! something when they are ready.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use crate::sys::clone::Child;
use crate::sys::exec;

/// One that has been started.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Child,
    /// Where it says that it is ready.
    pub ready: ChildStdout,
    /// Where it says why it is not.
    pub said: ChildStderr,
}

/// Starts `program` for the network namespace, in the user namespace where there is one. It is killed when we end,
/// unless it changes its own rights.
///
/// # Errors
/// Those of starting a process.
pub fn start(
    program: &Path,
    arguments: &[String],
    network: BorrowedFd<'_>,
    user: Option<BorrowedFd<'_>>,
) -> std::io::Result<Started> {
    let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(copy(network)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    exec::enter_before(&mut command, user.map(copy).transpose()?);
    let mut child = command.spawn()?;
    let process = Child::of(&child)?;
    let (Some(ready), Some(said)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    Ok(Started { process, ready, said })
}
