//! From an OCI runtime document to a running process.
//!
//! # Theory of operation
//!
//! [`plan`] compiles the document to a list of [`step::Step`]s while we are still
//! an ordinary process: every string is a C string, every option a flag. Then
//! [`parent`] makes the child with one `clone3` that carries all namespace
//! flags, and [`child`] walks the list. The child decides nothing, allocates
//! nothing and formats nothing; when a step fails it sends the step's number and
//! the errno ([`wire`]), and the parent, who has the plan, says what that means.
//! End-of-file on the close-on-exec wire is success.
//!
//! The stages of the walk, where order is security:
//!
//! 1. *Mapped.* Should wait until the id maps are written, then become root of
//!    the new user namespace. Must not touch a mount before.
//! 2. *Outside.* Should open every file of the host that will be mounted, with the
//!    user's own groups still in force. Must not resolve a path of the image.
//! 3. *Root.* Should mount the root file system and everything inside it, by
//!    descriptors found with `RESOLVE_IN_ROOT`. Must not follow a link of the
//!    image outwards, nor mount on a path by name.
//! 4. *Inside.* Should pivot, let go of the old root, take terminal, limits and
//!    identity. Must not open anything of the image any more.
//! 5. *Last.* Should load the filter, drop what is left of power, mark all
//!    descriptors, tell that all is ready, and execute the program.
//!
//! A process that joins a container that runs ([`join`]) has no stages 1 to 3 but a step in
//! their place: it *joins* while it is still out of sight of the container, and goes on in a
//! new process inside. Should make that process only when it is hidden from tracers. Stages
//! 4 and 5 are the same code; must not differ in anything but the user's wishes.
//!
//! This room knows no store, no engine and no word of `model`: its input is a
//! document and a set of descriptors.

pub mod child;
pub mod document;
pub mod join;
pub mod parent;
pub mod plan;
pub mod step;
pub mod wire;

mod error;

pub use error::LaunchError;
pub use join::Joining;
pub use parent::{Held, Mapping, Stdio};
pub use plan::{Extras, JoinFacts, Plan};
pub use step::Interface;
