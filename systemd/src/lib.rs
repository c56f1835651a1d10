//! What pybox asks of systemd, over D-Bus: a transient scope around a process, and other weights for one that is there.
//!
//! Messages come and go in the calling thread, on a runtime that runs only while something is waited for: who asks for a
//! scope does other things between [`Bus::start_scope`] and [`Job::wait`]. Nothing here waits without a limit of time. The
//! bus's library has a thread for a moment while it connects, so processes are made as they are beside threads.
//!
//! Knows nothing of containers, and never runs systemctl or busctl.

mod address;
mod bus;
mod error;
mod scope;

pub use address::addresses;
pub use bus::{Bus, Job};
pub use error::Error;
pub use scope::{Scope, Weights};
