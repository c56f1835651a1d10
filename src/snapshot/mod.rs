//! Root file systems: layers unpacked once, overlay recipes over them, and the
//! worker that touches foreign files.
//!
//! A layer's archive is read and applied only inside the worker ([`worker`]), a
//! process that is root of nothing but its own user namespace and sees nothing
//! but the layer's directory. This room mounts nothing (`launch` does) and keeps
//! no record of what exists (`store` does).

mod apply;
pub mod compress;
pub(crate) mod decompress;
pub mod driver;
pub mod failure;
mod find;
pub mod fuse_overlay;
pub mod kernel_overlay;
pub mod layered;
pub mod layers;
pub mod measure;
pub mod pack;
pub mod recipe;
pub mod remove;
pub(crate) mod tar;
mod trial;
mod truth;
mod unpack;
pub(crate) mod view;
pub mod witness;
pub mod worker;
