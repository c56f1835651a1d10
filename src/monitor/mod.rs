//! The one small process that each container has as its parent.
//!
//! It is the only process of ours that forks without executing, so it has one
//! thread and one `poll` loop from birth to end. It launches the container from
//! its bundle, copies its standard streams, passes signals on, reaps, and writes
//! down how it ended. It opens no database and knows no image: what it is told
//! comes as one message ([`protocol::Start`]), what it knows it says on the same
//! socket, and what has to outlive it is in the bundle (`run.json`, `exit.json`).
//!
//! As long as a monitor lives it holds a lock on the bundle directory, inherited
//! from whoever made it: a bundle that can be locked belongs to nobody alive.

pub mod client;
pub mod events;
pub mod protocol;
pub mod record;

pub mod attached;
mod connections;
mod emulator;
mod error;
mod exec;
mod finish;
mod frozen;
mod happenings;
mod health;
mod incarnation;
pub mod input;
mod life;
mod membership;
mod names;
pub mod network;
mod notify;
mod private;
mod program;
mod pump;
mod run;
mod server;
pub mod stream;
mod timers;
mod watching;
mod words;

pub use run::main;
