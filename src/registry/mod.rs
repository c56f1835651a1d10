//! The distribution protocol (OCI distribution-spec 1.1): how images come from a registry, and get there.
//!
//! This room asks, checks and hands over bytes; it unpacks nothing, and keeps
//! nothing on disk but logins ([`login`]) and copies of blobs ([`mirror`]).
//! Every byte that leaves it as an image has the size and the digest that the
//! document above it names, back to the tag (or digest) that the user typed. What it does not do: choose an image's place in the store,
//! show progress, read the environment (paths and names arrive in [`Options`]).
//!
//! The transport is our own on top of reqwest: `docs/DECISIONS.md` says why no
//! registry library is under it. The rules it keeps:
//!
//! - https, or http for loopback and for hosts that registries.conf calls insecure ([`registries`]);
//! - redirects are walked by hand, at most five, never from https to http, and
//!   the Authorization header stays with the origin it was made for ([`transport`]);
//! - a token server is asked only if [`realm`] lets it, at an address that
//!   [`resolve`] has looked at;
//! - every document and every stream has a limit ([`document`], [`blob`]).

pub mod auth_file;
mod authorize;
pub mod blob;
mod certificates;
pub mod challenge;
pub mod client;
mod content;
mod credential_helper;
pub mod document;
pub mod download;
mod errand;
pub mod error;
mod fetch;
pub mod login;
mod login_file;
pub mod mirror;
pub mod realm;
pub mod registries;
pub mod resolve;
mod retry;
pub mod secret;
pub mod strict_json;
pub mod target;
mod tls;
pub mod transport;
pub mod upload;
pub mod verify;

pub use blob::{BlobStream, Step};
pub use client::{Client, Options, Proxies, Resolved, Source, Timing};
pub use document::{Compression, Descriptor, LayerDescriptor};
pub use error::RegistryError;
pub use login::{Account, Ledger};
pub use target::Target;
pub use upload::{Delivered, Outgoing, Sending};
pub use verify::Verifier;
