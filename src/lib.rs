//! pybox: a rootless-first, per-user container runtime.
//!
//! The map of the house, floor by floor; an arrow points down only
//! (`tests/architecture.rs` keeps that true, `docs/ARCHITECTURE.md` says why).
//!
//! | floor | room | what it is for |
//! |---|---|---|
//! | 1 | [`model`] | the words we speak: ids, references, requests; no input or output |
//! | 1 | [`sys`] | the kernel: every `unsafe` block, file descriptors, namespaces, mounts |
//! | 2 | [`build`] | `boxfile.toml` and `Dockerfile` -> one graph of stages and steps (pure) |
//! | 2 | [`spec`] | request + image + host facts -> OCI runtime spec (pure) |
//! | 2 | [`launch`] | OCI spec -> plan -> one `clone3`, a child that walks the plan |
//! | 2 | [`store`] | what is kept: blobs, layers, rows, bundles, locks |
//! | 2 | [`registry`] | the distribution protocol, its credentials and its limits |
//! | 2 | [`logs`] | what containers have written: one writer, any number of readers |
//! | 2 | [`snapshot`] | root file systems: unpacked layers, overlay recipes, the worker |
//! | 2 | [`emulation`] | root with one id: calls that the kernel would refuse it, answered |
//! | 2 | [`network`] | how containers are connected: alone, or on networks that they share |
//! | 2 | [`units`] | Quadlet files -> systemd units |
//! | 3 | [`monitor`] | the small process that each container has as its parent |
//! | 4 | [`engine`] | the verbs; orders the rooms below, owns no format |
//! | 6 | [`cli`] | words in, words out; the only room that prints |

pub mod build;
pub mod cgroup;
pub mod cli;
pub mod emulation;
pub mod engine;
pub mod launch;
pub mod logs;
pub mod model;
pub mod monitor;
pub mod network;
pub mod registry;
pub mod snapshot;
pub mod spec;
pub mod store;
pub mod sys;
pub mod units;
