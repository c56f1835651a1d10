//! A terminal made in the container's own devpts (rule R21): the host's is
//! never handed in, and no path is resolved on the way.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::Walk;
use super::place;
use crate::launch::step::Terminal;
use crate::launch::wire::Report;
use crate::sys::message;
use crate::sys::mount::{self, Reach};
use crate::sys::path::open_in_root;

/// linux/magic.h
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

impl Walk<'_> {
    pub(super) fn open_terminal(&mut self, wanted: &Terminal) -> Result<(), Errno> {
        let root = self.root()?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let control = open_in_root(root, c"dev/pts/ptmx", flags, Mode::empty())?;
        if rustix::fs::fstatfs(&control)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
            return Err(Errno::NODEV);
        }
        rustix::pty::unlockpt(&control)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = rustix::pty::ioctl_tiocgptpeer(&control, flags)?;
        if let Some((rows, columns)) = wanted.size {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&terminal, size)?;
        }
        rustix::fs::fchown(&terminal, Some(Uid::from_raw(wanted.uid)), None)?;
        if let Some(console) = &wanted.console {
            let console = place::file(root, console)?;
            let tree = mount::copy_tree(terminal.as_fd(), c"", Reach::One)?;
            mount::attach(tree.as_fd(), console.as_fd())?;
        }
        message::send(self.birth.wire, &Report::Terminal.encode(), &[control.as_fd()])?;
        self.terminal = Some(terminal);
        Ok(())
    }
}

/// Makes `terminal` our controlling terminal and our standard input, output and error.
pub(super) fn take(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(terminal)?;
    rustix::stdio::dup2_stdin(terminal)?;
    rustix::stdio::dup2_stdout(terminal)?;
    rustix::stdio::dup2_stderr(terminal)
}
