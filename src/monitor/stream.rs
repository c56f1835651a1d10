//! One direction of a container's standard streams.
//!
//! Bytes go from a descriptor of ours that never blocks to one that may belong
//! to somebody else. Pipes are spliced; where the kernel cannot, a buffer is
//! between. Nothing is read before what was read has been written, so a slow
//! reader slows the container down and loses nothing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

/// As much as a pipe holds by default.
const CHUNK: usize = 64 << 10;
/// PIPE_BUF: a pipe that polls as writable takes this much without blocking.
const SMALL: usize = 4096;

/// A stream with its two ends.
#[derive(Debug)]
pub struct Stream {
    from: OwnedFd,
    to: OwnedFd,
    method: Method,
    /// How much may be written at once.
    most: usize,
    /// How much is still to be read, where that is known.
    left: Option<u64>,
}

#[derive(Debug)]
enum Method {
    /// The kernel moves the bytes.
    Splice,
    /// Through here; from `start` to `end` is not yet written.
    Copy { buffer: Vec<u8>, start: usize, end: usize },
}

/// What has come of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more.
    Open,
    /// The source has ended, and all of it is written.
    Ended,
    /// Nobody reads any more.
    Refused,
}

impl Stream {
    /// A stream from `from`, which must not block, to `to`.
    pub fn new(from: OwnedFd, to: Sink) -> Self {
        Self { from, to: to.fd, method: Method::Splice, most: to.most, left: None }
    }

    /// Goes on into `to`, where what was read and not yet written goes first.
    pub fn redirect(&mut self, to: Sink) {
        self.to = to.fd;
        self.most = to.most;
    }

    /// Ends with what is in the source by now, whoever may write more: its writer has ended, and who
    /// else holds the other end is nobody's business. False if there is nothing left to do.
    pub fn end_with_what_is_there(&mut self) -> bool {
        self.left = rustix::io::ioctl_fionread(&self.from).ok();
        self.left != Some(0) || self.is_pending()
    }

    fn is_pending(&self) -> bool {
        matches!(&self.method, Method::Copy { start, end, .. } if start < end)
    }

    /// How much may be read at once.
    fn chunk(&self) -> usize {
        self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(CHUNK).min(CHUNK)
    }

    /// What to poll for.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.method {
            Method::Copy { start, end, .. } if start < end => (self.to.as_fd(), PollFlags::OUT),
            _ => (self.from.as_fd(), PollFlags::IN),
        }
    }

    /// Moves what can be moved without waiting.
    ///
    /// # Errors
    /// What reading or writing says beyond "not now" and "ended".
    pub fn turn(&mut self) -> Result<Turn, Errno> {
        let turn = match &mut self.method {
            Method::Splice => self.splice(),
            Method::Copy { .. } => self.copy(),
        }?;
        let over = self.left == Some(0) && !self.is_pending();
        Ok(if turn == Turn::Open && over { Turn::Ended } else { turn })
    }

    fn splice(&mut self) -> Result<Turn, Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match rustix::pipe::splice(&self.from, None, &self.to, None, self.chunk(), flags) {
            Ok(0) => Ok(Turn::Ended),
            Ok(count) => {
                self.left = self.left.map(|left| left.saturating_sub(count as u64));
                Ok(Turn::Open)
            }
            Err(Errno::PIPE) => Ok(Turn::Refused),
            // Not a pair that can be spliced; or the sink is full, which polling for input cannot see.
            Err(Errno::INVAL | Errno::AGAIN | Errno::NOSYS) => {
                self.method = Method::Copy { buffer: vec![0; CHUNK], start: 0, end: 0 };
                self.copy()
            }
            Err(Errno::INTR) => Ok(Turn::Open),
            // A terminal whose other side is closed says EIO instead of "ended".
            Err(Errno::IO) => Ok(Turn::Ended),
            Err(error) => Err(error),
        }
    }

    fn copy(&mut self) -> Result<Turn, Errno> {
        let chunk = self.chunk();
        let Method::Copy { buffer, start, end } = &mut self.method else { return Ok(Turn::Open) };
        if start == end {
            *start = 0;
            *end = 0;
            let count = match rustix::io::read(&self.from, buffer.get_mut(..chunk).unwrap_or_default()) {
                Ok(0) | Err(Errno::IO) => return Ok(Turn::Ended),
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(Turn::Open),
                Err(error) => return Err(error),
            };
            *end = count;
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
        }
        let rest = buffer.get(*start..(*start + self.most).min(*end)).unwrap_or_default();
        match rustix::io::write(&self.to, rest) {
            Ok(count) => *start += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::PIPE) => return Ok(Turn::Refused),
            Err(error) => return Err(error),
        }
        Ok(Turn::Open)
    }
}

/// Where a stream goes.
#[derive(Debug)]
pub struct Sink {
    fd: OwnedFd,
    most: usize,
    blocks: bool,
}

impl Sink {
    /// A descriptor of ours, which does not block.
    pub fn own(fd: OwnedFd) -> Self {
        Self { fd, most: CHUNK, blocks: false }
    }

