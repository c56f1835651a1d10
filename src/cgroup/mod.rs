//! Cgroups of containers (cgroup v2): where they are, what they keep, what they tell.
//!
//! A container lives in a cgroup of its own, and its monitor in another one, so that a limit, a kill or a freeze never
//! meets the monitor. Who makes the first directory is a driver's business ([`driver`]):
//!
//! ```text
//! scope       …/user@UID.service/app.slice/app-pybox.slice/pybox-ID.scope/{monitor,container}
//! delegated   <the cgroup that is ours>/{supervisor,pybox-ID}
//! direct      /sys/fs/cgroup/pybox/{monitors,ID}
//! none        wherever whoever starts it is
//! ```
//!
//! What follows is the same for all: the engine makes a [`Placement`] of it, and the monitor makes that true
//! ([`Group`]) and has the container's processes born there. The engine only reads afterwards ([`usage`]).
//!
//! Speaks to no bus, and knows no container beyond an id.

pub mod driver;
mod error;
mod group;
pub mod hierarchy;
pub mod leftovers;
pub mod placement;
pub mod settings;
pub mod usage;
pub mod weight;

pub use error::CgroupError;
pub use group::Group;
pub use placement::Placement;
