//! Limits, user, groups and capabilities.

use rustix::process::{Gid, Resource};
use rustix::thread::CapabilitySet;

use super::{PlanError, c_string};
use crate::launch::document::{IdMapping, Process, Rlimit};
use crate::launch::step::{Identity, Limit, OwnFile, Step};

/// Writes to `/proc/self` that have to happen before anything is mounted.
pub(super) fn own_files(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    let mut write = |path: &str, value: String| {
        c_string(path, "process").map(|path| steps.push(Step::WriteOwn(OwnFile { path, value: value.into_bytes() })))
    };
    if let Some(adjustment) = process.oom_score_adj {
        write("/proc/self/oom_score_adj", adjustment.to_string())?;
    }
    if let Some(profile) = &process.apparmor_profile {
        write("/proc/thread-self/attr/apparmor/exec", format!("exec {profile}"))?;
    }
    if let Some(label) = &process.selinux_label {
        write("/proc/thread-self/attr/exec", label.clone())?;
    }
    Ok(steps)
}

/// Resource limits.
pub(super) fn limits(process: &Process) -> Result<Vec<Step>, PlanError> {
    let unlimited = |value: u64| (value != u64::MAX).then_some(value);
    let step = |limit: &Rlimit| {
        let invalid = || PlanError::Invalid { field: "process.rlimits.type", value: limit.kind.clone() };
        let resource = resource(&limit.kind).ok_or_else(invalid)?;
        Ok(Step::Limit(Limit { resource, soft: unlimited(limit.soft), hard: unlimited(limit.hard) }))
    };
    process.rlimits.iter().map(step).collect()
}

fn resource(kind: &str) -> Option<Resource> {
    Some(match kind {
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_STACK" => Resource::Stack,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        _ => return None,
    })
}

/// What ids a user namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// Those of its map.
    Mapped,
    /// Root is the one user, and there are no groups that could be set: the map was written without
    /// privilege. All else is pretended.
    Pretended,
}

impl Groups {
    /// A map of one id was written without privilege, for which setgroups had to be denied.
    pub(super) fn within(gid_map: &[IdMapping]) -> Self {
        if matches!(gid_map, [IdMapping { size: 1, .. }]) { Self::Pretended } else { Self::Mapped }
    }

    /// The ids that the kernel is given for these.
    pub(super) fn real(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::Mapped => (uid, gid),
            Self::Pretended => (0, 0),
        }
    }
}

/// Who the process is, and what it may.
pub(super) fn identity(process: &Process, groups: Groups) -> Result<Identity, PlanError> {
    let (user, sets) = (&process.user, &process.capabilities);
    let (uid, gid) = groups.real(user.uid, user.gid);
    Ok(Identity {
        uid,
        gid,
        groups: user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect(),
        may_set_groups: groups == Groups::Mapped,
        bounding: capability_set(&sets.bounding)?,
        effective: capability_set(&sets.effective)?,
        permitted: capability_set(&sets.permitted)?,
        inheritable: capability_set(&sets.inheritable)?,
        ambient: capability_set(&sets.ambient)?,
        umask: user.umask.unwrap_or(0o022),
    })
}

/// The kernel's numbers of the capabilities (linux/capability.h).
fn capability_set(names: &[String]) -> Result<CapabilitySet, PlanError> {
    names.iter().try_fold(CapabilitySet::empty(), |set, name| {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        // A name that is not known cannot be dropped or granted: guessing would be worse than refusing.
        let unknown = || PlanError::Invalid { field: "process.capabilities", value: name.clone() };
        known.filter(|one| one.bits().count_ones() == 1).map(|one| set | one).ok_or_else(unknown)
    })
}
