//! A small system call filter, made by hand: some calls are refused, all others are let through.
//!
//! For programs of ours that serve others, and must not be brought to do more. What foreign
//! programs get is a list of what is allowed, made by [`super::seccomp`], which this is too
//! small to need.

use rustix::io::Errno;

use super::confine;

/// `AUDIT_ARCH_*` of this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Where `struct seccomp_data` has the number of the call, and the architecture.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Numbers from here on are those of x32.
const X32: u32 = 0x4000_0000;

/// Instructions (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM.unsigned_abs();

/// What a process that serves files has no use for: other programs and processes, networks,
/// namespaces, mounts, and the kernel itself.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const REFUSED: [libc::c_long; 40] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
];

/// Refuses them with EPERM from now on. The caller has set `no_new_privs`.
///
/// # Errors
/// Those of seccomp(2). On an architecture that we have no numbers of, nothing is refused.
pub fn serve_files_only() -> Result<(), Errno> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    confine::load_filter(&program(&REFUSED))?;
    Ok(())
}

/// As [`serve_files_only`], for who answers the calls of others and has to see paths as they do.
///
/// # Errors
/// Those of seccomp(2).
pub fn answer_calls_only() -> Result<(), Errno> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let calls: Vec<_> = REFUSED.into_iter().filter(|call| *call != libc::SYS_chroot).collect();
        confine::load_filter(&program(&calls))?;
    }
    Ok(())
}

/// As [`serve_files_only`], for who makes networks, answers questions on them, and ends one process that it holds.
///
/// # Errors
/// Those of seccomp(2).
pub fn keep_networks_only() -> Result<(), Errno> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let needed = [
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept4,
            libc::SYS_pidfd_send_signal,
        ];
        let calls: Vec<_> = REFUSED.into_iter().filter(|call| !needed.contains(call)).collect();
        confine::load_filter(&program(&calls))?;
    }
    Ok(())
}

/// The program that refuses `calls`, and whatever comes from another architecture.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn program(calls: &[libc::c_long]) -> Vec<u8> {
    let count = u8::try_from(calls.len()).unwrap_or(u8::MAX);
    let mut program = Vec::new();
    let mut add = |code: u16, (then, otherwise): (u8, u8), value: u32| {
        program.extend(code.to_ne_bytes());
        program.extend([then, otherwise]);
        program.extend(value.to_ne_bytes());
    };
    add(LOAD, (0, 0), ARCH);
    add(JUMP_IF_EQUAL, (0, count.saturating_add(3)), ARCHITECTURE);
    add(LOAD, (0, 0), NUMBER);
    add(JUMP_IF_AT_LEAST, (count.saturating_add(1), 0), X32);
    for (at, call) in (0..count).zip(calls) {
        // Over the calls that are left, and the one instruction that allows.
        add(JUMP_IF_EQUAL, (count - at, 0), u32::try_from(*call).unwrap_or(u32::MAX));
    }
    add(RETURN, (0, 0), ALLOW);
    add(RETURN, (0, 0), REFUSE);
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone;

    #[test]
    fn what_is_refused_is_refused_and_the_rest_is_not() {
        let child = clone::beside_threads(1, || {
            let loaded = rustix::thread::set_no_new_privs(true).and_then(|()| serve_files_only());
            let refused = |number: libc::c_long| {
                // SAFETY: calls that are refused before an argument is looked at, or fail for having none.
                let result = unsafe { libc::syscall(number, 0, 0, 0, 0) };
                result == -1 && clone::last_error() == Errno::PERM
            };
            let works = [libc::SYS_execve, libc::SYS_unshare, libc::SYS_reboot].into_iter().all(refused)
                && !refused(libc::SYS_getpid);
            if loaded.is_ok() && works {
                // SAFETY: ends this process; it takes a number.
                unsafe { libc::_exit(0) };
            }
        });
        assert_eq!(child.expect("a process").wait(), Ok(0));
    }

    #[test]
    fn every_jump_stays_inside() {
        let program = program(&REFUSED);
        let length = program.len() / 8;
        assert_eq!(length, REFUSED.len() + 6);
        for (at, instruction) in program.chunks(8).enumerate() {
            for jump in &instruction[2..4] {
                assert!(at + 1 + usize::from(*jump) < length || instruction[0] == 6, "instruction {at}");
            }
        }
    }
}
