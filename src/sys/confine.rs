//! What a process gives up before it becomes somebody else's: system calls,
//! keys, file descriptors. Nothing here allocates.

use std::ffi::CStr;

use rustix::io::Errno;

use super::clone::last_error;

/// Loads a compiled filter: an array of `struct sock_filter` as bytes, eight
/// each (seccomp(2)). The caller has either `no_new_privs` or CAP_SYS_ADMIN in
/// its user namespace.
///
/// # Errors
/// EINVAL for a filter that the kernel refuses, EACCES without the right to load one.
pub fn load_filter(program: &[u8]) -> Result<(), Errno> {
    /// `struct sock_fprog`; the kernel copies the instructions and accepts any alignment.
    #[repr(C)]
    struct Program {
        len: u16,
        instructions: *const u8,
    }
    if !program.len().is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let len = u16::try_from(program.len() / 8).map_err(|_| Errno::INVAL)?;
    let program = Program { len, instructions: program.as_ptr() };
    // SAFETY: `program` points to `len` instructions of eight bytes, which live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Starts a session keyring of this name, so that the caller's keys are out of
/// reach (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
///
/// # Errors
/// EDQUOT when the user has too many keys, ENOSYS where the kernel has none.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is a C string that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if result >= 0 { Ok(()) } else { Err(last_error()) }
}

/// Marks all descriptors from `first` on as close-on-exec.
///
/// # Errors
/// Those of close_range(2); Linux 5.11 is needed.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes three numbers; with CLOEXEC it closes nothing now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// Those of setdomainname(2).
pub fn set_domain_name(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: pointer and length describe `name`.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Sends the signal of this number to every process of our pid namespace but the first one and
/// ourselves (kill(2) of -1). That there is no other is no error.
///
/// # Errors
/// Those of kill(2).
pub fn signal_everybody(number: i32) -> Result<(), Errno> {
    // The one place where -1 may stand: on the host it would mean every process of the user.
    if rustix::process::getppid().is_some() {
        return Err(Errno::PERM);
    }
    // SAFETY: takes two numbers.
    match unsafe { libc::kill(-1, number) } {
        0 => Ok(()),
        _ => match last_error() {
            Errno::SRCH => Ok(()),
            error => Err(error),
        },
    }
}

/// Gives every signal its default action and unblocks all: what a new program
/// expects, and what Rust's own ignoring of SIGPIPE would break.
pub fn reset_signals() {
    // `struct sigaction` of the kernel: all zeroes are the default action, no flags, an empty mask.
    let default = [0_u64; 4];
    for number in 1..=64 {
        // SAFETY: the structure outlives the call, and the default action is no function of ours. Not by
        // signal(3): the C library keeps 32 and 33 to itself. What the kernel refuses (9, 19) is an error only.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null_mut::<u64>(), 8_usize)
        };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set has been filled just above.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Brings up the loopback interface of the network namespace we are in.
///
/// # Errors
/// Those of socket(2) and of the SIOCSIFFLAGS request (netdevice(7)).
pub fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsRawFd as _;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is the structure that SIOCSIFFLAGS takes, and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Closes all descriptors from `first` on, whoever owns them: for a process
/// that only waits and signals from here to its end.
pub fn close_from(first: u32) {
    // SAFETY: closes by number; the caller touches no descriptor any more.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// The working directory, by getcwd(2), without allocating. Outside of our root
/// it starts with `(unreachable)`.
///
/// # Errors
/// ERANGE if `buffer` is too small, ENOENT if the directory is gone.
pub fn working_directory(buffer: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the kernel writes at most `len` bytes into the buffer.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    match usize::try_from(result) {
        Ok(length) => buffer.get(..length.saturating_sub(1)).ok_or(Errno::RANGE),
        Err(_) => Err(last_error()),
    }
}

/// Enters a new cgroup namespace, whose root is the cgroup we are in.
///
/// # Errors
/// Those of unshare(2).
pub fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: unlike CLONE_FILES or CLONE_FS, this flag changes nothing that Rust code relies on.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}
