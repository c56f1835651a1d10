//! What containers have written, kept byte for byte.
//!
//! The monitor appends with a [`writer::Writer`], everybody else reads with a
//! [`reader::Reader`]; the files need no lock between them. [`format`](mod@format) has the bytes.
//! [`journal`] has the way to systemd's journal and back, where that is wanted.

pub mod format;
pub mod journal;
pub mod reader;
pub mod writer;

/// Name of the current file in the bundle; older ones are `log.1`, `log.2`, and so on.
pub const CURRENT: &str = "log";

/// Name of the file that was rotated away so many times.
fn rotated(number: u32) -> String {
    format!("{CURRENT}.{number}")
}
