//! Waiting for one descriptor, for so long at most.

use std::os::fd::{AsFd, AsRawFd as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// Whether `fd` becomes readable, or its other side goes, within `patience`. Of a pidfd that is the end of its process.
pub fn readable_within(fd: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(retry_on_intr(|| poll(&mut fds, Some(&patience))), Ok(1..))
}

/// Whether all that was written to the socket has been read within `patience` (`SIOCOUTQ` of unix(7)); what is no
/// socket has nobody to wait for.
pub fn read_out_within(socket: impl AsFd, patience: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let mut left: libc::c_int = 0;
        // SAFETY: the request, which is the terminals' TIOCOUTQ, writes one int, and it lives through the call.
        let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ as _, &raw mut left) };
        if asked < 0 || left == 0 {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_later_is_waited_for() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(read_out_within(&ours, Duration::ZERO));
        rustix::io::write(&ours, b"a line").expect("write");
        assert!(!read_out_within(&ours, Duration::from_millis(1)));
        let reader = std::thread::spawn(move || rustix::io::read(theirs, &mut [0; 16]));
        assert!(read_out_within(&ours, Duration::from_secs(20)));
        assert_eq!(reader.join().expect("the reader"), Ok(6));
    }

    #[test]
    fn what_is_there_and_what_has_gone_is_seen() {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        assert!(!readable_within(&read, Duration::from_millis(1)));
        rustix::io::write(&write, b"x").expect("write");
        assert!(readable_within(&read, Duration::ZERO));
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        drop(write);
        assert!(readable_within(&read, Duration::ZERO));
    }
}
