//! A strict reader of tar archives as image layers come in.
//!
//! Formats: v7, ustar, GNU (long names, base-256 numbers, sparse files) and pax
//! (POSIX.1-2008; sparse 0.0, 0.1 and 1.0). Where GNU tar, bsdtar and Go's
//! reader would read different things out of the same bytes, the archive is
//! refused. Nothing here touches a file system; the `tar` crate lends the
//! layout of the header block and nothing else.

pub(crate) mod entry;
pub(crate) mod number;
pub(crate) mod pax;
pub(crate) mod reader;
pub(crate) mod sparse;
pub(crate) mod stream;
pub(crate) mod writer;

#[cfg(test)]
mod tests;
