//! Users, groups, capabilities, limits.

use std::ffi::CStr;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::launch::step::{Identity, Limit};
use crate::sys::confine;

/// Becomes 0:0 of a user namespace whose maps have just been written.
pub(super) fn become_root() -> Result<(), Errno> {
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Keeps others from ptrace, and from `/proc/PID/{exe,fd,root,…}` (rule R6).
pub(super) fn hide_from_tracers() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Its root is the cgroup that we are in by now; `clone3` would have taken the parent's.
pub(super) fn unshare_cgroup() -> Result<(), Errno> {
    confine::unshare_cgroup()
}

/// getcwd(2) into `buffer`.
pub(super) fn working_directory(buffer: &mut [u8]) -> Result<&[u8], Errno> {
    confine::working_directory(buffer)
}

pub(super) fn limit(limit: &Limit) -> Result<(), Errno> {
    rustix::process::setrlimit(limit.resource, Rlimit { current: limit.soft, maximum: limit.hard })
}

/// A user has 200 keyrings at most; without one of our own nothing is lost but
/// the separation of keys, and the filter refuses the keyctl family anyway.
pub(super) fn join_keyring(name: &CStr) -> Result<(), Errno> {
    match confine::join_session_keyring(name) {
        Err(Errno::DQUOT | Errno::NOSYS | Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Takes on `identity`, and looks whether the kernel has it as it was asked for
/// (rules R8 and R9).
pub(super) fn take(identity: &Identity) -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if identity.bounding.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel has no capability of this number, nor of any higher one.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    // Held over the change of user, for the sets below; the execution clears it.
    rustix::thread::set_keep_capabilities(true)?;
    if identity.may_set_groups {
        rustix::thread::set_thread_groups(&identity.groups)?;
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    if rustix::process::getuid() != uid || rustix::process::geteuid() != uid || rustix::process::getegid() != gid {
        return Err(Errno::PERM);
    }
    let sets = CapabilitySets {
        effective: identity.effective,
        permitted: identity.permitted,
        inheritable: identity.inheritable,
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()?;
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if identity.ambient.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    rustix::thread::set_keep_capabilities(false)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(identity.umask));
    // A change of credentials sets this to what the administrator chose in fs.suid_dumpable.
    hide_from_tracers()
}
