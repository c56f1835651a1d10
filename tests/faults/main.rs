//! Faults as tests: the program is killed, starved, lied to and robbed at named moments, and afterwards all is
//! as the rules of docs/SECURITY.md ("Faults") want it. Tests of the shipped program with nothing but bad luck, and,
//! where the moment counts, of one with failpoints (CONTRIBUTING.md).
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "all of this is test code")]

#[allow(dead_code, unused_imports, reason = "shared with the live tests, which use all of it")]
#[path = "../live/fixture/mod.rs"]
mod fixture;
#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
#[path = "../live/guest.rs"]
mod guest;
#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
#[path = "../live/harness.rs"]
mod harness;

#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
#[path = "../live/person.rs"]
mod person;

mod aftermath;
mod small_disk;

mod builds;
mod clocks;
mod corruption;
mod crowds;
mod floods;
mod full_disk;
mod histories;
mod holds;
mod interruptions;
mod killed_commands;
mod killed_monitors;
mod killed_verbs;
mod recycled_pids;
mod repetition;
mod surroundings;
mod vanishing;
