//! What the worker gives up before it looks at foreign bytes.
//!
//! Each stage names what it should do and must not do; the order is part of the
//! defence. Nothing here may run once a second thread exists.

use std::os::fd::BorrowedFd;

use landlock::{ABI, Access as _, AccessFs, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::snapshot::failure::Failure;
use crate::snapshot::truth::Truth;

/// Address space of a worker: the widest zstd window that is accepted (128 MiB),
/// buffers, two stacks, glibc's arenas and the names of the directories of a layer.
const ADDRESS_SPACE: u64 = 1 << 30;

/// What file work as the mapped root needs.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// Every system call of a worker at work: file calls relative to a descriptor,
/// memory, one thread. No path, no process, no socket, no namespace can be made.
/// `clone3` is absent on purpose: glibc falls back to `clone`, whose flags can be looked at.
const CALLS: [&str; 64] = [
    "read",
    "write",
    "readv",
    "writev",
    "lseek",
    "close",
    "openat",
    "openat2",
    "newfstatat",
    "fstat",
    "statx",
    "fstatfs",
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat",
    "utimensat",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "unlinkat",
    "renameat",
    "renameat2",
    "readlinkat",
    "ftruncate",
    "fsetxattr",
    "fgetxattr",
    "flistxattr",
    "fchdir",
    "lgetxattr",
    "lsetxattr",
    "getdents64",
    "fcntl",
    "fstatvfs",
    "sendmsg",
    "recvmsg",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    "futex",
    "set_robust_list",
    "rseq",
    "rt_sigprocmask",
    "rt_sigaction",
    "rt_sigreturn",
    "sigaltstack",
    "gettid",
    "getpid",
    "tgkill",
    "exit",
    "exit_group",
    "sched_yield",
    "sched_getaffinity",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "getrandom",
    "poll",
    "ppoll",
    "restart_syscall",
];

/// Becomes 0:0 of the namespace, without supplementary groups.
///
/// Must come after the maps are written; before it the ids are the overflow ids.
pub(super) fn become_root() -> Result<(), Failure> {
    let failed = |error| Failure::sys("become root of the worker's namespace", error);
    match rustix::thread::set_thread_groups(&[]) {
        // Denied where only the caller's own ids are mapped; there is nothing
        // that a group could then give which the user has not.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(failed(error)),
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(failed)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(failed)
}

/// Makes `directory` all that can be named, and gives up the rest: capabilities,
/// new privileges, memory without end, system calls.
///
/// Must be the last step before the job; it must not be undone by anything the
/// filter still lets through.
pub(super) fn confine(directory: BorrowedFd<'_>, largest_file: u64) -> Result<(), Failure> {
    confine_for(directory, largest_file, &Truth::Disk)
}

/// The same for work in a tree whose owners are told by `truth`: the server of a mount hears of new ones from who
/// could mount there too, which the list of system calls keeps us from.
pub(super) fn confine_for(directory: BorrowedFd<'_>, largest_file: u64, truth: &Truth) -> Result<(), Failure> {
    let more = if matches!(truth, Truth::Mount) { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() };
    let held = CAPABILITIES | more;
    let failed = |error| Failure::sys("confine the worker", error);
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::fchdir(directory).map_err(failed)?;
    rustix::process::chroot(".").map_err(failed)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    limit(Resource::Core, 0).map_err(failed)?;
    limit(Resource::Fsize, largest_file).map_err(failed)?;
    limit(Resource::As, ADDRESS_SPACE).map_err(failed)?;
    rustix::thread::set_no_new_privs(true).map_err(failed)?;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed)?;
    landlock(directory).map_err(|error| Failure::sys(format!("confine the worker ({error})"), Errno::PERM))?;
    seccomp().map_err(|error| Failure::sys(format!("confine the worker ({error})"), Errno::PERM))
}

fn limit(resource: Resource, most: u64) -> Result<(), Errno> {
    let current = rustix::process::getrlimit(resource);
    let most = current.maximum.map_or(most, |hard| hard.min(most));
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Lets file access happen beneath `directory` only; a kernel without landlock
/// (or one that cannot allow links between directories, ABI 1) is fine, since
/// the root is changed already.
fn landlock(directory: BorrowedFd<'_>) -> Result<(), landlock::RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rule(PathBeneath::new(directory, all))?
        .restrict_self()
        .map(drop)
}

fn seccomp() -> Result<(), libseccomp::error::SeccompError> {
    // Unknown calls look like those of an older kernel: libraries have ways around them.
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(libc::ENOSYS))?;
    filter.set_ctl_nnp(true)?;
    for name in CALLS {
        // A name that this architecture or libseccomp does not have needs no rule.
        if let Ok(call) = ScmpSyscall::from_name(name) {
            filter.add_rule(ScmpAction::Allow, call)?;
        }
    }
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let is_thread = ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(thread), thread);
    filter.add_rule_conditional(ScmpAction::Allow, ScmpSyscall::from_name("clone")?, &[is_thread])?;
    filter.load()
}
