//! The program that monitors are started from: a sealed copy in memory.
//!
//! What enters a container must not be a file that its root, who is the owner
//! outside, could overwrite through `/proc/PID/exe`; see [`crate::sys::seal`].
//! Copying costs time in every start (about 0.6 ms a megabyte), so the new process
//! does it beside us, and the release build embeds `pybox-monitor`, which has nothing
//! in it but the monitor and the launcher. A plain `cargo build` copies the whole of pybox.

use crate::sys::seal::Program;

/// `pybox-monitor`, or nothing where the build was given none (see `build.rs`).
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pybox-monitor"));

/// The monitor's program.
pub(super) fn program() -> Program {
    if EMBEDDED.is_empty() { Program::Own } else { Program::Image(EMBEDDED) }
}
