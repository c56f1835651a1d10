//! What `journalctl --output=export` prints, read again (systemd.io/JOURNAL_EXPORT_FORMATS).
//!
//! Text fields are `NAME=value` and a line end; others are a name, a line end, a length of
//! eight bytes, and that many bytes. An empty line ends an entry. Nothing but our own fields is
//! understood here, and nothing is assumed of what stands in them: a container has written it.

use super::super::format::Channel;
use super::{EVENT, KEPT, PARTIAL, TIME};

/// The fields that are needed, for `--output-fields`; journalctl adds the cursor and times itself.
pub const FIELDS: [&str; 6] = ["MESSAGE", "PRIORITY", PARTIAL, TIME, KEPT, EVENT];

/// More than journald keeps of one field.
const MOST: usize = 64 << 20;

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it stands in the journal, for `--after-cursor`.
    pub cursor: String,
    /// Nanoseconds since the epoch.
    pub time: i64,
    /// What that is.
    pub what: What,
}

/// Kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Output of a container, with the end of its line if it has one.
    Output(Channel, Vec<u8>),
    /// Something happened to it: `start`, `die`, …
    Event(String),
    /// Output that stands in the file of the log as well.
    Kept,
}

/// It is not what journalctl prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journalctl prints something else than its export format")]
pub struct Garbled;

/// Reads entries from bytes as they come.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    at: usize,
    entry: Fields,
}

#[derive(Debug, Default)]
struct Fields {
    cursor: String,
    message: Vec<u8>,
    priority: Vec<u8>,
    partial: bool,
    /// Nanoseconds by whoever sent it, and microseconds by the journal.
    times: (Option<i64>, Option<i64>),
    kept: bool,
    event: Option<String>,
    any: bool,
}

enum Step<'b> {
    Field(&'b [u8], &'b [u8], usize),
    End(usize),
    More,
}

impl Parser {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry; none if it is not there to its end.
    ///
    /// # Errors
    /// If that is no entry.
    pub fn entry(&mut self) -> Result<Option<Told>, Garbled> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            match step(rest)? {
                Step::More => return Ok(None),
                Step::Field(name, value, length) => {
                    self.entry.take(name, value);
                    self.at += length;
                }
                Step::End(length) => {
                    self.at += length;
                    let entry = std::mem::take(&mut self.entry);
                    if entry.any {
                        return Ok(Some(entry.told()));
                    }
                }
            }
        }
    }
}

/// What the bytes begin with.
fn step(bytes: &[u8]) -> Result<Step<'_>, Garbled> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > MOST { Err(Garbled) } else { Ok(Step::More) };
    };
    let (line, after) = bytes.split_at(end);
    if line.is_empty() {
        return Ok(Step::End(1));
    }
    let equals = line.iter().position(|byte| *byte == b'=');
    let (name, value) = equals.map_or((line, None), |at| (&line[..at], line.get(at + 1..)));
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_') {
        return Err(Garbled);
    }
    if let Some(value) = value {
        return Ok(Step::Field(name, value, end + 1));
    }
    let Some((length, data)) = after.get(1..).and_then(|after| after.split_first_chunk::<8>()) else {
        return Ok(Step::More);
    };
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= MOST).ok_or(Garbled)?;
    match (data.get(..length), data.get(length)) {
        (Some(value), Some(b'\n')) => Ok(Step::Field(name, value, end + 1 + 8 + length + 1)),
        (Some(_), Some(_)) => Err(Garbled),
        _ => Ok(Step::More),
    }
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        self.any = true;
        let text = || String::from_utf8_lossy(value).into_owned();
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        match std::str::from_utf8(name).unwrap_or_default() {
            "__CURSOR" => self.cursor = text(),
            "__REALTIME_TIMESTAMP" => self.times.1 = number(),
            "MESSAGE" => self.message = value.to_vec(),
            "PRIORITY" => self.priority = value.to_vec(),
            PARTIAL => self.partial = value == b"true",
            TIME => self.times.0 = number(),
            KEPT => self.kept = true,
            EVENT => self.event = Some(text()),
            _ => {}
        }
    }

    fn told(mut self) -> Told {
        let (by_sender, by_journal) = self.times;
        let time = by_sender.unwrap_or_else(|| by_journal.unwrap_or(0).saturating_mul(1000));
        let channel = if self.priority == b"3" { Channel::Error } else { Channel::Output };
        if !self.partial {
            self.message.push(b'\n');
        }
        let what = match self.event {
            Some(event) => What::Event(event),
            None if self.kept => What::Kept,
            None => What::Output(channel, self.message),
        };
        Told { cursor: self.cursor, time, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    fn read(bytes: &[u8], at_once: usize) -> Result<Vec<Told>, Garbled> {
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for part in bytes.chunks(at_once) {
            parser.push(part);
            while let Some(told) = parser.entry()? {
                all.push(told);
            }
        }
        Ok(all)
    }

    fn output(cursor: &str, time: i64, channel: Channel, bytes: &[u8]) -> Told {
        Told { cursor: cursor.to_owned(), time, what: What::Output(channel, bytes.to_vec()) }
    }

    #[test]
    fn entries_are_read_however_they_come() {
        let bytes = [
            b"__CURSOR=s=a;i=1\n__REALTIME_TIMESTAMP=5\nMESSAGE=a=b\nPRIORITY=6\nPYBOX_TIME=4999\n_UID=1000\n\n"
                .to_vec(),
            b"__CURSOR=c2\n__REALTIME_TIMESTAMP=6\n".to_vec(),
            binary("MESSAGE", b"\n\nMESSAGE=\0\xff\n\n"),
            b"PRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\n\n".to_vec(),
            b"\n__CURSOR=c3\nMESSAGE=\nPRIORITY=6\nPYBOX_TIME=7\n\n".to_vec(),
            b"__CURSOR=c4\nMESSAGE=it died\nPYBOX_EVENT=die\nPYBOX_TIME=8\n\n".to_vec(),
            b"__CURSOR=c5\nMESSAGE=twice\nPYBOX_KEPT=1\nPYBOX_TIME=9\n\n".to_vec(),
            b"__CURSOR=c6\nMESSAGE=not yet whole\n".to_vec(),
        ]
        .concat();
        let expected = [
            output("s=a;i=1", 4999, Channel::Output, b"a=b\n"),
            output("c2", 6000, Channel::Error, b"\n\nMESSAGE=\0\xff\n\n"),
            output("c3", 7, Channel::Output, b"\n"),
            Told { cursor: "c4".to_owned(), time: 8, what: What::Event("die".to_owned()) },
            Told { cursor: "c5".to_owned(), time: 9, what: What::Kept },
        ];
        for at_once in [1, 2, 7, 64, bytes.len()] {
            assert_eq!(read(&bytes, at_once).expect("entries"), expected, "{at_once} bytes at once");
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for bytes in [
            b"-- No entries --\n".to_vec(),
            b"=x\n".to_vec(),
            b"lower=x\n".to_vec(),
            [b"MESSAGE\n".as_slice(), &u64::MAX.to_le_bytes()].concat(),
            [b"MESSAGE\n".as_slice(), &1u64.to_le_bytes(), b"xy"].concat(),
        ] {
            assert_eq!(read(&bytes, bytes.len()), Err(Garbled), "{}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(read(b"", 1), Ok(Vec::new()));
    }
}
