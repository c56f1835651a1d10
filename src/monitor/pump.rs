//! Output of the program: into the log, and to those who are attached.
//!
//! Nothing is read before what was read is in the log and has reached every caller, so a
//! full disk or a slow reader slows the program down and loses nothing. A caller who has
//! gone is forgotten at once, also while the program says nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::connections::{BORN, Id};
use super::stream::Sink;
use super::timers::is_due;
use crate::logs::format::{Channel, MOST};
use crate::logs::writer::Writer;

/// The first buffer. Most containers write little, and the monitor is to stay small.
const SMALL: usize = 16 << 10;
/// How long a log that cannot be written is left alone.
const PATIENCE: Duration = Duration::from_millis(500);

/// The streams that the program writes, and where they go.
#[derive(Debug)]
pub struct Pump {
    sources: Vec<Source>,
    callers: Vec<Caller>,
    log: Option<Writer>,
    /// What the log could not take, in the order of reading.
    held: Option<Held>,
    buffer: Vec<u8>,
    /// Whether the program's output ends with the caller who started it.
    bound: bool,
}

#[derive(Debug)]
struct Source {
    from: OwnedFd,
    channel: Channel,
    /// How much the next read may bring.
    most: usize,
}

#[derive(Debug)]
struct Caller {
    id: Id,
    outlets: [Outlet; 2],
}

/// One stream of a caller.
#[derive(Debug)]
struct Outlet {
    /// None once nobody reads it any more.
    sink: Option<Sink>,
    pending: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// Why it could not be written, while nobody was told.
    refused: Option<Errno>,
}

#[derive(Debug)]
struct Held {
    channel: Channel,
    time: i64,
    output: Vec<u8>,
    until: Instant,
}

impl Pump {
    /// From these, which must not block, into `log`. A `bound` program learns by SIGPIPE
    /// that nobody reads what it writes for the caller who started it.
    pub fn new(output: OwnedFd, error: Option<OwnedFd>, log: Option<Writer>, bound: bool) -> Self {
        let source = |from, channel| Source { from, channel, most: SMALL };
        let sources = [Some(source(output, Channel::Output)), error.map(|error| source(error, Channel::Error))];
        let sources = sources.into_iter().flatten().collect();
        Self { sources, callers: Vec::new(), log, held: None, buffer: Vec::new(), bound }
    }

    /// Connects a caller.
    pub fn attach(&mut self, id: Id, output: Sink, error: Sink) {
        let outlets = [output, error].map(Outlet::new);
        self.callers.push(Caller { id, outlets });
    }

    /// Lets go of one.
    pub fn detach(&mut self, id: Id) {
        self.callers.retain(|caller| caller.id != id);
    }

    /// What to poll for.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let sources = self.sources.iter().filter(|source| self.may_read(source.channel));
        let sinks = self.callers.iter().flat_map(|caller| &caller.outlets).filter_map(Outlet::interest);
        sources.map(|source| (source.from.as_fd(), PollFlags::IN)).chain(sinks)
    }

    /// When something is to be done that no descriptor tells of.
    pub fn clock(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Whether all is handed on.
    pub fn is_drained(&self) -> bool {
        let outlets = || self.callers.iter().flat_map(|caller| &caller.outlets);
        self.sources.is_empty() && self.held.is_none() && outlets().all(|outlet| outlet.pending.is_empty())
    }

    /// How many bytes wait for a log that cannot be written.
    pub fn held_back(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.output.len())
    }

    /// Moves what can be moved without waiting. Callers who do not read any more are returned.
    pub fn turn(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) -> Vec<Id> {
        for outlet in self.callers.iter_mut().flat_map(|caller| &mut caller.outlets) {
            if outlet.interest().is_some_and(|(fd, _)| ready(fd)) {
                outlet.turn();
            }
        }
        self.retry();
        let mut sources = std::mem::take(&mut self.sources);
        sources.retain_mut(|source| !ready(source.from.as_fd()) || !self.may_read(source.channel) || self.read(source));
        self.sources = sources;
        self.gone()
    }

    /// Tries again to write down what the log could not take.
    pub fn retry(&mut self) {
        if let Some(mut held) = self.held.take_if(|held| is_due(Some(held.until))) {
            let done =
                self.log.as_mut().map_or(held.output.len(), |log| write(log, held.channel, held.time, &held.output));
            if done < held.output.len() {
                held.output.drain(..done);
                self.held = Some(Held { until: Instant::now() + PATIENCE, ..held });
            }
        }
    }

    fn may_read(&self, channel: Channel) -> bool {
        let waits = |caller: &Caller| !caller.outlet(channel).pending.is_empty();
        self.held.is_none() && !self.callers.iter().any(waits)
    }

    /// One read, handed on; false when the source has ended.
    fn read(&mut self, source: &mut Source) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve_exact(source.most);
        let count = match rustix::io::read(&source.from, rustix::buffer::spare_capacity(&mut buffer)) {
            // A terminal whose other side is closed says EIO instead of "ended".
            Ok(0) | Err(Errno::IO) => return false,
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        self.hand_on(source.channel, &buffer);
        if count == source.most {
            source.grow();
            self.buffer = buffer;
        } else if count > source.most / 2 {
            // There will be more of it; a buffer that is hardly used is let go of.
            self.buffer = buffer;
        }
        true
    }

    fn hand_on(&mut self, channel: Channel, output: &[u8]) {
        if let Some(log) = &mut self.log {
            let time = now();
            let done = write(log, channel, time, output);
            if let Some(rest) = output.get(done..).filter(|rest| !rest.is_empty()) {
                let until = Instant::now() + PATIENCE;
                self.held = Some(Held { channel, time, output: rest.to_vec(), until });
            }
        }
        for caller in &mut self.callers {
            caller.outlet_mut(channel).take(output);
        }
    }

    /// Sees to callers who do not read any more.
    fn gone(&mut self) -> Vec<Id> {
        self.callers.iter_mut().for_each(Caller::tell);
        let bound = self.bound;
        for caller in self.callers.iter().filter(|caller| bound && caller.id == BORN) {
            // Our end closes, and the program learns of it by SIGPIPE.
            self.sources.retain(|source| caller.outlet(source.channel).sink.is_some());
        }
        let left = |caller: &Caller| caller.outlet(Channel::Output).sink.is_none() && !(bound && caller.id == BORN);
        self.callers.extract_if(.., |caller| left(caller)).map(|caller| caller.id).collect()
    }
}

