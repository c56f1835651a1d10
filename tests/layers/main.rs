//! Layers from archive to tree, through the worker that the program is.

#[path = "../support/evil_tar.rs"]
mod evil_tar;

mod accepted;
mod bench;
mod differential;
mod refused;
mod whiteouts;
mod worker;
