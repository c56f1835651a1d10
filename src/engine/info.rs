//! The verb `info`: the engine, the host, and what can be done with both.
//!
//! It answers on a host where nothing works: what fails becomes a row of the
//! table, not a failure.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid};

use super::api::{ContainerScope, Driver, DriverState, Failure, Info, ListContainers};
use super::containers::cgroup;
use super::host::{self, probe};
use super::{Engine, storage};
use crate::cgroup::driver::{Choice, DROP_IN};
use crate::cgroup::hierarchy::CONTROLLERS;
use crate::model::container::{ContainerRequest, UserNamespace};
use crate::model::digest;
use crate::model::host::IdRange;
use crate::model::lifecycle::Lifecycle;
use crate::model::limits::CgroupDriver;
use crate::model::storage::StorageDriver;
use crate::snapshot::driver::Needs;
use crate::store::Access;

/// Names of file systems by `f_type` of statfs(2).
const FILE_SYSTEMS: [(i64, &str); 17] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0x6573_5546, "fuse"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb"),
    (0xf15f, "ecryptfs"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
];

impl Engine {
    /// Looks at everything.
    pub(super) fn info(&self) -> Info {
        let uname = rustix::system::uname();
        let map = host::id_map(&UserNamespace::Default).ok().flatten().unwrap_or_default();
        let rootless = !geteuid().is_root();
        let (cgroup_driver, cgroups) = self.cgroups();
        let mut info = Info {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            root: self.settings.root.clone(),
            driver: "overlay".to_owned(),
            rootless,
            user_id: geteuid().as_raw(),
            group_id: getegid().as_raw(),
            uid_map: lines(&map.uids),
            gid_map: lines(&map.gids),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            operating_system: host::operating_system(),
            os_type: "linux".to_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            mem_total: host::memory(),
            name: uname.nodename().to_string_lossy().into_owned(),
            cgroup_driver: cgroup_driver.to_string(),
            cgroup_version: host::cgroup_version().to_owned(),
            networks: ["bridge", "host", "none", "pasta"].map(str::to_owned).to_vec(),
            drivers: probe::drivers(cgroups),
            ..Info::default()
        };
        info.security_options = security_options(&info.drivers, rootless);
        // Without ranges there is nothing to try: their row says why.
        if rootless && is_ready(&info.drivers, "id ranges") {
            info.drivers.push(probe::driver("id map", self.try_map()));
        }
        self.add_disk(&mut info);
        self.add_storage(&mut info);
        let counted = self.count(&mut info);
        if let Err(failure) = counted {
            info.drivers.push(probe::driver("store", unfit(&failure)));
        }
        info
    }

    /// Makes a user namespace, maps the ids and does a job in it, as a pull
    /// would: what the tables promise may be forbidden all the same.
    fn try_map(&self) -> DriverState {
        match self.empty_a_directory() {
            Ok(()) => probe::ready("made one and worked in it"),
            // A switch of the kernel says more than the call that it made fail.
            Err(failure) => match probe::user_namespaces() {
                DriverState::Ready { .. } => unfit(&failure),
                refused => refused,
            },
        }
    }

    /// The smallest job of a worker, in a directory of its own.
    fn empty_a_directory(&self) -> Result<(), Failure> {
        use std::os::fd::AsFd as _;
        let failed =
            |error: rustix::io::Errno| Failure::new(super::api::FailureKind::Host, &std::io::Error::from(error));
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(failed)?;
        let path = format!("/tmp/pybox-info-{}", digest::hex(&random));
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let done = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(failed)
            .and_then(|directory| Ok(self.worker()?.empty(directory.as_fd())?));
        rustix::fs::rmdir(&path).map_err(failed)?;
        done
    }

    /// Who would make the cgroup of a container, and what that could hold.
    fn cgroups(&self) -> (CgroupDriver, DriverState) {
        let choice = match self.choose_cgroup(&ContainerRequest::default()) {
            Ok(choice) => choice,
            Err(failure) => return (CgroupDriver::None, unfit(&failure)),
        };
        let (driver, place) = match &choice {
            Choice::None { why, hint } => return (CgroupDriver::None, probe::unfit(why.clone(), hint)),
            Choice::Scope => (CgroupDriver::Scope, "scopes of systemd".to_owned()),
            Choice::Below(below) => (below.driver, format!("below {}", below.parent.display())),
        };
        let there = cgroup::controllers(&choice).unwrap_or_default();
        let missing = CONTROLLERS.iter().filter(|known| !there.iter().any(|there| there == *known));
        let missing: Vec<_> = missing.copied().collect();
        let mut detail = format!("{driver}: {place}, with {}", there.join(", "));
        if !missing.is_empty() {
            detail.push_str(&format!("; without {}: {DROP_IN}", missing.join(", ")));
        }
        (driver, probe::ready(detail))
    }

