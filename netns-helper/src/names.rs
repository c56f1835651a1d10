//! Names: who is called what on a network, and a server that says so.
//!
//! [`answer`] decides, and is pure; [`Server`] carries bytes. The names of a
//! network are answered with its addresses; whatever else is asked goes to the
//! servers of the outside, question and answer unread but for what keeps a
//! stranger from answering in their place.

mod quota;
mod reply;
mod server;
mod service;
mod upstream;

pub use reply::{Answer, Entry, answer};
pub use server::Server;
