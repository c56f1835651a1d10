//! A log that is in systemd's journal, shown by what journald's own program reads there.
//!
//! Files of the journal belong to journald: their form grows with it, and they are compressed by
//! libraries that a static program would have to bring along. So `journalctl` reads them, asked for
//! entries of this container that this user has sent; both are fields that the kernel and we have
//! set, so nobody else's entries pass for them. What the journal did not take is in the file of the
//! log. Both are in order, and are shown as one by their times.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use super::output::{self, Output};
use super::{Watch, unreadable, whole};
use crate::engine::api::{Failure, LogShown, ShowLog};
use crate::logs::format::Channel;
use crate::logs::journal::export::{Told, What};
use crate::logs::reader::{Entry, Reader, Search};
use crate::model::lifecycle::Lifecycle;
use crate::monitor::record;
use crate::store::containers::Container;

pub(super) use crate::logs::journal::is_readable;

use self::process::{Journalctl, Order, Request};

mod process;

/// How long the last entries of a container may take from its monitor to the files of the journal.
const PASSAGE: Duration = Duration::from_secs(3);
/// Between two looks at what does not tell by itself.
const PAUSE: i64 = 100;

/// Part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    channel: Channel,
    time: i64,
    output: Vec<u8>,
}

impl Piece {
    fn show(&self, output: &mut Output) -> Result<(), output::Stopped> {
        output.show(&Entry { channel: self.channel, time: self.time, output: &self.output })
    }
}

/// What has been read of the journal.
#[derive(Debug, Default)]
struct Read {
    /// The last entry.
    cursor: Option<String>,
    /// Nanoseconds since the epoch of the last end of the container that it tells of.
    ended: i64,
}

impl Read {
    /// Takes an entry; its output, if it has some.
    fn take(&mut self, told: Told) -> Option<Piece> {
        if !told.cursor.is_empty() {
            self.cursor = Some(told.cursor);
        }
        match told.what {
            What::Output(channel, output) => Some(Piece { channel, time: told.time, output }),
            What::Event(action) => {
                if action == "die" {
                    self.ended = self.ended.max(told.time);
                }
                None
            }
            What::Kept => None,
        }
    }
}

