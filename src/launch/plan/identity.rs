//! Limits, user, groups and capabilities.

use oci_spec::runtime::{Capabilities, Capability, PosixRlimitType, Process};
use rustix::process::{Gid, Resource};
use rustix::thread::CapabilitySet;

use super::{PlanError, c_string};
use crate::launch::step::{Identity, Limit, OwnFile, Step};

/// Writes to `/proc/self` that have to happen before anything is mounted.
pub(super) fn own_files(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    let mut write = |path: &str, value: String| {
        c_string(path, "process").map(|path| steps.push(Step::WriteOwn(OwnFile { path, value: value.into_bytes() })))
    };
    if let Some(adjustment) = process.oom_score_adj() {
        write("/proc/self/oom_score_adj", adjustment.to_string())?;
    }
    if let Some(profile) = process.apparmor_profile() {
        write("/proc/thread-self/attr/apparmor/exec", format!("exec {profile}"))?;
    }
    if let Some(label) = process.selinux_label() {
        write("/proc/thread-self/attr/exec", label.clone())?;
    }
    Ok(steps)
}

/// Resource limits.
pub(super) fn limits(process: &Process) -> Result<Vec<Step>, PlanError> {
    let unlimited = |value: u64| (value != u64::MAX).then_some(value);
    let step = |limit: &oci_spec::runtime::PosixRlimit| {
        let resource = resource(limit.typ()).ok_or(PlanError::Unsupported("an unknown resource limit"))?;
        Ok(Step::Limit(Limit { resource, soft: unlimited(limit.soft()), hard: unlimited(limit.hard()) }))
    };
    process.rlimits().iter().flatten().map(step).collect()
}

fn resource(kind: PosixRlimitType) -> Option<Resource> {
    Some(match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
        #[allow(unreachable_patterns, reason = "the enum of the crate may grow")]
        _ => return None,
    })
}

/// Who the process is, and what it may.
pub(super) fn identity(process: &Process) -> Identity {
    let user = process.user();
    let sets = process.capabilities().as_ref();
    let set = |pick: fn(&oci_spec::runtime::LinuxCapabilities) -> &Option<Capabilities>| {
        sets.and_then(|all| pick(all).as_ref()).map_or(CapabilitySet::empty(), capability_set)
    };
    let groups = user.additional_gids().iter().flatten();
    Identity {
        uid: user.uid(),
        gid: user.gid(),
        groups: groups.map(|gid| Gid::from_raw(*gid)).collect(),
        may_set_groups: true,
        bounding: set(|all| all.bounding()),
        effective: set(|all| all.effective()),
        permitted: set(|all| all.permitted()),
        inheritable: set(|all| all.inheritable()),
        ambient: set(|all| all.ambient()),
        umask: user.umask().unwrap_or(0o022),
    }
}

/// The kernel's numbers of the capabilities (linux/capability.h).
fn capability_set(names: &Capabilities) -> CapabilitySet {
    names.iter().map(|name| single(*name)).fold(CapabilitySet::empty(), CapabilitySet::union)
}

fn single(name: Capability) -> CapabilitySet {
    match name {
        Capability::AuditControl => CapabilitySet::AUDIT_CONTROL,
        Capability::AuditRead => CapabilitySet::AUDIT_READ,
        Capability::AuditWrite => CapabilitySet::AUDIT_WRITE,
        Capability::BlockSuspend => CapabilitySet::BLOCK_SUSPEND,
        Capability::Bpf => CapabilitySet::BPF,
        Capability::CheckpointRestore => CapabilitySet::CHECKPOINT_RESTORE,
        Capability::Chown => CapabilitySet::CHOWN,
        Capability::DacOverride => CapabilitySet::DAC_OVERRIDE,
        Capability::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
        Capability::Fowner => CapabilitySet::FOWNER,
        Capability::Fsetid => CapabilitySet::FSETID,
        Capability::IpcLock => CapabilitySet::IPC_LOCK,
        Capability::IpcOwner => CapabilitySet::IPC_OWNER,
        Capability::Kill => CapabilitySet::KILL,
        Capability::Lease => CapabilitySet::LEASE,
        Capability::LinuxImmutable => CapabilitySet::LINUX_IMMUTABLE,
        Capability::MacAdmin => CapabilitySet::MAC_ADMIN,
        Capability::MacOverride => CapabilitySet::MAC_OVERRIDE,
        Capability::Mknod => CapabilitySet::MKNOD,
        Capability::NetAdmin => CapabilitySet::NET_ADMIN,
        Capability::NetBindService => CapabilitySet::NET_BIND_SERVICE,
        Capability::NetBroadcast => CapabilitySet::NET_BROADCAST,
        Capability::NetRaw => CapabilitySet::NET_RAW,
        Capability::Perfmon => CapabilitySet::PERFMON,
        Capability::Setgid => CapabilitySet::SETGID,
        Capability::Setfcap => CapabilitySet::SETFCAP,
        Capability::Setpcap => CapabilitySet::SETPCAP,
        Capability::Setuid => CapabilitySet::SETUID,
        Capability::SysAdmin => CapabilitySet::SYS_ADMIN,
        Capability::SysBoot => CapabilitySet::SYS_BOOT,
        Capability::SysChroot => CapabilitySet::SYS_CHROOT,
        Capability::SysModule => CapabilitySet::SYS_MODULE,
        Capability::SysNice => CapabilitySet::SYS_NICE,
        Capability::SysPacct => CapabilitySet::SYS_PACCT,
        Capability::SysPtrace => CapabilitySet::SYS_PTRACE,
        Capability::SysRawio => CapabilitySet::SYS_RAWIO,
        Capability::SysResource => CapabilitySet::SYS_RESOURCE,
        Capability::SysTime => CapabilitySet::SYS_TIME,
        Capability::SysTtyConfig => CapabilitySet::SYS_TTY_CONFIG,
        Capability::Syslog => CapabilitySet::SYSLOG,
        Capability::WakeAlarm => CapabilitySet::WAKE_ALARM,
    }
}
