//! A log on its way to our standard output and standard error.

use std::io::Write as _;
use std::os::fd::AsFd as _;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::engine::api::{Failure, FailureKind, LogShown, ShowLog};
use crate::logs::format::Channel;
use crate::logs::reader::Entry;

/// Small records are collected up to this.
const ENOUGH: usize = 64 << 10;

/// Why no more can be shown.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Nobody reads any more.
    Gone,
    /// It cannot be written.
    Refused(Channel, Errno),
}

impl Stopped {
    /// A reader that has gone is no failure.
    pub(super) fn answer(self) -> Result<LogShown, Failure> {
        let (stream, error) = match self {
            Self::Gone => return Ok(LogShown {}),
            Self::Refused(Channel::Output, error) => ("output", error),
            Self::Refused(Channel::Error, error) => ("error", error),
        };
        Err(Failure::say(FailureKind::Host, format!("write standard {stream}: {error}")))
    }
}

/// Where it goes, and what of it.
#[derive(Debug)]
pub(super) struct Output {
    /// Nanoseconds since the epoch, as the log has them.
    since: Option<i64>,
    until: Option<i64>,
    timestamps: bool,
    /// Whether a line of standard output, and of standard error, is not at its end.
    within: [bool; 2],
    /// What was collected, and for whom.
    collected: Vec<u8>,
    channel: Channel,
}

impl Output {
    pub(super) fn new(show: &ShowLog) -> Self {
        let nanoseconds = |millis: i64| millis.saturating_mul(1_000_000);
        Self {
            since: show.since.map(nanoseconds),
            until: show.until.map(nanoseconds),
            timestamps: show.timestamps,
            within: [false; 2],
            collected: Vec::new(),
            channel: Channel::Output,
        }
    }

    /// Shows a record, or collects it.
    pub(super) fn show(&mut self, entry: &Entry<'_>) -> Result<(), Stopped> {
        if self.since.is_some_and(|since| entry.time < since) || self.until.is_some_and(|until| entry.time > until) {
            return Ok(());
        }
        if entry.channel != self.channel {
            // Both may be the same terminal: the order is kept.
            self.flush()?;
            self.channel = entry.channel;
        }
        if self.timestamps {
            self.stamp(entry);
        } else if self.collected.is_empty() && entry.output.len() >= ENOUGH {
            return write(entry.channel, entry.output);
        } else {
            self.collected.extend_from_slice(entry.output);
        }
        if self.collected.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    /// Collects it with the time before each line.
    fn stamp(&mut self, entry: &Entry<'_>) {
        let [output, error] = &mut self.within;
        let within = if entry.channel == Channel::Output { output } else { error };
        let stamp = timestamp(entry.time);
        for line in entry.output.split_inclusive(|byte| *byte == b'\n') {
            if !*within {
                let _ = write!(self.collected, "{stamp} ");
            }
            self.collected.extend_from_slice(line);
            *within = !line.ends_with(b"\n");
        }
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        let done = write(self.channel, &self.collected);
        self.collected.clear();
        done
    }
}

fn write(channel: Channel, mut bytes: &[u8]) -> Result<(), Stopped> {
    let to = match channel {
        Channel::Output => rustix::stdio::stdout(),
        Channel::Error => rustix::stdio::stderr(),
    };
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody else has made it so; it is theirs.
            Err(Errno::AGAIN) => {
                let to = to.as_fd();
                let _ = rustix::event::poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(Errno::PIPE) => return Err(Stopped::Gone),
            Err(error) => return Err(Stopped::Refused(channel, error)),
        }
    }
    Ok(())
}

/// RFC 3339 with nine digits, in UTC, as docker has it.
fn timestamp(nanoseconds: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into());
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!("{date}T{:02}:{:02}:{:02}.{:09}Z", time.hour(), time.minute(), time.second(), time.nanosecond())
}

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    i64::try_from(crate::sys::clock::since_epoch().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_one_time() {
        let mut output = Output::new(&ShowLog { timestamps: true, ..ShowLog::default() });
        let mut show = |time, channel, bytes: &[u8]| {
            output.stamp(&Entry { channel, time, output: bytes });
            String::from_utf8(std::mem::take(&mut output.collected)).expect("utf-8")
        };
        let second = 1_700_000_000_000_000_000;
        let (first, later) = ("2023-11-14T22:13:20.000000000Z", "2023-11-14T22:13:20.000000042Z");
        assert_eq!(show(second, Channel::Output, b"a\nb"), format!("{first} a\n{first} b"));
        assert_eq!(show(second + 42, Channel::Error, b"e\n"), format!("{later} e\n"));
        // The rest of a line has no time of its own.
        assert_eq!(show(second + 42, Channel::Output, b"c\n\n"), format!("c\n{later} \n"));
    }
}