/// Shows the log of a container; goes on as long as `watch` says that it runs, if that is there.
pub(super) fn show(
    (container, bundle): (&Container, BorrowedFd<'_>),
    show: &ShowLog,
    watch: Option<&Watch>,
) -> Result<LogShown, Failure> {
    let name = &container.name;
    let failed = |error: std::io::Error| unreadable(name, &error);
    let mut file = Reader::open(bundle).map_err(failed)?;
    if let Some(lines) = show.tail {
        file.keep_last(lines).map_err(failed)?;
    }
    let since = show.since.map(|since| since.div_euclid(1000));
    let request = Request { id: container.id.as_str(), since };
    let mut output = Output::new(show);
    let mut read = Read::default();
    let history = match show.tail {
        Some(lines) => last(&request, lines, (&mut file, &mut read), failed)?,
        None => {
            let journal = Journalctl::start(&request, Order::Oldest)?;
            if let Err(stopped) = merge(journal, (&mut file, &mut read), &mut output, failed)? {
                return stopped.answer();
            }
            VecDeque::new()
        }
    };
    for piece in history {
        if let Err(stopped) = piece.show(&mut output) {
            return stopped.answer();
        }
    }
    if let Err(stopped) = output.flush() {
        return stopped.answer();
    }
    let ended = match &container.lifecycle {
        Lifecycle::Stopped { at, .. } => Some(*at),
        _ => None,
    };
    // What it wrote last may be on its way still.
    let soon = |at: i64| output::now().saturating_sub(at) < i64::try_from(PASSAGE.as_millis()).unwrap_or(0);
    if watch.is_some() || ended.is_some_and(|at| soon(at) && read.ended < at.saturating_mul(1_000_000)) {
        let follow = Follow { bundle, watch, until: show.until, gone: None, ended };
        if let Err(stopped) = follow.run(&request, (&mut file, read), &mut output, failed)? {
            return stopped.answer();
        }
    }
    whole(&file, name)
}

/// The end of both, once it has been found: so many lines.
fn last(
    request: &Request<'_>,
    lines: u64,
    (file, read): (&mut Reader, &mut Read),
    failed: impl Fn(std::io::Error) -> Failure,
) -> Result<VecDeque<Piece>, Failure> {
    let mut pieces = VecDeque::new();
    let mut ends = 0;
    let mut journal = Journalctl::start(request, Order::Newest)?;
    let mut newest = Read::default();
    // One more, since the first of the lines begins where the one before it ends.
    while ends <= lines {
        let Some(told) = journal.next()? else { break };
        let mut one = Read::default();
        let piece = one.take(told);
        newest.cursor = newest.cursor.or(one.cursor);
        newest.ended = newest.ended.max(one.ended);
        if let Some(piece) = piece {
            ends += u64::from(piece.output.ends_with(b"\n"));
            pieces.push_front(piece);
        }
    }
    drop(journal);
    *read = newest;
    let mut kept = VecDeque::new();
    while let Some(piece) = next_of(file).map_err(&failed)? {
        kept.push_back(piece);
    }
    Ok(keep_last(lines, in_order(pieces, kept)))
}

/// Both, by their times.
fn in_order(mut journal: VecDeque<Piece>, mut file: VecDeque<Piece>) -> VecDeque<Piece> {
    let mut all = VecDeque::with_capacity(journal.len() + file.len());
    loop {
        let next = match (journal.front(), file.front()) {
            (Some(one), Some(other)) if other.time < one.time => file.pop_front(),
            (None, _) => file.pop_front(),
            _ => journal.pop_front(),
        };
        match next {
            Some(piece) => all.push_back(piece),
            None => return all,
        }
    }
}

/// The last so many lines of them.
fn keep_last(lines: u64, mut pieces: VecDeque<Piece>) -> VecDeque<Piece> {
    let mut search = Search::of(lines);
    let mut from = 0;
    for number in (0..pieces.len()).rev() {
        let Some(piece) = pieces.get_mut(number) else { break };
        if let Some(skip) = search.record(piece.channel, &piece.output) {
            piece.output.drain(..skip);
            from = number;
            break;
        }
    }
    pieces.drain(..from);
    pieces
}

/// Shows both to their present end.
fn merge(
    mut journal: Journalctl,
    (file, read): (&mut Reader, &mut Read),
    output: &mut Output,
    failed: impl Fn(std::io::Error) -> Failure,
) -> Result<Result<(), output::Stopped>, Failure> {
    let mut kept = next_of(file).map_err(&failed)?;
    while let Some(told) = journal.next()? {
        let Some(piece) = read.take(told) else { continue };
        while let Some(earlier) = kept.take_if(|kept| kept.time < piece.time) {
            if let Err(stopped) = earlier.show(output) {
                return Ok(Err(stopped));
            }
            kept = next_of(file).map_err(&failed)?;
        }
        if let Err(stopped) = piece.show(output) {
            return Ok(Err(stopped));
        }
    }
    while let Some(piece) = kept {
        if let Err(stopped) = piece.show(output) {
            return Ok(Err(stopped));
        }
        kept = next_of(file).map_err(&failed)?;
    }
    Ok(Ok(()))
}

fn next_of(file: &mut Reader) -> std::io::Result<Option<Piece>> {
    let entry = file.read()?;
    Ok(entry.map(|entry| Piece { channel: entry.channel, time: entry.time, output: entry.output.to_vec() }))
}

/// What is there is shown; this is what comes.
struct Follow<'f> {
    bundle: BorrowedFd<'f>,
    /// None where only the rest of what a container wrote is waited for.
    watch: Option<&'f Watch>,
    until: Option<i64>,
    /// When its monitor was found to have gone.
    gone: Option<Instant>,
    /// Milliseconds since the epoch of its end.
    ended: Option<i64>,
}

