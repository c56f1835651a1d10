//! Containers: made, run, listed, removed.
//!
//! A container is a row, which says what was asked for, and a bundle, which holds
//! what is needed to run it. Its monitor alone knows how it fares; what the
//! monitor wrote down is folded into the row at the next look ([`reconcile`]).

mod act;
pub(in crate::engine) mod attach;
pub(super) mod bench;
pub(super) mod cgroup;
mod changes;
mod commit;
mod copy;
mod create;
mod describe;
mod exec;
pub mod expire;
mod filter;
mod image;
mod image_limits;
mod inherit;
mod inspect;
mod introduce;
mod limits;
mod list;
mod logs;
mod made;
mod narrate;
mod reconcile;
mod remove;
mod rename;
mod run;
mod start;
mod supervision;
mod top;
mod update;
mod usage;
mod view;
pub(super) mod volumes;

pub(super) use create::new_id;
pub(super) use reconcile::has_owner;
pub(super) use rename::{keep_copy, order_monitor};
