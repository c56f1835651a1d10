//! `execve(2)` with everything prepared beforehand, so that it can be called
//! where nothing may be allocated.

use std::ffi::{CStr, CString, NulError, c_char};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

/// A null-terminated array of C strings, ready to be handed to the kernel.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
    /// Points into the heap buffers of `strings`, which stay where they are when the array moves.
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    /// The array of `strings`.
    ///
    /// # Errors
    /// If one of them holds a NUL byte.
    pub fn new<S: Into<Vec<u8>>>(strings: impl IntoIterator<Item = S>) -> Result<Self, NulError> {
        let strings = strings.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { strings, pointers })
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.strings.iter().map(CString::as_c_str)
    }
}

/// Replaces this process by `program`; returns only on failure.
pub fn execve(program: &CStr, argv: &CStringArray, envp: &CStringArray) -> Errno {
    // SAFETY: both arrays end with a null pointer and their strings live as long as the arrays.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    super::clone::last_error()
}

/// The same for an open file, close-on-exec or not (execveat(2)); a script needs one that is not.
pub fn execute(program: BorrowedFd<'_>, argv: &CStringArray, envp: &CStringArray) -> Errno {
    let (fd, path) = (program.as_raw_fd(), c"".as_ptr());
    // SAFETY: as in `execve`; the path is a static string.
    unsafe {
        let (argv, envp) = (argv.pointers.as_ptr(), envp.pointers.as_ptr());
        libc::syscall(libc::SYS_execveat, fd, path, argv, envp, libc::AT_EMPTY_PATH)
    };
    super::clone::last_error()
}

/// Makes descriptor number `number` a close-on-exec copy of `fd`; what was open
/// under that number is closed. The copy belongs to nobody: it stays until the
/// process ends or executes a program.
///
/// # Errors
/// Those of dup3(2); EINVAL for the standard descriptors, which others own.
pub fn duplicate_to(fd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    if number < 3 {
        return Err(Errno::INVAL);
    }
    // SAFETY: dup3 takes numbers only; callers choose one above all descriptors they hold.
    let result = unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) };
    if result == number { Ok(()) } else { Err(super::clone::last_error()) }
}

/// Makes descriptor number `number` a copy of `fd` that stays open over the next execution; what was open under that
/// number is closed. The copy belongs to nobody.
///
/// # Errors
/// Those of dup3(2), among them EINVAL if it has that number; EINVAL for the standard descriptors, which others own.
pub fn inherit_as(fd: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    if number < 3 {
        return Err(Errno::INVAL);
    }
    // SAFETY: dup3 takes numbers only; called in a child that executes or ends, and never drops what had the number.
    let result = unsafe { libc::dup3(fd.as_raw_fd(), number, 0) };
    if result == number { Ok(()) } else { Err(super::clone::last_error()) }
}

/// Closes this process's copy of a descriptor that the parent still owns: for
/// the child of a fork, which never runs the owner's destructor.
pub fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: called in a child that ends by _exit or execve; the owner in its copied memory is never dropped.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Takes over the descriptor `number` that this program was started with, and
/// makes it close-on-exec; none if there is no such descriptor.
pub fn inherited(number: i32) -> Option<OwnedFd> {
    if number < 3 {
        return None;
    }
    // SAFETY: only asks for flags; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return None;
    }
    // SAFETY: open, as just seen; whoever started us left it to us, and it is taken once, first thing.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

/// Lets `fd` stay open over the next execution.
///
/// # Errors
/// Those of fcntl(2).
pub fn keep_open(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
}

/// Has `command` enter the user namespace `user`, where there is one, before it executes; and killed when we end, unless
/// it changes its own rights.
pub fn enter_before(command: &mut std::process::Command, user: Option<OwnedFd>) {
    use std::os::unix::process::CommandExt as _;
    let enter = move || {
        if let Some(user) = &user {
            // SAFETY: takes a descriptor and a number.
            if unsafe { libc::setns(user.as_raw_fd(), libc::CLONE_NEWUSER) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        // SAFETY: takes two numbers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and execution it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// Has `command` load the filter `program` before it executes, and send the descriptor where that asks over `wire`, with
/// one byte. After [`enter_before`]: it takes rights in the user namespace, or no_new_privs.
pub fn listen_before(command: &mut std::process::Command, program: Vec<u8>, wire: OwnedFd) {
    use std::os::fd::AsFd as _;
    use std::os::unix::process::CommandExt as _;
    let listen = move || {
        let listener = super::notify::load(&program)?;
        Ok(super::message::send(wire.as_fd(), &[0], &[listener.as_fd()])?)
    };
    // SAFETY: between fork and execution it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(listen) };
}
