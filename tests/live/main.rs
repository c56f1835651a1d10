//! Ring (c): the program as a user runs it, in real namespaces, against a real
//! registry. What a machine lacks for a test is said aloud and skips it; with
//! `CI=true` nothing may be skipped. CONTRIBUTING.md has the three rings.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "all of this is test code")]

mod fixture;
mod guest;
mod harness;
mod health;
mod person;

mod admin;
mod bad_input;
mod build;
mod build_cache;
mod build_copy;
mod build_habits;
mod build_layers;
mod build_mounts;
mod build_python;
mod build_races;
mod build_signals;
mod build_ssh;
mod build_stages;
mod check;
mod containers;
mod exec;
mod exec_rights;
mod exec_storms;
mod exec_streams;
mod files;
mod hostile_images;
mod identity;
mod images;
mod interrupted;
mod isolation;
mod judges;
mod lifecycle;
mod login;
mod logs;
mod manifest;
mod mounts;
mod network;
mod networks;
mod odd_places;
mod one_id;
mod oracle;
mod pasta;
mod pull;
mod push;
mod races;
mod run_command;
mod storage;
mod storms;
mod terminal;
mod units;
mod volumes;
