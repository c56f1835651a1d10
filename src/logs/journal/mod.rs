//! What a container writes, in systemd's journal: `--log-driver journald`.
//!
//! An entry a line, with docker's field names. What the journal does not take goes into the
//! file of the log (see [`super::writer`]), and `pybox logs` shows both as one. On a host whose
//! journal its user may not read, all of it goes into the file as well; such entries are marked,
//! so that nobody shows them twice.

pub mod entry;
pub mod export;

use std::path::Path;
use std::time::Duration;

use self::entry::{Entry, Sender};
use super::format::Channel;

/// A longer line goes into several entries, as docker has it; far below what a datagram takes.
const LONGEST: usize = 16 << 10;
/// How long one entry may wait for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the program's output was read, in nanoseconds since the epoch.
pub const TIME: &str = "PYBOX_TIME";
/// Is there if the line stands in the file of the log, too.
pub const KEPT: &str = "PYBOX_KEPT";
/// What happened, in an entry that is an event.
pub const EVENT: &str = "PYBOX_EVENT";
/// The object that it happened to.
pub const EVENT_ID: &str = "PYBOX_ID";
/// The container whose output a line is.
pub const CONTAINER: &str = "CONTAINER_ID_FULL";
/// Is there if the line goes on in the next entry of its stream.
pub const PARTIAL: &str = "CONTAINER_PARTIAL_MESSAGE";

/// Whose output it is.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The id, all of it.
    pub id: &'a str,
    /// The name.
    pub name: &'a str,
    /// The image as it was typed.
    pub image: &'a str,
    /// What `--log-opt tag=` says.
    pub tag: Option<&'a str>,
}

impl Subject<'_> {
    fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(self.id)
    }

    /// Replaces the words of a tag; those that there are none of were refused with the flag.
    fn expand(&self, tag: &str) -> String {
        let words = [("ID", self.short()), ("FullID", self.id), ("Name", self.name), ("ImageName", self.image)];
        let mut text = String::new();
        let mut rest = tag;
        while let Some((before, (word, after))) =
            rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
        {
            text.push_str(before);
            let found = words.iter().find(|(name, _)| word.trim().strip_prefix('.') == Some(name));
            text.push_str(found.map_or("", |(_, value)| value));
            rest = after;
        }
        text + rest
    }
}

/// The journal, for one container.
#[derive(Debug)]
pub struct Journal {
    sender: Sender,
    /// What every entry has.
    fields: Entry,
    /// Lines of standard output and of standard error that have no end yet.
    begun: [Vec<u8>; 2],
    is_kept: bool,
}

impl Journal {
    /// Entries about `subject`, with more fields if some are wished for. If it `is_kept`, the file has all of it, too.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn new<'f>(
        subject: Subject<'_>,
        more: impl IntoIterator<Item = (&'f str, &'f str)>,
        is_kept: bool,
    ) -> std::io::Result<Self> {
        Self::with(Sender::new(Some(PATIENCE))?, subject, more, is_kept)
    }

    fn with<'f>(
        sender: Sender,
        subject: Subject<'_>,
        more: impl IntoIterator<Item = (&'f str, &'f str)>,
        is_kept: bool,
    ) -> std::io::Result<Self> {
        let tag = subject.tag.map(|tag| subject.expand(tag));
        let mut fields = Entry::default()
            .with("CONTAINER_ID", subject.short())
            .with(CONTAINER, subject.id)
            .with("CONTAINER_NAME", subject.name)
            .with("CONTAINER_TAG", tag.as_deref().unwrap_or(subject.short()))
            .with("IMAGE_NAME", subject.image)
            .with("SYSLOG_IDENTIFIER", tag.as_deref().unwrap_or(subject.name));
        more.into_iter().for_each(|(name, value)| fields.add(name, value));
        if is_kept {
            fields.add(KEPT, "1");
        }
        Ok(Self { sender, fields, begun: [Vec::new(), Vec::new()], is_kept })
    }

    /// Whether the file is to have all of it, too.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Takes what came from the program, up to the first line that cannot be sent: how many bytes that were. A
    /// line is sent when its end has come; until then its beginning is held here.
    pub fn take(&mut self, channel: Channel, time: i64, output: &[u8]) -> usize {
        let mut taken = 0;
        for piece in output.split_inclusive(|byte| *byte == b'\n') {
            let count = self.piece(channel, time, piece);
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        taken
    }

    /// Takes what is kept elsewhere too: what cannot be sent is passed over.
    pub fn tell(&mut self, channel: Channel, time: i64, output: &[u8]) {
        for piece in output.split_inclusive(|byte| *byte == b'\n') {
            if self.piece(channel, time, piece) < piece.len() {
                self.begun(channel).clear();
            }
        }
    }

    /// The beginning of a line that was taken and not sent; whoever empties it has put it elsewhere.
    pub fn begun(&mut self, channel: Channel) -> &mut Vec<u8> {
        let [output, error] = &mut self.begun;
        match channel {
            Channel::Output => output,
            Channel::Error => error,
        }
    }

    /// Sends what has begun on `channel` as it is; false if it cannot be sent, and stays.
    pub fn end(&mut self, channel: Channel, time: i64) -> bool {
        let line = std::mem::take(self.begun(channel));
        let sent = line.is_empty() || self.send(channel, time, (&line, true));
        if !sent {
            *self.begun(channel) = line;
        }
        sent
    }

    /// A line, its end, or a part of it.
    fn piece(&mut self, channel: Channel, time: i64, piece: &[u8]) -> usize {
        let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
        let mut line = std::mem::take(self.begun(channel));
        let mut taken = 0;
        loop {
            let before = line.len();
            let rest = text.get(taken..).unwrap_or_default();
            let part = rest.get(..rest.len().min(LONGEST.saturating_sub(before))).unwrap_or_default();
            let is_last = part.len() == rest.len();
            line.extend_from_slice(part);
            if is_last && !ends {
                *self.begun(channel) = line;
                return piece.len();
            }
            if !self.send(channel, time, (&line, !is_last)) {
                line.truncate(before);
                *self.begun(channel) = line;
                return taken;
            }
            if is_last {
                return piece.len();
            }
            taken += part.len();
            line.clear();
        }
    }

    fn send(&mut self, channel: Channel, time: i64, (message, partial): (&[u8], bool)) -> bool {
        let priority = match channel {
            Channel::Output => "6",
            Channel::Error => "3",
        };
        let mut entry = self.fields.clone().with("PRIORITY", priority).with(TIME, time.to_string());
        if partial {
            entry.add(PARTIAL, "true");
        }
        entry.add("MESSAGE", message);
        self.sender.send(&entry).is_ok()
    }
}

/// Whether the user whom we run as may read again what is told to the journal.
pub fn is_readable() -> bool {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    is_readable_in(Path::new("/var/log/journal"), Path::new("/run/log/journal"), uid, machine.trim())
}

fn is_readable_in(persistent: &Path, volatile: &Path, uid: u32, machine: &str) -> bool {
    let may_read = |path: &Path| rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok();
    // Root, and the groups systemd-journal and adm.
    if uid == 0 || [persistent, volatile].iter().any(|place| may_read(&place.join(machine).join("system.journal"))) {
        return true;
    }
    // Users of people have a file of their own, with the first entry, where the journal is on disk (journald.conf(5),
    // SplitMode=); those of services write to the system's, and so does everybody where it is in memory.
    let is_person = (1000..61184).contains(&uid) || (65536..2_147_483_648).contains(&uid);
    is_person && persistent.join(machine).is_dir()
}

#[cfg(test)]
mod tests;
