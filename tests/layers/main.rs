//! Layers from archive to tree, through the worker that the program is.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]
#![allow(clippy::needless_pass_by_value, reason = "tables of cases read better so")]

#[path = "../support/evil_tar.rs"]
mod evil_tar;

mod accepted;
mod bench;
mod differential;
mod import;
mod refused;
mod whiteouts;
mod worker;
