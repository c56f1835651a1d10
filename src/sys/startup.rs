//! The first thing a process does: it trusts nothing that it was given.

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
