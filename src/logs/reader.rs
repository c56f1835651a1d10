//! Reads a container's log, while it is being written or afterwards.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::format::{Channel, HEAD, Head, MOST, TAIL};
use super::writer::{record_before, whole_until};
use super::{CURRENT, rotated};

/// How much is read at once; a whole record fits.
const BLOCK: usize = 2 << 20;

/// More files than anybody keeps.
const MOST_FILES: u32 = 10_000;

/// While files are renamed one number is missing at a time; so many missing ones are the end.
const HOLES: u32 = 3;

/// What one record has, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where the program has written it.
    pub channel: Channel,
    /// Nanoseconds since the epoch.
    pub time: i64,
    /// Its bytes.
    pub output: &'a [u8],
}

/// Reads records from the oldest on, and through rotations.
#[derive(Debug)]
pub struct Reader {
    directory: OwnedFd,
    /// The file that is read now, and those that come after it.
    files: VecDeque<Segment>,
    buffer: Vec<u8>,
    /// What of the buffer is not yet handed out.
    start: usize,
    end: usize,
    /// So many bytes of the next record's output are passed over.
    skip: usize,
    /// So many bytes were no records, though records follow.
    damaged: u64,
}

#[derive(Debug)]
struct Segment {
    file: OwnedFd,
    inode: u64,
    /// Up to where it has been read.
    at: u64,
}

