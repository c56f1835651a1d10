//! Fuzz targets of `pybox-fuse-overlay`, as functions of bytes ([`targets`]), and what its tests
//! share with them: a workbench, a model, and operations chosen by numbers.
//!
//! The programs in `fuzz_targets/` put libFuzzer before them; `tests/core/replay.rs` calls the same
//! functions with every input that is kept in `corpus/` and `findings/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this crate exists to fail: a panic is how a test or a fuzzer is told"
)]

pub mod bench;
pub mod choices;
pub mod forging;
pub mod operations;
pub mod rules;
pub mod sequence;
pub mod targets;
pub mod text;

mod laying;
mod model;
mod player;
