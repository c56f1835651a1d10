//! The words pybox speaks: identifiers, references, requests and states.
//!
//! Everything here is plain data with its parser and its printer. Nothing in
//! this room reads a file, the environment, a clock or a process: facts about
//! the machine arrive as arguments.

pub mod compression;
pub mod container;
pub mod digest;
pub mod event;
pub mod flags;
pub mod host;
pub mod id;
pub mod ignore;
pub mod lifecycle;
pub mod limits;
pub mod network;
pub mod pattern;
pub mod permissions;
pub mod platform;
pub mod port;
pub mod reference;
pub mod storage;
pub mod subid;
pub mod supervision;
