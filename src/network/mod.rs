//! How containers are connected: alone, through [`pasta`] or [`slirp`], or with others on [`segment`]s that the [`holder`] keeps.

pub mod holder;
pub mod interface;
pub mod pasta;
pub mod plug;
pub mod program;
pub mod segment;
pub mod slirp;