    fn add_disk(&self, info: &mut Info) {
        // Before the first pull there is no root: what it will be made in counts.
        let existing = self.settings.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let Ok(stat) = rustix::fs::statvfs(existing) else { return };
        info.disk.available = stat.f_bavail.saturating_mul(stat.f_frsize);
        let kind = rustix::fs::statfs(existing).map(|stat| stat.f_type).unwrap_or_default();
        let name = FILE_SYSTEMS.iter().find(|(number, _)| *number == kind).map(|(_, name)| (*name).to_owned());
        info.backing_filesystem = name.unwrap_or_else(|| format!("type {kind:#x}"));
        info.disk.used = used(&self.settings.root);
        let writable = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_ok();
        let state = if writable {
            probe::ready(format!("{} on {}", self.settings.root.display(), info.backing_filesystem))
        } else {
            probe::unfit(format!("{} cannot be written", existing.display()), "export PYBOX_ROOT=/a/directory/of/yours")
        };
        info.drivers.push(probe::driver("root directory", state));
    }

    /// Tries each storage driver where containers are kept; before there is such a place, nothing is made for it.
    fn add_storage(&self, info: &mut Info) {
        if !self.settings.root.exists() {
            return;
        }
        let found = self.store(Access::Write).and_then(|store| self.storage_found(&store));
        let found = match found {
            Ok(found) => found,
            Err(failure) => return info.drivers.push(probe::driver("storage", unfit(&failure))),
        };
        for (driver, serves) in [
            (StorageDriver::Overlay, "the kernel's overlay, tried where containers are kept"),
            (StorageDriver::Hybrid, "for containers whose files have other owners than on disk"),
            (StorageDriver::Fuse, "our own, where the kernel's overlay cannot be had"),
        ] {
            let state = match found.against(driver) {
                None if driver == StorageDriver::Fuse && found.owners.is_some() => {
                    let why = found.owners.as_deref().unwrap_or_default();
                    probe::ready(format!("our own; owners of files are recorded here: {why}"))
                }
                None => probe::ready(serves),
                Some(why) => probe::unfit(why, storage::remedy(why)),
            };
            info.drivers.push(probe::driver(&format!("storage {driver}"), state));
        }
        let needs = Needs { recorded: found.owners.is_some(), ..Needs::default() };
        let chosen = found.choose(self.settings.storage_driver, needs);
        info.driver = chosen.map_or_else(|_| "none".to_owned(), |driver| driver.to_string());
    }

    fn count(&self, info: &mut Info) -> Result<(), Failure> {
        info.images = self.store(Access::Read)?.list_images()?.len() as u64;
        let all = ListContainers { scope: ContainerScope::All, ..ListContainers::default() };
        for container in self.list_containers(&all, &mut |_| {})? {
            info.containers += 1;
            let counter = match container.lifecycle {
                Lifecycle::Running { .. } => &mut info.containers_running,
                Lifecycle::Paused { .. } => &mut info.containers_paused,
                Lifecycle::Created | Lifecycle::Restarting { .. } | Lifecycle::Stopped { .. } => {
                    &mut info.containers_stopped
                }
            };
            *counter += 1;
        }
        Ok(())
    }
}

fn unfit(failure: &Failure) -> DriverState {
    probe::unfit(failure.message.clone(), failure.hint.as_deref().unwrap_or_default())
}

fn is_ready(drivers: &[Driver], name: &str) -> bool {
    drivers.iter().any(|driver| driver.name == name && matches!(driver.state, DriverState::Ready { .. }))
}

/// What is on by default in a container, in docker's words.
fn security_options(drivers: &[Driver], rootless: bool) -> Vec<String> {
    let mut options = Vec::new();
    if is_ready(drivers, "seccomp") {
        options.push("name=seccomp,profile=builtin".to_owned());
    }
    if rootless {
        options.push("name=rootless".to_owned());
    }
    options
}

fn lines(ranges: &[IdRange]) -> Vec<String> {
    ranges.iter().map(|range| format!("{} {} {}", range.inside, range.outside, range.count)).collect()
}

/// What the compressed blobs take: the part of a store that is ours to read
/// without a namespace. Unpacked layers take their sizes in `images`.
fn used(root: &Path) -> u64 {
    let blobs = std::fs::read_dir(root.join("images/blobs/sha256")).into_iter().flatten().flatten();
    blobs
        .filter(|entry| entry.path().extension() != Some(OsStr::new("tmp")))
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .fold(0, u64::saturating_add)
}
