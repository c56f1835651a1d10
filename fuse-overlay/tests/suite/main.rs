//! One behaviour, several file systems: plain ext4, the kernel's overlay, the hybrid of
//! the two (kernel overlay above our read-only tree), and our FUSE overlay. The tables in
//! `cases/` say what each step answers; where a file system may answer something else, the
//! table says so and `differences.rs` says why. Nothing here is taken from other suites.
//!
//! `PYBOX_SUITE_LONG=N` makes the random tests N times as long; `PYBOX_SUITE_SEED` repeats one;
//! `PYBOX_SUITE_CASE=TEXT` runs only cases whose name holds the text; `PYBOX_TEST_KEEP=1` keeps
//! what a failed test has made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests say what they expect; allow-*-in-tests knows only functions marked #[test]"
)]

mod death;
mod differences;
mod families;
mod inside;
mod layer_count;
mod layers;
mod matrix;
mod random;
mod script;
mod step;
mod stress;
mod systems;
mod trial;

use pybox_fuse_overlay_fuzz::text;
