//! What a helper process gives up before it looks at foreign bytes.

use std::os::fd::RawFd;

use rustix::io::Errno;

/// Closes every descriptor from `first` up.
///
/// Only for a process that has just been started and owns none of them: it is
/// for what the caller's caller forgot to mark close-on-exec.
///
/// # Errors
/// Those of `close_range(2)`.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    let first = libc::c_uint::try_from(first).map_err(|_| Errno::BADF)?;
    // SAFETY: the call takes plain numbers and touches no memory; that no live
    // `OwnedFd` stands for one of the numbers is this function's contract.
    let result = unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)) }
}
