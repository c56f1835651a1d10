//! System calls of others, answered by us (seccomp_unotify(2)).
//!
//! The filter decides what is asked: calls about who one is, whose files are, and those that
//! make files. It is made by hand, as that of [`super::call_filter`]: it has to look at
//! arguments, and libseccomp would merge it with the container's own.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

/// `AUDIT_ARCH_*` of this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// No process has it: nothing is asked.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: u32 = 0;

/// Where `struct seccomp_data` has the number of the call, the architecture, and the arguments.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers from here on are those of x32.
const X32: u32 = 0x4000_0000;

/// Instructions (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ASK: u32 = 0x7fc0_0000;
/// The call returns 0, and nothing has happened.
const NOTHING: u32 = 0x0005_0000;

/// Calls that are asked about whatever their arguments are.
#[cfg(target_arch = "x86_64")]
const OLD: [libc::c_long; 10] = [
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_symlink,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [libc::c_long; 2] = [libc::SYS_setfsuid, libc::SYS_setfsgid];

const ASKED: [libc::c_long; 23] = [
    // Who ends leaves its children to another parent, after whom they would be taken.
    libc::SYS_exit_group,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
];

/// Calls that are asked about if `argument & mask == value`.
struct Case {
    call: libc::c_long,
    argument: u32,
    mask: u32,
    value: u32,
    action: u32,
}

const CREATE: u32 = libc::O_CREAT.unsigned_abs();

const fn creation(call: libc::c_long, argument: u32) -> Case {
    Case { call, argument, mask: CREATE, value: CREATE, action: ASK }
}

const CASES: &[Case] = &[
    #[cfg(target_arch = "x86_64")]
    creation(libc::SYS_open, 1),
    creation(libc::SYS_openat, 2),
    // Capabilities that are given up would be missed by whoever pretends to be root later.
    Case { call: libc::SYS_capset, argument: 0, mask: 0, value: 0, action: NOTHING },
    // It is set, which takes nothing from those who have one id; but sudo would not start.
    Case {
        call: libc::SYS_prctl,
        argument: 0,
        mask: u32::MAX,
        value: libc::PR_GET_NO_NEW_PRIVS.unsigned_abs(),
        action: NOTHING,
    },
];

/// The filter about ids: an array of `struct sock_filter` (8 bytes each, host order).
pub fn program() -> Vec<u8> {
    compile(CASES, &[&OLD, &ASKED])
}

/// The same for one who looks for an interface by [`super::tap::ATTACH`], and about nothing else.
pub fn attachments() -> Vec<u8> {
    let attach = Case { call: libc::SYS_ioctl, argument: 1, mask: u32::MAX, value: super::tap::ATTACH, action: ASK };
    compile(&[attach], &[])
}

fn compile(cases: &[Case], calls: &[&[libc::c_long]]) -> Vec<u8> {
    let mut program = Vec::new();
    let mut add = |code: u16, (then, otherwise): (u8, u8), value: u32| {
        program.extend(code.to_ne_bytes());
        program.extend([then, otherwise]);
        program.extend(value.to_ne_bytes());
    };
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    add(LOAD, (0, 0), ARCH);
    add(JUMP_IF_EQUAL, (1, 0), ARCHITECTURE);
    add(RETURN, (0, 0), ALLOW);
    add(LOAD, (0, 0), NUMBER);
    add(JUMP_IF_AT_LEAST, (0, 1), X32);
    add(RETURN, (0, 0), ALLOW);
    for case in cases {
        add(JUMP_IF_EQUAL, (0, 5), number(case.call));
        add(LOAD, (0, 0), ARGUMENTS + 8 * case.argument);
        add(AND, (0, 0), case.mask);
        add(JUMP_IF_EQUAL, (0, 1), case.value);
        add(RETURN, (0, 0), case.action);
        // Another case of the same call may follow.
        add(LOAD, (0, 0), NUMBER);
    }
    let calls = calls.concat();
    let count = u8::try_from(calls.len()).unwrap_or(u8::MAX);
    for (at, call) in (0..count).zip(&calls) {
        // Over the calls that are left, and the one instruction that allows.
        add(JUMP_IF_EQUAL, (count - at, 0), number(*call));
    }
    add(RETURN, (0, 0), ALLOW);
    add(RETURN, (0, 0), ASK);
    program
}

/// Loads `program`, and gives the descriptor at which it asks. For the child of a launch: does not allocate.
///
/// # Errors
/// Those of seccomp(2); EBUSY under a filter that asks somebody already.
pub fn load(program: &[u8]) -> Result<OwnedFd, Errno> {
    /// `struct sock_fprog`; the kernel copies the instructions and accepts any alignment.
    #[repr(C)]
    struct Program {
        len: u16,
        instructions: *const u8,
    }
    let len = u16::try_from(program.len() / 8).map_err(|_| Errno::INVAL)?;
    let program = Program { len, instructions: program.as_ptr() };
    let try_with = |flags: libc::c_ulong| {
        // SAFETY: `program` points to `len` instructions of eight bytes, which live through the call.
        let result =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        i32::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(last_error)
    };
    // A call that a signal interrupts is made again, and a file that was made for it is in its way then: so only
    // death interrupts one that somebody works on, where the kernel knows how (Linux 5.19).
    let listens = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match try_with(listens | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => try_with(listens)?,
        other => other?,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Call {
    /// The kernel's name for it.
    pub id: u64,
    /// The thread that makes it, in our pid namespace.
    pub pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// Its number, as `SYS_*`.
    pub fn number(&self) -> libc::c_long {
        libc::c_long::from(self.number)
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel goes on with it as if it had not been asked about. Whatever was judged of its arguments may have
    /// changed meanwhile: not for anything that must not happen.
    Go,
    /// It returns this.
    Value(i64),
    /// It fails with this.
    Error(Errno),
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct Addition {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

const RECEIVE: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const IS_VALID: u32 = 0x4008_2102;
const ADD: u32 = 0x4018_2103;
const SET_FLAGS: u32 = 0x4008_2104;
const GO: u32 = 1;
const REPLACE: u32 = 1;
const ADD_AND_SEND: u32 = 2;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SAME_PROCESSOR: u64 = 1;

/// Lets who asks and who answers take turns on one processor, where the kernel knows how (Linux 6.6).
pub fn take_turns(listener: BorrowedFd<'_>) {
    let number = libc::c_ulong::from(SET_FLAGS);
    // SAFETY: the argument is the number itself, no pointer.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), number as _, SAME_PROCESSOR) };
}

/// Takes the next call.
///
/// # Errors
/// ENOENT if who made it was killed meanwhile; EINTR.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Call, Errno> {
    let mut call = Call::default();
    ioctl(listener, RECEIVE, &mut call)?;
    Ok(call)
}

/// Whether the call still waits: then the pid is still that thread's.
pub fn is_waiting(listener: BorrowedFd<'_>, call: &Call) -> bool {
    let mut id = call.id;
    ioctl(listener, IS_VALID, &mut id).is_ok()
}

/// Answers a call.
///
/// # Errors
/// ENOENT if who made it was killed meanwhile.
pub fn answer(listener: BorrowedFd<'_>, call: &Call, answer: Answer) -> Result<(), Errno> {
    let (value, error, flags) = match answer {
        Answer::Go => (0, 0, GO),
        Answer::Value(value) => (value, 0, 0),
        Answer::Error(error) => (0, -error.raw_os_error(), 0),
    };
    ioctl(listener, SEND, &mut Response { id: call.id, value, error, flags })
}

/// Answers a call with a copy of `file`, as a new descriptor of who made it.
///
/// # Errors
/// ENOENT if who made it was killed meanwhile; EMFILE if there is no room for one.
pub fn answer_with_file(
    listener: BorrowedFd<'_>,
    call: &Call,
    file: BorrowedFd<'_>,
    close_on_exec: bool,
) -> Result<(), Errno> {
    let target_flags = if close_on_exec { libc::O_CLOEXEC.unsigned_abs() } else { 0 };
    let source = file.as_raw_fd().unsigned_abs();
    ioctl(listener, ADD, &mut Addition { id: call.id, flags: ADD_AND_SEND, source, target: 0, target_flags })
}

/// Puts a copy of `file` in the place of descriptor `number` of who made the call, close-on-exec. The call waits on.
///
/// # Errors
/// ENOENT if who made it was killed meanwhile; EBADF.
pub fn replace_file(listener: BorrowedFd<'_>, call: &Call, number: u32, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let (source, target_flags) = (file.as_raw_fd().unsigned_abs(), libc::O_CLOEXEC.unsigned_abs());
    let addition = &mut Addition { id: call.id, flags: REPLACE, source, target: number, target_flags };
    ioctl(listener, ADD, addition)
}

/// The size of `T` is part of `request`.
fn ioctl<T>(listener: BorrowedFd<'_>, request: u32, argument: &mut T) -> Result<(), Errno> {
    debug_assert_eq!((request >> 16 & 0x3fff) as usize, size_of::<T>());
    let number = libc::c_ulong::from(request);
    // SAFETY: `argument` is the structure that this request takes, and outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), number as _, std::ptr::from_mut(argument)) };
    if result >= 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seccomp::kernel::answers;

    #[test]
    fn what_is_answered_by_the_filter_and_what_is_let_through() {
        // With nobody listening, what is asked fails with ENOSYS.
        let asked = -i64::from(libc::ENOSYS);
        let no_path = 0_u64;
        let results = answers(
            &program(),
            &[
                (libc::SYS_getuid, [0; 6]),
                (libc::SYS_capset, [0; 6]),
                (libc::SYS_prctl, [libc::PR_GET_NO_NEW_PRIVS as u64, 0, 0, 0, 0, 0]),
                (libc::SYS_prctl, [libc::PR_GET_DUMPABLE as u64, 0, 0, 0, 0, 0]),
                (libc::SYS_openat, [u64::MAX, no_path, libc::O_CREAT as u64, 0, 0, 0]),
                (libc::SYS_openat, [u64::MAX, no_path, libc::O_RDONLY as u64, 0, 0, 0]),
                (libc::SYS_mknodat, [u64::MAX, no_path, u64::from(libc::S_IFCHR | 0o666), 259, 0, 0]),
                (libc::SYS_unlinkat, [u64::MAX, no_path, 0, 0, 0, 0]),
                (libc::SYS_fchownat, [u64::MAX, no_path, 1, 1, 0, 0]),
                (libc::SYS_getppid, [0; 6]),
            ],
        );
        let fault = -i64::from(libc::EFAULT);
        assert_eq!(results.get(..3), Some([asked, 0, 0].as_slice()));
        assert!(results[3] >= 0 && results[9] > 0, "{results:?}");
        assert_eq!(results[4..9], [asked, fault, asked, fault, asked]);
    }

    #[test]
    fn of_an_interface_only_its_attachment_is_asked_about() {
        let no_file = u64::MAX;
        let results = answers(
            &attachments(),
            &[
                (libc::SYS_ioctl, [no_file, u64::from(super::super::tap::ATTACH), 0, 0, 0, 0]),
                (libc::SYS_ioctl, [no_file, 0x5401, 0, 0, 0, 0]),
                (libc::SYS_getuid, [0; 6]),
            ],
        );
        assert_eq!(results.get(..2), Some([-i64::from(libc::ENOSYS), -i64::from(libc::EBADF)].as_slice()));
        assert!(results[2] >= 0, "{results:?}");
    }
}
