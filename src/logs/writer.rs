//! Appends to a container's log: a file of the bundle, or the journal and what that does not take.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::format::{Channel, HEAD, Head, MOST, TAIL, length_of_tail};
use super::journal::Journal;
use super::{CURRENT, rotated};
use crate::model::supervision::LogRequest;

/// A file is not rotated before it has this many bytes, whatever is asked for: a
/// record has to fit.
const SMALLEST: u64 = 1024;

/// The log of one container. Whoever has it is the only one that writes.
#[derive(Debug)]
pub struct Writer {
    directory: OwnedFd,
    /// Opened with the first byte: many containers write none.
    file: Option<OwnedFd>,
    size: u64,
    most: Option<u64>,
    files: u32,
    journal: Option<Journal>,
}

impl Writer {
    /// The log in the bundle `directory`.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn new(directory: BorrowedFd<'_>, request: &LogRequest) -> Result<Self, Errno> {
        let directory = rustix::io::fcntl_dupfd_cloexec(directory, 3)?;
        let most = request.max_size.map(|most| most.max(SMALLEST));
        Ok(Self { directory, file: None, size: 0, most, files: request.max_file.unwrap_or(1).max(1), journal: None })
    }

    /// The same for the journal; the file gets what that does not take.
    #[must_use]
    pub fn telling(mut self, journal: Option<Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Appends the beginning of `output`: as much as goes into one record, or as the journal takes. How many bytes
    /// that were.
    ///
    /// # Errors
    /// Those of the file system; nothing is appended then.
    pub fn append(&mut self, channel: Channel, time: i64, output: &[u8]) -> io::Result<usize> {
        match &mut self.journal {
            None => return self.keep(channel, time, output),
            Some(journal) if journal.is_kept() => {}
            Some(journal) => {
                let taken = journal.take(channel, time, output);
                return if taken > 0 { Ok(taken) } else { self.keep_line(channel, time, output) };
            }
        }
        let count = self.keep(channel, time, output)?;
        if let (Some(journal), Some(output)) = (&mut self.journal, output.get(..count)) {
            journal.tell(channel, time, output);
        }
        Ok(count)
    }

    /// Appends the next line to the file, after what the journal holds of it.
    fn keep_line(&mut self, channel: Channel, time: i64, output: &[u8]) -> io::Result<usize> {
        self.keep_begun(channel, time)?;
        let end = output.iter().position(|byte| *byte == b'\n').map_or(output.len(), |at| at + 1);
        self.keep(channel, time, output.get(..end).unwrap_or_default())
    }

    /// Appends what the journal holds of a line to the file.
    fn keep_begun(&mut self, channel: Channel, time: i64) -> io::Result<()> {
        loop {
            let begun = self.journal.as_mut().map(|journal| std::mem::take(journal.begun(channel))).unwrap_or_default();
            let kept = self.keep(channel, time, &begun);
            let left = begun.get(*kept.as_ref().unwrap_or(&0)..).unwrap_or_default();
            if left.is_empty() {
                return kept.map(drop);
            }
            if let Some(journal) = &mut self.journal {
                *journal.begun(channel) = left.to_vec();
            }
            kept?;
        }
    }

    /// Appends to the file.
    fn keep(&mut self, channel: Channel, time: i64, output: &[u8]) -> io::Result<usize> {
        let room = self.most.map_or(MOST, |most| usize::try_from(most).unwrap_or(MOST).min(MOST) - HEAD - TAIL);
        let output = output.get(..room.min(output.len())).unwrap_or_default();
        let head = Head { length: output.len(), channel, time };
        if output.is_empty() {
            return Ok(0);
        }
        if self.file.is_none() {
            self.open()?;
        }
        if self.size > 0 && self.most.is_some_and(|most| self.size + head.record() > most) {
            self.rotate()?;
        }
        let written = self.write(&[&head.bytes(), output, &head.tail()]);
        match (&self.file, written) {
            (Some(file), Err(error)) => {
                // Half a record must not be in the way of the next one.
                let _ = rustix::fs::ftruncate(file, self.size);
                Err(error)
            }
            (_, Err(error)) => Err(error),
            (_, Ok(())) => {
                self.size += head.record();
                Ok(output.len())
            }
        }
    }

    fn write(&self, parts: &[&[u8]; 3]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut at = self.size;
        let mut parts = parts.map(io::IoSlice::new);
        let mut rest = parts.as_mut_slice();
        while !rest.is_empty() {
            let count = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, rest, at))?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += count as u64;
            io::IoSlice::advance_slices(&mut rest, count);
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.directory, CURRENT, flags, Mode::RUSR | Mode::WUSR)?;
        self.size = whole_until(file.as_fd())?;
        rustix::fs::ftruncate(&file, self.size)?;
        self.file = Some(file);
        Ok(())
    }

    /// Begins a new file; readers that have the old one open read it to its end.
    fn rotate(&mut self) -> io::Result<()> {
        let missing_is_fine = |outcome: Result<(), Errno>| match outcome {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        };
        let directory = &self.directory;
        // From the oldest on, so that nothing is overwritten that is to be kept.
        for number in (1..self.files.saturating_sub(1)).rev() {
            let (from, to) = (rotated(number), rotated(number + 1));
            missing_is_fine(rustix::fs::renameat(directory, from, directory, to))?;
        }
        if self.files > 1 {
            missing_is_fine(rustix::fs::renameat(directory, CURRENT, directory, rotated(1)))?;
        } else {
            missing_is_fine(rustix::fs::unlinkat(directory, CURRENT, AtFlags::empty()))?;
        }
        self.file = None;
        self.open()
    }
}