impl Source {
    /// It writes much: the pipe and the next read take more, as far as the kernel lets them
    /// (/proc/sys/fs/pipe-user-pages-soft).
    fn grow(&mut self) {
        if self.most < MOST {
            self.most = (self.most * 4).min(MOST);
            let _ = rustix::pipe::fcntl_setpipe_size(&self.from, self.most);
        }
    }
}

impl Caller {
    /// Says on standard error that standard output is lost: a full disk must not pass for success.
    fn tell(&mut self) {
        let [output, error] = &mut self.outlets;
        if let Some(why) = output.refused.take() {
            error.take(format!("pybox: write standard output: {why}\n").as_bytes());
        }
    }

    fn outlet(&self, channel: Channel) -> &Outlet {
        let [output, error] = &self.outlets;
        match channel {
            Channel::Output => output,
            Channel::Error => error,
        }
    }

    fn outlet_mut(&mut self, channel: Channel) -> &mut Outlet {
        let [output, error] = &mut self.outlets;
        match channel {
            Channel::Output => output,
            Channel::Error => error,
        }
    }
}

impl Outlet {
    fn new(sink: Sink) -> Self {
        Self { sink: Some(sink), pending: Vec::new(), written: 0, refused: None }
    }

    /// Writes these bytes, or keeps them until there is room.
    fn take(&mut self, bytes: &[u8]) {
        let Some(sink) = &self.sink else { return };
        let mut rest = bytes;
        while !sink.blocks() && !rest.is_empty() {
            match sink.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return self.close(error),
            }
        }
        self.pending.extend_from_slice(rest);
    }

    /// What to poll for.
    fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let sink = self.sink.as_ref()?;
        if self.pending.is_empty() { sink.end() } else { Some(sink.interest()) }
    }

    /// Writes once what has waited; with nothing to write, looks whether anybody would read it.
    fn turn(&mut self) {
        let Some(sink) = &self.sink else { return };
        if self.pending.is_empty() {
            if sink.is_abandoned() {
                self.close(Errno::PIPE);
            }
            return;
        }
        // Small writes from a large buffer: the rest stays where it is.
        match sink.write(self.pending.get(self.written..).unwrap_or_default()) {
            Ok(count) if self.written + count >= self.pending.len() => (self.pending, self.written) = (Vec::new(), 0),
            Ok(count) => self.written += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.close(error),
        }
    }

    fn close(&mut self, why: Errno) {
        (self.sink, self.pending, self.written) = (None, Vec::new(), 0);
        // Who has left needs no telling.
        self.refused = (why != Errno::PIPE).then_some(why);
    }
}