impl Follow<'_> {
    fn run(
        mut self,
        request: &Request<'_>,
        (file, mut read): (&mut Reader, Read),
        output: &mut Output,
        failed: impl Fn(std::io::Error) -> Failure,
    ) -> Result<Result<(), output::Stopped>, Failure> {
        let mut journal = Journalctl::start(request, Order::After(read.cursor.as_deref()))?;
        loop {
            if self.gone.is_none() && self.watch.is_none_or(Watch::is_gone) {
                self.gone = Some(Instant::now());
                // A container with --rm is gone with its bundle; the next end that is told of is its last.
                let exit = record::read::<record::Exit>(self.bundle, record::EXIT).ok().flatten();
                self.ended = exit.map(|exit| exit.at).or(self.ended);
            }
            let mut quiet = true;
            while let Some(told) = journal.next_that_is_there()? {
                quiet = false;
                if let Some(Err(stopped)) = read.take(told).map(|piece| piece.show(output)) {
                    return Ok(Err(stopped));
                }
            }
            while let Some(piece) = next_of(file).map_err(&failed)? {
                if let Err(stopped) = piece.show(output) {
                    return Ok(Err(stopped));
                }
            }
            if let Err(stopped) = output.flush() {
                return Ok(Err(stopped));
            }
            let left = self.until.map(|until| until.saturating_sub(output::now()));
            if (quiet && self.is_over(&read)) || left.is_some_and(|left| left < 0) || journal.has_ended() {
                return Ok(Ok(()));
            }
            match (self.watch, self.gone) {
                (Some(watch), None) => watch.wait(left, Some(journal.as_fd())),
                _ => journal.wait(PAUSE),
            }
        }
    }

    /// Whether nothing more can come.
    fn is_over(&self, read: &Read) -> bool {
        let ended = self.ended.unwrap_or(i64::MAX).saturating_mul(1_000_000);
        self.gone.is_some_and(|gone| read.ended >= ended || gone.elapsed() > PASSAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(time: i64, output: &str) -> Piece {
        Piece { channel: Channel::Output, time, output: output.as_bytes().to_vec() }
    }

    #[test]
    fn journal_and_file_are_one() {
        let journal = VecDeque::from([piece(1, "a\n"), piece(4, "d\n"), piece(5, "e")]);
        let file = VecDeque::from([piece(2, "b\n"), piece(3, "c\n"), piece(6, "nd\n")]);
        let all = in_order(journal, file);
        let text = |pieces: &VecDeque<Piece>| -> String {
            pieces.iter().map(|piece| String::from_utf8_lossy(&piece.output).into_owned()).collect()
        };
        assert_eq!(text(&all), "a\nb\nc\nd\nend\n");
        for (lines, expected) in [(0, ""), (1, "end\n"), (3, "c\nd\nend\n"), (9, "a\nb\nc\nd\nend\n")] {
            assert_eq!(text(&keep_last(lines, all.clone())), expected, "{lines}");
        }
    }

    #[test]
    fn events_and_what_is_kept_are_no_output() {
        let mut read = Read::default();
        let told = |time, what| Told { cursor: format!("c{time}"), time, what };
        assert_eq!(read.take(told(1, What::Output(Channel::Output, b"x\n".to_vec()))), Some(piece(1, "x\n")));
        assert_eq!(read.take(told(2, What::Event("die".to_owned()))), None);
        assert_eq!(read.take(told(3, What::Event("start".to_owned()))), None);
        assert_eq!(read.take(told(4, What::Kept)), None);
        assert_eq!((read.cursor.as_deref(), read.ended), (Some("c4"), 2));
    }
}
