//! A container's cgroup: chosen, asked for while the rest is made, and there before anything is launched.
//!
//! systemd is asked as soon as there is a monitor, and answers while the container is composed; what is left of its time
//! is waited for last. Limits that nothing would hold are refused; a container without any runs without a cgroup where
//! none can be had.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pybox_systemd::{Bus, Error, Job, Scope, Weights};

use super::limits;
use crate::cgroup::driver::{self, Below, Choice, Wishes};
use crate::cgroup::placement::{self, Choosable, Placement, Seat};
use crate::cgroup::{hierarchy, leftovers, settings};
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::model::container::ContainerRequest;
use crate::model::id::ContainerId;
use crate::model::limits::Limits;
use crate::monitor::record::{self, Run};
use crate::store::Store;

/// How long a bus may take to let us in.
const CONNECT: Duration = Duration::from_secs(2);
/// How long systemd, and a bus on the way to it, may take to make a scope that nothing depends on.
const SOON: Duration = Duration::from_secs(3);
/// And one that has to hold limits.
const LATEST: Duration = Duration::from_secs(15);

/// A cgroup on its way.
pub(super) enum Pending {
    /// None will come.
    None,
    /// It is for the monitor to make.
    Below(Below),
    /// systemd was asked.
    Scope(Box<Result<Job, Error>>),
}

impl Engine {
    /// Who makes the cgroup of a container.
    ///
    /// # Errors
    /// If the driver that is wanted cannot be had, or the parent makes no sense for it.
    pub(in crate::engine) fn choose_cgroup(&self, request: &ContainerRequest) -> Result<Choice, Failure> {
        if request.cgroup.disabled {
            let why = "--cgroups=disabled makes no cgroup".to_owned();
            return Ok(Choice::None { why, hint: "leave out --cgroups=disabled".to_owned() });
        }
        let facts = driver::look(uid(), || self.has_bus(), |service| self.is_delegated(service));
        let wishes = Wishes {
            driver: self.settings.cgroup_driver,
            root: self.settings.cgroup_root.as_deref(),
            speaks: request.cgroup.speaks,
        };
        let choice = driver::choose(&facts, wishes).map_err(|(why, hint)| {
            let driver = self.settings.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default();
            Failure::say(FailureKind::Host, format!("--cgroup-driver {driver}: {why}")).hint(hint)
        })?;
        match (choice, request.cgroup.parent.as_deref()) {
            (Choice::Scope, Some(parent)) if !parent.ends_with(".slice") => {
                let sentence = format!("--cgroup-parent {parent}: systemd has scopes below slices only");
                Err(Failure::say(FailureKind::Invalid, sentence).hint("--cgroup-parent my.slice".to_owned()))
            }
            (Choice::Below(below), Some(parent)) => Ok(Choice::Below(below.with_parent(parent))),
            (choice, _) => Ok(choice),
        }
    }

    /// Removes cgroups that nobody has any more.
    pub(in crate::engine) fn sweep_cgroups(&self) {
        if let Ok(Choice::Below(below)) = self.choose_cgroup(&ContainerRequest::default()) {
            for path in leftovers::sweep(&below) {
                tracing::debug!("removed the empty cgroup {}", path.display());
            }
        }
    }

    fn has_bus(&self) -> bool {
        if uid() == 0 && !Path::new("/run/systemd/system").exists() {
            return false;
        }
        let is_there =
            |address: &String| address.strip_prefix("unix:path=").is_none_or(|path| Path::new(path).exists());
        self.bus_addresses().iter().any(is_there)
    }

    /// A bus that is slow, as all is while a machine starts, is waited for: from a scope nobody could tell the service's
    /// manager that its container is up. If it says nothing at all it would make no scope either.
    fn is_delegated(&self, service: &str) -> bool {
        let bus = Bus::connect(&self.bus_addresses(), LATEST);
        bus.and_then(|bus| bus.is_delegated(service, LATEST)).unwrap_or(true)
    }

    fn bus_addresses(&self) -> Vec<String> {
        pybox_systemd::addresses(uid(), self.settings.bus_address.as_deref())
    }

    /// Begins to make the cgroup of a container whose monitor, which has nothing to do yet, is the process `monitor`.
    pub(super) fn begin_cgroup(
        &self,
        choice: Choice,
        (id, request): (&ContainerId, &ContainerRequest),
        monitor: u32,
    ) -> Pending {
        match choice {
            Choice::None { .. } => Pending::None,
            Choice::Below(below) => Pending::Below(below),
            Choice::Scope => {
                let name = request.name.as_ref().map_or_else(|| id.short().to_owned(), ToString::to_string);
                let scope = Scope {
                    unit: placement::unit(id.as_str()),
                    description: format!("pybox container {name} ({})", request.image),
                    slice: slice(request).to_owned(),
                    process: monitor,
                    weights: weights(&request.limits),
                };
                // The first to connect after a login waits until systemd has started the bus.
                let bus = Bus::connect(&self.bus_addresses(), patience(&request.limits));
                Pending::Scope(Box::new(bus.and_then(|bus| bus.start_scope(scope))))
            }
        }
    }