impl Drop for Writer {
    /// The last lines may lack their end.
    fn drop(&mut self) {
        let time = i64::try_from(crate::sys::clock::since_epoch().as_nanos()).unwrap_or(i64::MAX);
        for channel in [Channel::Output, Channel::Error] {
            if self.journal.as_mut().is_some_and(|journal| !journal.end(channel, time)) {
                // Nobody is left to try it again.
                let _ = self.keep_begun(channel, time);
            }
        }
    }
}

/// Up to where the file has records: all of it, but for a record that was torn at its
/// end. More than one record's worth was not torn but damaged, and records may follow: that stays.
///
/// # Errors
/// Those of reading.
pub fn whole_until(file: BorrowedFd<'_>) -> io::Result<u64> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    if size == 0 || record_before(file, size)?.is_some() {
        return Ok(size);
    }
    let mut at = 0;
    while let Some(head) = head_at(file, at)? {
        let end = at + head.record();
        if end > size || record_before(file, end)? != Some(head) {
            break;
        }
        at = end;
    }
    let torn = size - at <= (HEAD + MOST + TAIL) as u64;
    Ok(if torn { at } else { size })
}

/// The head of the record that begins at `at`, if one does.
///
/// # Errors
/// Those of reading.
pub fn head_at(file: BorrowedFd<'_>, at: u64) -> io::Result<Option<Head>> {
    Ok(read_at::<HEAD>(file, at)?.and_then(Head::read))
}

/// The head of the record that ends at `end`, if one does.
///
/// # Errors
/// Those of reading.
pub fn record_before(file: BorrowedFd<'_>, end: u64) -> io::Result<Option<Head>> {
    let Some(tail_at) = end.checked_sub(TAIL as u64) else { return Ok(None) };
    let Some(length) = read_at::<TAIL>(file, tail_at)?.and_then(length_of_tail) else { return Ok(None) };
    let Some(at) = tail_at.checked_sub((length + HEAD) as u64) else { return Ok(None) };
    Ok(head_at(file, at)?.filter(|head| head.length == length))
}

/// So many bytes from there; none if there are fewer.
fn read_at<const N: usize>(file: BorrowedFd<'_>, at: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match rustix::io::pread(file, rest, at + filled as u64) {
            Ok(0) => return Ok(None),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(bytes))
}
