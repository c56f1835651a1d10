//! Where a container and its monitor are, and what holds there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::driver::Below;
use super::group;
use super::settings::{self, Setting};
use crate::model::limits::{CgroupDriver, Limits};

/// The two cgroups of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Who made what is above them.
    pub driver: CgroupDriver,
    /// That of its monitor.
    pub monitor: PathBuf,
    /// That of its processes.
    pub container: PathBuf,
}

/// What a monitor makes true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where.
    pub seat: Seat,
    /// What holds for the container.
    pub settings: Vec<Setting>,
}

/// The name of a container's scope.
pub fn unit(id: &str) -> String {
    format!("pybox-{id}.scope")
}

/// The slice of all scopes, unless another one is asked for: below the one that systemd.special(7) has for the programs
/// of a user, and for containers of the system. One `systemctl set-property` limits them all.
pub fn slice(uid: u32) -> &'static str {
    if uid == 0 { "machine-pybox.slice" } else { "app-pybox.slice" }
}

impl Placement {
    /// In a scope whose directory is `scope`. Weights are the scope's own.
    pub fn in_scope(scope: &Path, limits: &Limits) -> Self {
        let (monitor, container) = (scope.join("monitor"), scope.join("container"));
        let seat = Seat { driver: CgroupDriver::Scope, monitor, container };
        Self { seat, settings: settings::settings(limits) }
    }

    /// In a directory of our own making.
    pub fn below(below: &Below, id: &str, limits: &Limits) -> Self {
        let container = below.parent.join(format!("{}{id}", below.prefix));
        let seat = Seat { driver: below.driver, monitor: below.parent.join(below.monitors), container };
        let mut settings = settings::settings(limits);
        settings.extend(settings::weights(limits).settings());
        Self { seat, settings }
    }
}

impl Seat {
    /// Kills whatever is left, and removes what is ours alone: the monitor is gone, or ours to end.
    pub fn sweep(&self) {
        let own = [Some(&self.container), (self.driver == CgroupDriver::Scope).then_some(&self.monitor)];
        let own: Vec<_> = own.into_iter().flatten().filter(|path| path.exists()).collect();
        own.iter().for_each(|path| group::kill(path));
        own.iter().for_each(|path| group::remove(path));
    }
}

/// As `linux.cgroupsPath` of an OCI document has it: for systemd slice, prefix and name, else a path.
pub fn oci_path(seat: &Choosable<'_>) -> String {
    match seat {
        Choosable::Scope { slice, id } => format!("{slice}:pybox:{id}"),
        Choosable::Below { below, id } => {
            let path = below.parent.join(format!("{}{id}", below.prefix));
            let inside = path.strip_prefix(super::hierarchy::MOUNT).unwrap_or(&path);
            format!("/{}", inside.display())
        }
    }
}

/// What a place will be called, before there is one.
#[derive(Clone, Copy, Debug)]
pub enum Choosable<'a> {
    /// A scope.
    Scope {
        /// Its slice.
        slice: &'a str,
        /// The container.
        id: &'a str,
    },
    /// A directory.
    Below {
        /// Where.
        below: &'a Below,
        /// The container.
        id: &'a str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below() -> Below {
        Below { driver: CgroupDriver::Direct, parent: "/sys/fs/cgroup/pybox".into(), monitors: "monitors", prefix: "" }
    }

    #[test]
    fn monitors_are_beside_containers() {
        let limits = Limits { cpu_shares: Some(512), ..Limits::default() };
        let scope = Placement::in_scope(Path::new("/sys/fs/cgroup/x/pybox-7.scope"), &limits);
        assert_eq!(scope.seat.monitor, Path::new("/sys/fs/cgroup/x/pybox-7.scope/monitor"));
        assert_eq!(scope.seat.container, Path::new("/sys/fs/cgroup/x/pybox-7.scope/container"));
        assert!(scope.settings.iter().all(|setting| setting.file != "cpu.weight"));
        let direct = Placement::below(&below(), "7", &limits);
        assert_eq!(direct.seat.monitor, Path::new("/sys/fs/cgroup/pybox/monitors"));
        assert_eq!(direct.seat.container, Path::new("/sys/fs/cgroup/pybox/7"));
        assert!(direct.settings.iter().any(|setting| setting.file == "cpu.weight"));
    }

    #[test]
    fn paths_are_those_of_oci_runtimes() {
        let slice = slice(1000);
        assert_eq!(oci_path(&Choosable::Scope { slice, id: "7" }), "app-pybox.slice:pybox:7");
        assert_eq!(oci_path(&Choosable::Below { below: &below(), id: "7" }), "/pybox/7");
        assert_eq!(unit("7"), "pybox-7.scope");
    }
}
