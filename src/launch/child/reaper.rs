//! The first process of `--init`: passes signals on, reaps orphans, ends when
//! the program ends. It is this very process image, which nobody inside can
//! read or trace: it never executed anything inside. That also keeps us out, once we
//! have let go of it: who joins the container joins the program.

use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use crate::launch::wire::Report;
use crate::sys::clone::{Fresh, Side};
use crate::sys::message;

/// Stays behind as the reaper, and tells on `wire` who the program is; the new
/// process goes on with the walk.
pub(super) fn fork(fresh: &Fresh, has_terminal: bool, wire: BorrowedFd<'_>) -> Result<(), Errno> {
    // Blocked on both sides: nothing is lost before we wait for it.
    let all = SigSet::all();
    all.thread_block().map_err(|_| Errno::INVAL)?;
    match fresh.fork()? {
        Side::Child => {
            // A process group of its own, so that a key like Ctrl-C reaches the program once,
            // and not again through us.
            rustix::process::setpgid(None, None)?;
            if has_terminal {
                rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())?;
            }
            Ok(())
        }
        Side::Parent(program) => {
            let _ = message::send(wire, &Report::Program.encode(), &[program.pidfd.as_fd()]);
            crate::sys::confine::close_from(0);
            let pid = Pid::from_raw(program.pid.cast_signed()).ok_or(Errno::SRCH)?;
            fresh.end(serve(pid, &all))
        }
    }
}

/// Until the program has ended: its exit code, or 128 + the signal that ended it.
fn serve(program: Pid, signals: &SigSet) -> u8 {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(program) {
                    return code;
                }
            }
            Ok(signal) => {
                if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
                    let _ = rustix::process::kill_process(program, signal);
                }
            }
            // A real-time signal, which nix does not name: nothing to pass on.
            Err(_) => {}
        }
    }
}

/// Reaps all that has ended; the code of the program if it was among them.
fn reap(program: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == program {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            code = status.exit_status().or(signal).map(|code| code as u8);
        }
    }
    code
}
