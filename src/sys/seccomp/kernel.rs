//! For tests: the kernel's own answers to system calls under a filter.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

/// One system call: number and arguments.
pub(crate) type Call = (i64, [u64; 6]);

/// Forks a child that loads `program` (with no_new_privs) and makes each call;
/// gives the results, negative for an errno. A filter that cannot be loaded gives
/// an empty list.
///
/// Calls have to be harmless where they are let through.
pub(crate) fn answers(program: &[u8], calls: &[Call]) -> Vec<i64> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors that the call writes.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both descriptors were just made and belong to no one else.
    let mut reader = unsafe { std::fs::File::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let writer = unsafe { std::fs::File::from_raw_fd(fds[1]) };
    // SAFETY: the child only makes system calls on memory that exists before the
    // fork, and ends with _exit: nothing of another thread's is waited for.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        child(program, calls, writer.as_raw_fd());
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    // SAFETY: waits for the child that was just made; no status is asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    bytes.chunks_exact(8).map(|chunk| i64::from_ne_bytes(chunk.try_into().unwrap())).collect()
}

fn child(program: &[u8], calls: &[Call], out: i32) -> ! {
    let filter =
        libc::sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr() as *mut libc::sock_filter };
    // SAFETY: only sets a flag of this process.
    let mut loaded = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `filter` and the program it points to outlive the call.
    loaded |= unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    for (number, a) in calls {
        if loaded != 0 {
            break;
        }
        // SAFETY: the tables pass no pointer that the kernel could write through.
        let result = unsafe { libc::syscall(*number, a[0], a[1], a[2], a[3], a[4], a[5]) };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let answer = if result == -1 { -i64::from(errno) } else { result };
        // SAFETY: writes eight bytes of a local; a short write shows as a missing answer.
        unsafe { libc::write(out, (&raw const answer).cast(), 8) };
        // A call that made a process: the new one has no more to do.
        if *number == libc::SYS_clone && answer == 0 {
            break;
        }
    }
    // SAFETY: ends the child without running anything of the parent's.
    unsafe { libc::_exit(0) }
}
