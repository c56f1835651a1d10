//! The command line as its user meets it: standard output, standard error and
//! exit code of every verb that needs no container. Ring (b) of the tests.
#![allow(clippy::expect_used, reason = "a test that cannot set itself up fails")]

mod completion;
mod environment;
mod harness;
mod help;
mod info;
mod lists;
mod mistakes;
mod quadlet;
mod run_flags;
mod streams;
