//! Waiting for one descriptor, for so long at most.

use std::os::fd::AsFd;
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
