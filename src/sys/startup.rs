//! The first thing a process does: it trusts nothing that it was given. And what it can do
//! without while it waits.

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

/// Makes files private to the user from now on, and keeps descriptors that the
/// caller left open from reaching any program we start.
///
/// The standard library has opened `/dev/null` for a closed 0, 1 or 2 before
/// `main`, so no file of ours can take their numbers.
pub fn harden() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC closes nothing and touches no
    // memory; it only sets a flag on descriptors, whoever owns them.
    unsafe {
        // Before Linux 5.11 there is no such flag; what we start closes all but
        // its own descriptors once more before it executes foreign code.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Waits as poll(2) does, and holds on to as little as it can meanwhile: memory that was freed is
/// given back, and our own code but for the few pages that are needed to wait.
///
/// # Errors
/// Those of poll(2).
#[inline(never)]
pub fn sleep(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize, Errno> {
    #[cfg(target_env = "gnu")]
    // SAFETY: gives pages back that no allocation has; malloc_trim(3) may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    // Both calls are inlined here: the kernel maps sixteen pages around each one that is needed,
    // so code in other places would cost 64 KiB a place.
    forget_code();
    rustix::event::poll(fds, timeout)
}

/// Lets go of the pages of our own program that are mapped: they come back, one
/// by one, where they are needed. For a point where most of what ran before
/// will not run again, as before a long wait.
#[inline(always)]
pub fn forget_code() {
    unsafe extern "C" {
        /// Set by the linker: the first byte of the program, and the first one after its code.
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start) as usize;
    let end = ((&raw const etext) as usize) / page * page;
    if start.is_multiple_of(page) && end > start {
        // SAFETY: from the program's headers to the end of its code all is mapped from the file and
        // never written, so what is read from it afterwards is the same.
        let _ = unsafe { rustix::mm::madvise(start as *mut _, end - start, rustix::mm::Advice::LinuxDontNeed) };
    }
}
