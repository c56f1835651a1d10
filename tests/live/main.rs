//! Ring (c): the program as a user runs it, in real namespaces, against a real
//! registry. What a machine lacks for a test is said aloud and skips it; with
//! `CI=true` nothing may be skipped. docs: CONTRIBUTING.md, "Three rings".
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "all of this is test code")]

mod fixture;
mod harness;

mod pull;
