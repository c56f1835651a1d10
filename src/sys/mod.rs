//! The kernel's side of the house: every `unsafe` block, and every system call
//! that has a trap in it.
//!
//! This room speaks of file descriptors, ids and flags; it knows no word of
//! ours. All above it works with `OwnedFd`, `Path` and enums.
#![allow(unsafe_code, reason = "the one room where unsafe code may stand; each block says why it is sound")]

pub mod call_filter;
pub mod clock;
pub mod clone;
pub mod confine;
pub mod exec;
pub mod failpoint;
pub mod identity;
pub mod idmap;
pub mod message;
pub mod mount;
pub mod notify;
pub mod path;
pub mod seal;
pub mod seccomp;
pub mod spawn;
pub mod startup;
pub mod stat;
pub mod tap;
pub mod wait;
pub mod worker_limits;