    /// Writes as much as can be written without waiting. Where writing may block, little
    /// is written, and it is to be known that there is room.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let most = if self.blocks { self.most.min(bytes.len()) } else { bytes.len() };
        rustix::io::write(&self.fd, bytes.get(..most).unwrap_or_default())
    }

    /// Whether it has to be known that there is room before something is written.
    pub fn blocks(&self) -> bool {
        self.blocks
    }

    /// What to poll for when it is full.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.fd.as_fd(), PollFlags::OUT)
    }

    /// What to poll for when it is not: that nobody reads any more. A terminal's user is told of that by a signal.
    pub fn end(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let ends = matches!(kind(self.fd.as_fd()), Some(FileType::Fifo | FileType::Socket));
        ends.then(|| (self.fd.as_fd(), PollFlags::empty()))
    }

    /// Whether nobody reads any more.
    pub fn is_abandoned(&self) -> bool {
        let Some((fd, flags)) = self.end() else { return false };
        let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
        matches!(rustix::event::poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }

    /// A descriptor that others use too, so its flags must stay as they are: opened
    /// anew without blocking where that is allowed, else written to in small pieces.
    pub fn shared(fd: OwnedFd) -> Self {
        match reopen(fd.as_fd(), OFlags::WRONLY) {
            Some(own) => Self { fd: own, most: CHUNK, blocks: false },
            None => {
                let whole = kind(fd.as_fd()) == Some(FileType::RegularFile);
                Self { fd, most: if whole { CHUNK } else { SMALL }, blocks: !whole }
            }
        }
    }
}

/// A descriptor that others read from too: opened anew without blocking where that is allowed.
pub fn shared_source(fd: OwnedFd) -> OwnedFd {
    reopen(fd.as_fd(), OFlags::RDONLY).unwrap_or(fd)
}

/// Pipes and terminals get a file description of our own, on which O_NONBLOCK hurts nobody else.
fn reopen(fd: BorrowedFd<'_>, access: OFlags) -> Option<OwnedFd> {
    if !matches!(kind(fd)?, FileType::Fifo | FileType::CharacterDevice) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn kind(fd: BorrowedFd<'_>) -> Option<FileType> {
    rustix::fs::fstat(fd).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::{Read as _, Seek as _};

    fn quiet_pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe")
    }

    fn run(stream: &mut Stream) -> Turn {
        (0..1000).map(|_| stream.turn().expect("a turn")).find(|turn| *turn != Turn::Open).unwrap_or(Turn::Open)
    }

    #[test]
    fn bytes_arrive_as_they_were() {
        let (reader, writer) = quiet_pipe();
        let mut file = tempfile::tempfile().expect("a file");
        let mut stream = Stream::new(reader, Sink::shared(file.try_clone().expect("dup").into()));
        let bytes: Vec<u8> = (0..=255).cycle().take(60_000).collect();
        assert_eq!(rustix::io::write(&writer, &bytes), Ok(bytes.len()));
        drop(writer);
        assert_eq!(run(&mut stream), Turn::Ended);
        let mut got = Vec::new();
        file.rewind().expect("rewind");
        file.read_to_end(&mut got).expect("read");
        assert_eq!(got, bytes);
    }

    #[test]
    fn a_full_sink_loses_nothing() {
        let (source, feed) = quiet_pipe();
        let (drain, sink) = quiet_pipe();
        let mut stream = Stream::new(source, Sink::own(sink));
        let (mut fed, mut drained) = (0_u64, 0_u64);
        let mut buffer = vec![7; 50_000];
        for _ in 0..40 {
            fed += rustix::io::write(&feed, &buffer).unwrap_or(0) as u64;
            for _ in 0..4 {
                assert_eq!(stream.turn(), Ok(Turn::Open));
            }
            drained += rustix::io::read(&drain, &mut buffer[..20_000]).unwrap_or(0) as u64;
        }
        drop(feed);
        while run(&mut stream) == Turn::Open {
            drained += rustix::io::read(&drain, buffer.as_mut_slice()).unwrap_or(0) as u64;
        }
        drop(stream);
        while let Ok(count @ 1..) = rustix::io::read(&drain, buffer.as_mut_slice()) {
            drained += count as u64;
        }
        assert_eq!(drained, fed);
    }

    #[test]
    fn a_stream_can_end_before_its_source_does() {
        for splices in [true, false] {
            let (source, feed) = quiet_pipe();
            let (drain, sink) = quiet_pipe();
            let mut file = tempfile::tempfile().expect("a file");
            let to = if splices { Sink::own(sink) } else { Sink::shared(file.try_clone().expect("dup").into()) };
            let mut stream = Stream::new(source, to);
            rustix::io::write(&feed, b"of the program").expect("write");
            assert!(stream.end_with_what_is_there());
            rustix::io::write(&feed, b" and of others").expect("write");
            assert_eq!(run(&mut stream), Turn::Ended);
            let mut got = vec![0; 64];
            let count = if splices {
                rustix::io::read(&drain, &mut got).expect("read")
            } else {
                file.rewind().expect("rewind");
                file.read(&mut got).expect("read")
            };
            assert_eq!(&got[..count], b"of the program");
        }
        let (source, _feed) = quiet_pipe();
        assert!(!Stream::new(source, Sink::own(quiet_pipe().1)).end_with_what_is_there());
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        let (source, feed) = quiet_pipe();
        let (drain, sink) = quiet_pipe();
        drop(drain);
        rustix::io::write(&feed, b"x").expect("write");
        assert_eq!(Stream::new(source, Sink::own(sink)).turn(), Ok(Turn::Refused));
    }
}
