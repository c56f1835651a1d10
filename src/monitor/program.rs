//! The program that monitors are started from: a sealed copy in memory.
//!
//! What enters a container must not be a file that its root, who is the owner
//! outside, could overwrite through `/proc/PID/exe`; see [`crate::sys::seal`].
//! Copying costs time on the way of every start (about 0.3 ms a megabyte), so
//! the release build embeds `pybox-monitor`, which has nothing in it but the
//! monitor and the launcher. A plain `cargo build` copies the whole of pybox.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::sys::seal;

/// `pybox-monitor`, or nothing where the build was given none (see `build.rs`).
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pybox-monitor"));

/// A sealed copy of the monitor's program.
///
/// # Errors
/// Those of memfd_create(2), of reading our own program, and of writing the copy.
pub fn sealed() -> Result<OwnedFd, Errno> {
    if EMBEDDED.is_empty() { seal::own_program() } else { seal::program(EMBEDDED) }
}
