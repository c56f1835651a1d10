//! The core without a mount: calls of the trait on real directories, as whoever runs the tests.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod failing;
mod layers;
mod random;
mod recorded;
mod replay;
mod writing;

use pybox_fuse_overlay_fuzz::bench;