/// Appends to the log; how many bytes it took.
fn write(log: &mut Writer, channel: Channel, time: i64, output: &[u8]) -> usize {
    let mut done = 0;
    while let Some(rest) = output.get(done..).filter(|rest| !rest.is_empty()) {
        match log.append(channel, time, rest) {
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Most likely no space is left: it is tried again.
            Err(_) => break,
        }
    }
    done
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    i64::try_from(crate::sys::clock::since_epoch().as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::reader::Reader;
    use crate::model::supervision::LogRequest;
    use rustix::event::PollFd;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe")
    }

    fn sinks() -> (OwnedFd, Sink, Sink) {
        let ((reader, output), (_, error)) = (pipe(), pipe());
        (reader, Sink::own(output), Sink::own(error))
    }

    fn turns(pump: &mut Pump) -> Vec<Id> {
        (0..200).flat_map(|_| pump.turn(|_| true)).collect()
    }

    fn drain(reader: &OwnedFd) -> usize {
        let mut buffer = vec![0; 1 << 20];
        let mut sum = 0;
        while let Ok(count @ 1..) = rustix::io::read(reader, buffer.as_mut_slice()) {
            sum += count;
        }
        sum
    }

    #[test]
    fn a_slow_caller_holds_up_and_loses_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let bundle = std::fs::File::open(place.path()).expect("open");
        let log = Writer::new(bundle.as_fd(), &LogRequest::default()).expect("dup");
        let (source, program) = pipe();
        let mut pump = Pump::new(source, None, Some(log), false);
        let (slow, output, error) = sinks();
        pump.attach(1, output, error);
        let (quick, output, error) = sinks();
        pump.attach(2, output, error);
        let (mut wrote, mut slowly, mut quickly) = (0, 0, 0);
        for _ in 0..50 {
            wrote += rustix::io::write(&program, &vec![b'x'; 60_000]).unwrap_or(0);
            assert!(turns(&mut pump).is_empty());
            quickly += drain(&quick);
        }
        assert!(wrote < 50 * 60_000, "the program was not held up");
        // One that has gone holds nobody up any more.
        drop(program);
        while !pump.is_drained() {
            slowly += drain(&slow);
            assert!(turns(&mut pump).is_empty());
            quickly += drain(&quick);
        }
        assert_eq!((slowly + drain(&slow), quickly + drain(&quick)), (wrote, wrote));
        let mut reader = Reader::open(bundle.as_fd()).expect("open");
        let mut logged = 0;
        while let Some(entry) = reader.read().expect("read") {
            logged += entry.output.len();
        }
        assert_eq!(logged, wrote);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let (source, program) = pipe();
        let mut pump = Pump::new(source, None, None, false);
        let (reader, output, error) = sinks();
        pump.attach(5, output, error);
        drop(reader);
        rustix::io::write(&program, b"x").expect("write");
        assert_eq!(turns(&mut pump), [5]);
        // Nobody is there: what is written goes nowhere, and blocks nobody.
        for _ in 0..100 {
            assert_eq!(rustix::io::write(&program, &[0; 50_000]), Ok(50_000));
            turns(&mut pump);
        }
        assert!(!pump.is_drained());
        drop(program);
        turns(&mut pump);
        assert!(pump.is_drained());
    }

    #[test]
    fn who_goes_in_silence_is_noticed() {
        let (source, _program) = pipe();
        let mut pump = Pump::new(source, None, None, false);
        let ((reader, output, error), (_other, here, too)) = (sinks(), sinks());
        pump.attach(5, output, error);
        pump.attach(6, here, too);
        drop(reader);
        let wakes = |pump: &Pump| {
            let mut fds: Vec<_> = pump.interests().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
            rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).expect("poll")
        };
        assert!(wakes(&pump) > 0);
        assert_eq!(turns(&mut pump), [5]);
        // The second one's standard error is read by nobody either; that is no end.
        assert_eq!(wakes(&pump), 0);
    }

    #[test]
    fn output_that_is_lost_is_told() {
        let ((source, program), (told, error)) = (pipe(), pipe());
        let mut pump = Pump::new(source, None, None, true);
        let full = std::fs::File::options().write(true).open("/dev/full").expect("open /dev/full");
        pump.attach(BORN, Sink::own(full.into()), Sink::own(error));
        rustix::io::write(&program, b"x").expect("write");
        drop(program);
        turns(&mut pump);
        let mut buffer = [0; 256];
        let count = rustix::io::read(&told, &mut buffer).expect("a sentence");
        let told = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(told.starts_with("pybox: write standard output: No space left on device"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(pump.is_drained());
    }

    #[test]
    fn a_bound_program_learns_that_nobody_reads() {
        let (source, program) = pipe();
        let mut pump = Pump::new(source, None, None, true);
        let (reader, output, error) = sinks();
        pump.attach(BORN, output, error);
        drop(reader);
        rustix::io::write(&program, b"x").expect("write");
        assert!(turns(&mut pump).is_empty());
        assert_eq!(rustix::io::write(&program, b"x"), Err(Errno::PIPE));
        assert!(pump.is_drained());
    }
}
