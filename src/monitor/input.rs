//! Standard input of the program: what callers type or pipe in.
//!
//! Each caller is a stream into the one pipe or terminal. With detach keys the
//! bytes are looked at on the way; those that may be the beginning of the keys
//! wait until the next byte tells.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::connections::Id;
use super::stream::{Sink, Stream, Turn};

/// The program's standard input, from our side.
#[derive(Debug)]
pub struct Input {
    /// None where it has none, or it has been closed.
    feed: Option<OwnedFd>,
    /// Whether it ends with the first caller that ends.
    once: bool,
    sources: Vec<(Id, Source)>,
}

#[derive(Debug)]
enum Source {
    Plain(Stream),
    Keyed(Keyed),
}

/// A stream that is looked at.
#[derive(Debug)]
struct Keyed {
    from: OwnedFd,
    to: OwnedFd,
    keys: Keys,
    pending: Vec<u8>,
    ended: Option<Turn>,
}

/// The bytes that end an attachment, and how many of them have come.
#[derive(Debug)]
struct Keys {
    sequence: Vec<u8>,
    seen: usize,
}

impl Keys {
    /// Takes a byte; what goes on to the program is appended to `on`. True when the sequence is complete.
    fn take(&mut self, byte: u8, on: &mut Vec<u8>) -> bool {
        if self.sequence.get(self.seen) == Some(&byte) {
            self.seen += 1;
            return self.seen == self.sequence.len();
        }
        // What was held back was meant for the program, unless it begins the sequence anew.
        on.extend(self.sequence.iter().take(self.seen));
        self.seen = 0;
        if self.sequence.first() == Some(&byte) {
            self.seen = 1;
            return self.seen == self.sequence.len();
        }
        on.push(byte);
        false
    }
}

impl Keyed {
    fn turn(&mut self) -> Result<Turn, Errno> {
        if self.pending.is_empty() && self.ended.is_none() {
            let mut buffer = [0; 4096];
            let count = match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) | Err(Errno::IO) => {
                    self.ended = Some(Turn::Ended);
                    0
                }
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(Turn::Open),
                Err(error) => return Err(error),
            };
            for byte in buffer.iter().take(count) {
                if self.keys.take(*byte, &mut self.pending) {
                    self.ended = Some(Turn::Refused);
                    break;
                }
            }
        }
        if !self.pending.is_empty() {
            match rustix::io::write(&self.to, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::PIPE) => return Ok(Turn::Ended),
                Err(error) => return Err(error),
            }
        }
        Ok(if self.pending.is_empty() { self.ended.unwrap_or(Turn::Open) } else { Turn::Open })
    }

    fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        if self.pending.is_empty() { (self.from.as_fd(), PollFlags::IN) } else { (self.to.as_fd(), PollFlags::OUT) }
    }
}

impl Source {
    fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::Plain(stream) => stream.interest(),
            Self::Keyed(keyed) => keyed.interest(),
        }
    }
}

/// What has become of callers in a turn.
#[derive(Debug, Default)]
pub struct Leaving {
    /// They typed the keys.
    pub by_keys: Vec<Id>,
}

impl Input {
    /// Input through `feed`, which must not block; none for a program without input.
    pub fn new(feed: Option<OwnedFd>, once: bool) -> Self {
        Self { feed, once, sources: Vec::new() }
    }

    /// Whether the program can be typed to.
    pub fn is_open(&self) -> bool {
        self.feed.is_some()
    }

    /// Connects a caller's standard input, which does not block if that was possible.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn attach(&mut self, id: Id, from: OwnedFd, keys: &[u8]) -> Result<(), Errno> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let to = rustix::io::fcntl_dupfd_cloexec(feed, 3)?;
        let source = if keys.is_empty() {
            Source::Plain(Stream::new(from, Sink::own(to)))
        } else {
            let keys = Keys { sequence: keys.to_vec(), seen: 0 };
            Source::Keyed(Keyed { from, to, keys, pending: Vec::new(), ended: None })
        };
        self.sources.push((id, source));
        Ok(())
    }

    /// Lets go of a caller.
    pub fn detach(&mut self, id: Id) {
        self.sources.retain(|(source, _)| *source != id);
    }

    /// Ends the program's input.
    pub fn close(&mut self) {
        self.sources.clear();
        self.feed = None;
    }

    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.sources.iter().map(|(_, source)| source.interest())
    }

    /// Gives each source whose descriptor is ready its turn.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) -> Leaving {
        let mut leaving = Leaving::default();
        let mut ended = false;
        self.sources.retain_mut(|(id, source)| {
            if !ready(source.interest().0) {
                return true;
            }
            let turn = match source {
                Source::Plain(stream) => {
                    stream.turn().map(|turn| if turn == Turn::Refused { Turn::Ended } else { turn })
                }
                Source::Keyed(keyed) => keyed.turn(),
            };
            match turn {
                Ok(Turn::Open) => return true,
                Ok(Turn::Refused) => leaving.by_keys.push(*id),
                Ok(Turn::Ended) | Err(_) => ended = true,
            }
            false
        });
        if ended && self.once && self.sources.is_empty() {
            // The caller's end is the program's.
            self.feed = None;
        }
        leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe")
    }

    fn typed(parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let (program, feed) = pipe();
        let (from, caller) = pipe();
        let mut input = Input::new(Some(feed), false);
        input.attach(7, from, &[16, 17]).expect("attach");
        let mut left = false;
        for part in parts {
            rustix::io::write(&caller, part).expect("type");
            left |= input.turn(|_| true).by_keys == [7];
        }
        let mut buffer = [0; 64];
        let count = rustix::io::read(&program, &mut buffer).unwrap_or(0);
        (buffer[..count].to_vec(), left)
    }

    #[test]
    fn keys_leave_and_all_else_goes_on() {
        assert_eq!(typed(&[b"ab"]), (b"ab".to_vec(), false));
        assert_eq!(typed(&[b"a\x10\x11b"]), (b"a".to_vec(), true));
        assert_eq!(typed(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(typed(&[b"\x10", b"x"]), (b"\x10x".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn input_ends_with_the_caller_only_once() {
        for once in [true, false] {
            let (program, feed) = pipe();
            let (from, caller) = pipe();
            let mut input = Input::new(Some(feed), once);
            input.attach(1, from, &[]).expect("attach");
            rustix::io::write(&caller, b"last").expect("type");
            drop(caller);
            for _ in 0..3 {
                let _ = input.turn(|_| true);
            }
            let mut buffer = [0; 8];
            assert_eq!(rustix::io::read(&program, &mut buffer), Ok(4));
            let end = if once { Ok(0) } else { Err(Errno::AGAIN) };
            assert_eq!(rustix::io::read(&program, &mut buffer), end);
            assert_eq!(input.is_open(), !once);
        }
    }
}