    /// Tells systemd what the container of `id`, which has a scope, competes with from now on.
    ///
    /// # Errors
    /// With what it says.
    pub(super) fn change_weights(&self, id: &ContainerId, limits: &Limits) -> Result<(), Failure> {
        let weights = weights(limits);
        if weights == Weights::default() {
            return Ok(());
        }
        let bus = Bus::connect(&self.bus_addresses(), CONNECT);
        bus.and_then(|bus| bus.set_weights(&placement::unit(id.as_str()), weights, SOON))
            .map_err(|error| failure(&error))
    }
}

impl Pending {
    /// Waits for it, and says where it is; none if the container has to do without.
    ///
    /// # Errors
    /// If there is none, and limits that somebody has to hold.
    pub(super) fn finish(
        self,
        (id, request): (&ContainerId, &ContainerRequest),
        monitor: u32,
    ) -> Result<Option<Placement>, Failure> {
        let limits = &request.limits;
        match self {
            Self::None => Ok(None),
            Self::Below(below) => {
                below.prepare().map_err(|error| Failure::new(FailureKind::Host, &error))?;
                below.vacate(monitor, !limits.is_empty());
                Ok(Some(Placement::below(&below, id.as_str(), limits)))
            }
            Self::Scope(job) => {
                let asked = Instant::now();
                let made = job.and_then(|job| job.wait(patience(limits))).map_err(|error| failure(&error));
                tracing::debug!("waited {} µs for systemd's scope", asked.elapsed().as_micros());
                match made.and_then(|()| scope_of(id, monitor)) {
                    Ok(scope) => Ok(Some(Placement::in_scope(&scope, limits))),
                    Err(failure) if limits.is_empty() => {
                        tracing::warn!("the container runs without a cgroup of its own: {failure}");
                        Ok(None)
                    }
                    Err(failure) => Err(Failure {
                        message: format!("cannot hold {}: {}", limits.flags().join(", "), failure.message),
                        ..failure
                    }),
                }
            }
        }
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn slice(request: &ContainerRequest) -> &str {
    request.cgroup.parent.as_deref().unwrap_or_else(|| placement::slice(uid()))
}

/// How long its start waits for a scope.
fn patience(limits: &Limits) -> Duration {
    if limits.is_empty() { SOON } else { LATEST }
}

fn weights(limits: &Limits) -> Weights {
    let settings::Weights { cpu, io } = settings::weights(limits);
    Weights { cpu, io }
}

/// The directory of the scope that the monitor is in by now.
fn scope_of(id: &ContainerId, monitor: u32) -> Result<PathBuf, Failure> {
    let unit = placement::unit(id.as_str());
    let found = hierarchy::of_process(Path::new(hierarchy::MOUNT), &monitor.to_string());
    found.filter(|path| path.file_name().is_some_and(|name| name == unit.as_str())).ok_or_else(|| {
        Failure::say(FailureKind::Host, format!("systemd made {unit}, and the container's monitor is not in it"))
            .hint("pybox info".to_owned())
    })
}

fn failure(error: &Error) -> Failure {
    Failure::new(FailureKind::Host, error).hint(format!("look what systemd does: systemctl{} status", user_flag()))
}

fn user_flag() -> &'static str {
    if uid() == 0 { "" } else { " --user" }
}

/// Where a container is that runs, if it has a cgroup of its own.
pub(super) fn seat(store: &Store, id: &ContainerId) -> Option<Seat> {
    let bundle = store.open_bundle(id).ok()?;
    record::read::<Run>(bundle.as_fd(), record::RUN).ok().flatten()?.cgroup
}

/// What config.json calls the place; none if there is none.
pub(super) fn oci_path(choice: &Choice, (id, request): (&ContainerId, &ContainerRequest)) -> Option<String> {
    let id = id.as_str();
    match choice {
        Choice::None { .. } => None,
        Choice::Scope => Some(placement::oci_path(&Choosable::Scope { slice: slice(request), id })),
        Choice::Below(below) => Some(placement::oci_path(&Choosable::Below { below, id })),
    }
}

/// The controllers that a container can have, if that can be known before there is one.
pub(in crate::engine) fn controllers(choice: &Choice) -> Option<Vec<String>> {
    let directory = match choice {
        Choice::None { .. } => return None,
        Choice::Below(below) => below.parent.ancestors().find(|path| path.exists())?.to_owned(),
        Choice::Scope if uid() == 0 => hierarchy::MOUNT.into(),
        // Where user@.service(5) is; another place is found out about when the scope is there.
        Choice::Scope => {
            let uid = uid();
            Path::new(hierarchy::MOUNT).join(format!("user.slice/user-{uid}.slice/user@{uid}.service"))
        }
    };
    directory.exists().then(|| hierarchy::controllers(&directory))
}

/// Refuses what `choice` could not hold.
///
/// # Errors
/// With the flags, why, and what to do about it.
pub(super) fn check(request: &ContainerRequest, choice: &Choice) -> Result<(), Failure> {
    limits::check(&request.limits, choice, controllers(choice).as_deref())?;
    limits::check_score(request.oom_score_adj)
}
