//! What a network namespace needs so that containers reach each other and the
//! outside by packets and by name.
//!
//! Everything here acts on the network namespace that the calling thread is
//! in, and speaks to the kernel by itself: no other program is run. The crate
//! does not choose addresses or names, keeps no state on disk, switches no
//! sysctl on (whether the kernel forwards is its caller's affair), prints
//! nothing and reads no environment.
//!
//! | module | is about |
//! |---|---|
//! | [`links`] | bridges, pairs of links, addresses and routes, over rtnetlink |
//! | [`names`] | a name server for each network, and what it forwards |
//! | [`rules`] | which packets go where, and under which address, over nfnetlink |
//! | [`uplink`] | how a namespace reaches the world, and how to give another one the same |

pub mod links;
pub mod names;
pub mod rules;
pub mod uplink;

mod error;
mod netlink;

pub use error::Error;