impl Segment {
    /// Opens `name`; none if there is no such file.
    fn open(directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => {
                let inode = rustix::fs::fstat(&file)?.st_ino;
                Ok(Some(Self { file, inode, at: 0 }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Reader {
    /// The whole log in the bundle `directory`.
    ///
    /// # Errors
    /// Those of opening.
    pub fn open(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let directory = rustix::io::fcntl_dupfd_cloexec(directory, 3)?;
        let files = all_files(directory.as_fd())?;
        Ok(Self { directory, files, buffer: Vec::new(), start: 0, end: 0, skip: 0, damaged: 0 })
    }

    /// Passes over all but the last so many lines. To be called before anything is read.
    ///
    /// # Errors
    /// Those of reading.
    pub fn keep_last(&mut self, lines: u64) -> io::Result<()> {
        let mut search = Search::of(lines);
        for number in (0..self.files.len()).rev() {
            let Some(segment) = self.files.get_mut(number) else { break };
            if let Some(skip) = search.file(segment)? {
                self.skip = skip;
                self.files.drain(..number);
                return Ok(());
            }
        }
        // There are fewer: all of it.
        for segment in &mut self.files {
            segment.at = 0;
        }
        Ok(())
    }

    /// The next record; none if there is none by now.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&mut self) -> io::Result<Option<Entry<'_>>> {
        loop {
            if let Some((head, from)) = self.whole_record() {
                let until = from + head.length;
                self.start = until + TAIL;
                let from = from + std::mem::take(&mut self.skip).min(head.length);
                if from == until {
                    continue;
                }
                let output = self.buffer.get(from..until).unwrap_or_default();
                return Ok(Some(Entry { channel: head.channel, time: head.time, output }));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// How many bytes were passed over by now because they are no records.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Where the output of the record in front of the buffer is, if all of it is there.
    fn whole_record(&self) -> Option<(Head, usize)> {
        self.record_at(self.start)
    }

    fn record_at(&self, start: usize) -> Option<(Head, usize)> {
        let bytes = self.buffer.get(start..self.end)?;
        let head = Head::read(*bytes.first_chunk::<HEAD>()?)?;
        let tail = bytes.get(HEAD + head.length..)?.first_chunk::<TAIL>()?;
        (*tail == head.tail()).then_some((head, start + HEAD))
    }

    /// Passes over what is no record at the front of the buffer; false if that may be a record whose end is not yet there.
    fn pass_over_damage(&mut self) -> bool {
        let Some(bytes) = self.buffer.get(self.start..self.end) else { return false };
        let head = bytes.first_chunk::<HEAD>().map(|head| Head::read(*head));
        match head {
            None => return false,
            // Looked for inside it, a log that the container has printed would be taken for ours.
            Some(Some(head)) if bytes.len() < HEAD + head.length + TAIL => return false,
            Some(_) => {}
        }
        let next = (self.start + 1..self.end).find(|at| self.record_at(*at).is_some());
        // In a full buffer, only what begins near its end can be a record that is not whole.
        let full = self.end == BLOCK;
        let Some(next) = next.or(full.then_some(BLOCK - (HEAD + MOST + TAIL)).filter(|at| *at > self.start)) else {
            return false;
        };
        self.damaged += (next - self.start) as u64;
        self.skip = 0;
        self.start = next;
        true
    }

    /// Reads more; false if there is no more by now.
    fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BLOCK];
        }
        // Part of a record is read anew: what could not be written whole is taken back, and written again.
        let part = self.end - self.start;
        (self.start, self.end) = (0, 0);
        // Looked at before the file: what is written into this one comes before what is written into the next.
        let rotated = self.files.len() < 2 && self.is_rotated()?;
        let Some(segment) = self.files.front_mut() else { return self.look_for_files() };
        segment.at -= part as u64;
        let buffer = self.buffer.as_mut_slice();
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(&segment.file, &mut *buffer, segment.at))?;
        segment.at += count as u64;
        self.end = count;
        if count > part {
            return Ok(true);
        }
        if self.pass_over_damage() {
            return Ok(true);
        }
        if rotated {
            self.look_for_files()?;
        }
        if self.files.len() < 2 {
            return Ok(false);
        }
        // What is left of this one was torn, and stays so.
        self.files.pop_front();
        (self.start, self.end) = (0, 0);
        Ok(true)
    }

    /// Whether the file that is read is no longer the current one.
    fn is_rotated(&self) -> io::Result<bool> {
        let Some(segment) = self.files.front() else { return Ok(false) };
        match rustix::fs::statat(&self.directory, CURRENT, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(stat.st_ino != segment.inode),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the files that came after the one that is read; true if there are some.
    fn look_for_files(&mut self) -> io::Result<bool> {
        let mut all = all_files(self.directory.as_fd())?;
        let Some(present) = self.files.front().map(|segment| segment.inode) else {
            self.files = all;
            return Ok(!self.files.is_empty());
        };
        // If it has been removed, all that is left came after it.
        let later = all.iter().position(|segment| segment.inode == present).map_or(0, |at| at + 1);
        self.files.extend(all.drain(later..));
        Ok(self.files.len() > 1)
    }
}

/// All files, the oldest first.
fn all_files(directory: BorrowedFd<'_>) -> io::Result<VecDeque<Segment>> {
    let mut files: VecDeque<Segment> = Segment::open(directory, CURRENT)?.into_iter().collect();
    // From the newest on: what is rotated meanwhile is met again, and nothing is missed.
    let mut missing = 0;
    for number in 1..MOST_FILES {
        let Some(segment) = Segment::open(directory, &rotated(number))? else {
            // Being renamed: it is met under the next number.
            missing += 1;
            if missing == HOLES {
                break;
            }
            continue;
        };
        missing = 0;
        if files.iter().all(|known| known.inode != segment.inode) {
            files.push_front(segment);
        }
    }
    Ok(files)
}

/// Looks for the beginning of the last lines, from the end.
#[derive(Debug)]
pub struct Search {
    left: u64,
    /// Whether something of the channel was met.
    seen: [bool; 2],
}

impl Search {
    /// Of so many lines.
    pub fn of(lines: u64) -> Self {
        Self { left: lines, seen: [false; 2] }
    }

    /// Goes through a file; if they begin in it, it stands at their record, of whose output so many bytes are skipped.
    fn file(&mut self, segment: &mut Segment) -> io::Result<Option<usize>> {
        let file = segment.file.as_fd();
        let mut end = whole_until(file)?;
        let mut output = Vec::new();
        while let Some(head) = record_before(file, end)? {
            let at = end - head.record();
            output.resize(head.length, 0);
            read_exact(file, &mut output, at + HEAD as u64)?;
            if let Some(skip) = self.record(head.channel, &output) {
                segment.at = at;
                return Ok(Some(skip));
            }
            end = at;
        }
        Ok(None)
    }

    /// Counts the lines that end in a record; where the last lines begin, if they begin in it.
    pub fn record(&mut self, channel: Channel, output: &[u8]) -> Option<usize> {
        let seen = match channel {
            Channel::Output => &mut self.seen[0],
            Channel::Error => &mut self.seen[1],
        };
        if !std::mem::replace(seen, true) && output.last() != Some(&b'\n') {
            // A line that has not ended yet is one, too.
            if self.left == 0 {
                return Some(output.len());
            }
            self.left -= 1;
        }
        for (at, _) in output.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if self.left == 0 {
                return Some(at + 1);
            }
            self.left -= 1;
        }
        None
    }
}

fn read_exact(file: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, at + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
