//! The name servers of a container with a network of its own: those of the host, also when these change.
//!
//! The file is the bundle's and bound into the container, so it is written in place. What the container has changed
//! itself stays as it is until the next start, as docker has it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::timers;
use crate::network::pasta;

const HOST: &str = "/etc/resolv.conf";
/// The file's name in the bundle.
const OURS: &str = "resolv.conf";
/// Programs that manage it replace it, or write to it; where it is a link, what that leads to names the host's loopback.
const DIRECTORY: &str = "/etc";
/// More than such a file has.
const LONGEST: u64 = 64 << 10;
/// From this age on, in milliseconds, a container is told of changes. To give up a watch takes the kernel 10 ms and more,
/// for which one that is soon over would wait.
const AGE: u64 = 250;

/// A file that follows the host's.
#[derive(Debug)]
pub struct Names {
    /// None in the first moments.
    changes: Option<OwnedFd>,
    due: Option<Instant>,
    written: String,
}

/// What pasta is to be told of the host's name servers as they are now.
pub fn forwarding() -> Option<[String; 2]> {
    let host = rustix::fs::open(HOST, READ, Mode::empty()).and_then(read);
    host.ok().and_then(|host| pasta::forwarding(&host))
}

impl Names {
    /// Writes the name servers that the host has now into the bundle; [`Names::clock`] says when to look for changes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn follow(bundle: BorrowedFd<'_>) -> Result<Self, Errno> {
        let written = pasta::name_servers(&read(rustix::fs::open(HOST, READ, Mode::empty())?)?);
        write(bundle, &written)?;
        Ok(Self { changes: None, due: timers::after(AGE), written })
    }

    /// When [`Names::watch`] is due.
    pub fn clock(&self) -> Option<Instant> {
        self.due
    }

    /// Looks out for changes from now on, and makes good what was missed.
    ///
    /// # Errors
    /// If the directory cannot be watched; and as [`Names::turn`].
    pub fn watch(&mut self, bundle: BorrowedFd<'_>) -> Result<(), Errno> {
        self.due = None;
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&changes, DIRECTORY, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
        self.changes = Some(changes);
        self.adopt(bundle)
    }

    /// Readable when something in the directory has changed; none as long as nobody looks.
    pub fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(|changes| changes.as_fd())
    }

    /// Something has changed; perhaps that file.
    ///
    /// # Errors
    /// If the host's file cannot be read, or ours not be written; then ours is as it was.
    pub fn turn(&mut self, bundle: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(changes) = &self.changes else { return Ok(()) };
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = Reader::new(changes, &mut buffer);
        let mut ours = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    ours |= lost || event.file_name().is_some_and(|name| name.to_bytes() == b"resolv.conf");
                }
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        if ours { self.adopt(bundle) } else { Ok(()) }
    }

    /// Writes what the host's file says, unless ours is no longer as we wrote it.
    fn adopt(&mut self, bundle: BorrowedFd<'_>) -> Result<(), Errno> {
        let new = pasta::name_servers(&read(rustix::fs::open(HOST, READ, Mode::empty())?)?);
        let present = read(rustix::fs::openat(bundle, OURS, READ | OFlags::NOFOLLOW, Mode::empty())?)?;
        // A file that is being written is empty for a moment.
        if new.is_empty() || new == self.written || present != self.written {
            return Ok(());
        }
        write(bundle, &new)?;
        self.written = new;
        Ok(())
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn read(file: OwnedFd) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    let read = File::from(file).take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(bundle: BorrowedFd<'_>, text: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(bundle, OURS, flags, Mode::empty())?;
    File::from(file).write_all(text.as_bytes()).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
