//! The kernel's protocol, spoken by ourselves.
//!
//! It is a few structures and one read and write a request. The libraries at
//! hand cannot say all of it (nameless files, syncing of a whole file system,
//! whether a change of size takes set-user-id bits away), and what they do
//! beside it, allocating and formatting, costs more than many a request here.
//!
//! What the kernel is told, and why: names and attributes hold forever, since
//! nobody else changes the tree; OPEN and OPENDIR are "not implemented", so it
//! opens and closes by itself and keeps cached pages; it keeps no dirty pages
//! of `write(2)` (that costs a GETATTR a file); locks are its own.

mod answer;
mod dispatch;
mod greeting;
mod wire;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use self::answer::Answer;
use crate::filesystem::FileSystem;

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that answer requests.
    pub threads: usize,
    /// Bytes of the largest write and read. What the kernel offers bounds it.
    pub largest: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 2, largest: 1 << 20 }
    }
}

/// Room beside the contents of a write: headers.
const BESIDE: usize = 4096;
/// Stack of a thread: calls are not deep.
const STACK: usize = 256 << 10;

/// Answers the kernel until the mount is gone.
///
/// # Errors
/// What reading or writing the device says; EPROTO for a kernel that is too old.
#[allow(clippy::needless_pass_by_value, reason = "the end of this call is the end of the connection")]
pub fn serve(device: OwnedFd, filesystem: &impl FileSystem, options: &Options) -> io::Result<()> {
    let device = device.as_fd();
    let Some(agreed) = greeting::exchange(device, options.largest)? else { return Ok(()) };
    std::thread::scope(|scope| {
        for _ in 1..options.threads {
            let work = || answer_all(device, filesystem, &agreed);
            // Fewer threads are slower, no more.
            let _ = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
        answer_all(device, filesystem, &agreed)
    })?;
    Ok(())
}

/// Reads and answers requests until the mount is gone.
fn answer_all(device: BorrowedFd<'_>, filesystem: &impl FileSystem, agreed: &greeting::Agreed) -> Result<(), Errno> {
    let mut buffer = vec![0_u8; agreed.largest + BESIDE];
    let mut answer = Answer::new(agreed.largest);
    while let Some(length) = receive(device, &mut buffer)? {
        let request = buffer.get(..length).unwrap_or_default();
        match dispatch::answer(request, filesystem, agreed, (device, &mut answer)) {
            Ok(()) => {}
            Err(Errno::NODEV) => break,
            // An answer that the kernel does not take is ours to have got
            // wrong; who asked has been told so by it.
            Err(_) => {}
        }
    }
    Ok(())
}

/// The next request; `None` once the mount is gone.
fn receive(device: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
    loop {
        match rustix::io::read(device, &mut *buffer) {
            // A device has no end, but who stands in for it may hang up.
            Ok(0) => return Ok(None),
            Ok(length) => return Ok(Some(length)),
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
            // Given up before it was read; a signal; nothing there.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}
