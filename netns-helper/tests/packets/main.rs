//! The crate in real network namespaces: each test runs itself anew as the root
//! of a user namespace of its own, with an empty network, and builds its world.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot build its world fails")]
#![allow(clippy::print_stderr, reason = "a test says why it is left out")]

mod links;
mod names;
mod rules;
mod world;
