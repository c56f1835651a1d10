//! What a container writes, told to systemd's journal too: `--log-driver journald`.
//!
//! An entry a line, with docker's field names, in the journal's own protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL). The file is written all the same, so `pybox logs`
//! shows everything whatever becomes of the journal, and a journal that does not listen
//! holds nobody up for long.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::format::Channel;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// A longer line goes into several entries, as docker has it; far below what a datagram takes.
const LONGEST: usize = 16 << 10;
/// How long one entry may wait for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose output it is.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The id, all of it.
    pub id: &'a str,
    /// The name.
    pub name: &'a str,
    /// The image as it was typed.
    pub image: &'a str,
}

/// The journal, for one container.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    /// What every entry has.
    fields: Vec<u8>,
    /// Lines of standard output and of standard error that have no end yet.
    begun: [Vec<u8>; 2],
}

impl Journal {
    /// Entries about `subject`.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn new(subject: Subject<'_>) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let short = subject.id.get(..12).unwrap_or(subject.id);
        let mut fields = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", subject.id),
            ("CONTAINER_NAME", subject.name),
            ("CONTAINER_TAG", short),
            ("IMAGE_NAME", subject.image),
            ("SYSLOG_IDENTIFIER", subject.name),
        ] {
            field(&mut fields, name, value.as_bytes());
        }
        Ok(Self { socket, fields, begun: [Vec::new(), Vec::new()] })
    }

    /// Tells what came from the program; a line is told when its end has come.
    pub fn tell(&mut self, channel: Channel, output: &[u8]) {
        self.tell_to(Path::new(SOCKET), channel, output);
    }

    fn tell_to(&mut self, socket: &Path, channel: Channel, output: &[u8]) {
        for piece in output.split_inclusive(|byte| *byte == b'\n') {
            let mut line = std::mem::take(self.begun(channel));
            line.extend_from_slice(piece);
            let ends = line.last() == Some(&b'\n');
            if ends {
                line.pop();
            }
            while line.len() > LONGEST {
                let rest = line.split_off(LONGEST);
                self.send(socket, channel, (&line, true));
                line = rest;
            }
            if ends {
                self.send(socket, channel, (&line, false));
            } else {
                *self.begun(channel) = line;
            }
        }
    }

    fn begun(&mut self, channel: Channel) -> &mut Vec<u8> {
        let [output, error] = &mut self.begun;
        match channel {
            Channel::Output => output,
            Channel::Error => error,
        }
    }

    /// Sends one entry. The file has what the journal does not take.
    fn send(&self, socket: &Path, channel: Channel, (message, partial): (&[u8], bool)) {
        let mut entry = self.fields.clone();
        let priority: &[u8] = match channel {
            Channel::Output => b"6",
            Channel::Error => b"3",
        };
        field(&mut entry, "PRIORITY", priority);
        if partial {
            field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut entry, "MESSAGE", message);
        // By its path each time: a journald that was started again listens anew.
        let _ = self.socket.send_to(&entry, socket);
    }
}

impl Drop for Journal {
    /// What the last lines lack is their end.
    fn drop(&mut self) {
        for channel in [Channel::Output, Channel::Error] {
            let line = std::mem::take(self.begun(channel));
            if !line.is_empty() {
                self.send(Path::new(SOCKET), channel, (&line, false));
            }
        }
    }
}

/// A field with its length, so that its value may hold any byte.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    // A vector takes all.
    let _ = writeln!(entry, "{name}");
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of an entry, as `NAME=value`.
    fn fields(mut entry: &[u8]) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(at) = entry.iter().position(|byte| *byte == b'\n') {
            let name = String::from_utf8_lossy(&entry[..at]).into_owned();
            let length = u64::from_le_bytes(entry[at + 1..at + 9].try_into().expect("eight bytes")) as usize;
            fields.push(format!("{name}={}", String::from_utf8_lossy(&entry[at + 9..at + 9 + length])));
            entry = &entry[at + 9 + length + 1..];
        }
        fields
    }

    #[test]
    fn lines_become_entries() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("socket");
        let listener = UnixDatagram::bind(&path).expect("bind");
        listener.set_nonblocking(true).expect("a flag");
        let subject = Subject { id: "0123456789abcdef", name: "web", image: "debian:12" };
        let mut journal = Journal::new(subject).expect("a socket");
        journal.tell_to(&path, Channel::Output, b"one\ntw");
        journal.tell_to(&path, Channel::Error, b"oh\n");
        journal.tell_to(&path, Channel::Output, b"o\n\n");
        journal.tell_to(&path, Channel::Output, &[[b'x'; LONGEST + 3].as_slice(), b"\n"].concat());
        let mut buffer = vec![0; 64 << 10];
        let mut told = Vec::new();
        while let Ok(count) = listener.recv(&mut buffer) {
            told.push(fields(&buffer[..count]));
        }
        let of = |entry: &Vec<String>, name: &str| {
            let found = entry.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
            found.unwrap_or_default()
        };
        let lines: Vec<String> = told.iter().map(|entry| of(entry, "MESSAGE").chars().take(5).collect()).collect();
        assert_eq!(lines, ["one", "oh", "two", "", "xxxxx", "xxx"]);
        let priorities: Vec<String> = told.iter().map(|entry| of(entry, "PRIORITY")).collect();
        assert_eq!(priorities, ["6", "3", "6", "6", "6", "6"]);
        let partial: Vec<String> = told.iter().map(|entry| of(entry, "CONTAINER_PARTIAL_MESSAGE")).collect();
        assert_eq!(partial, ["", "", "", "", "true", ""]);
        let first = &told[0];
        assert_eq!((of(first, "CONTAINER_ID"), of(first, "CONTAINER_NAME")), ("0123456789ab".into(), "web".into()));
        assert_eq!((of(first, "CONTAINER_ID_FULL"), of(first, "IMAGE_NAME")), (subject.id.into(), "debian:12".into()));
    }

    #[test]
    fn nobody_who_listens_is_no_fault() {
        let mut journal = Journal::new(Subject { id: "0", name: "web", image: "x" }).expect("a socket");
        journal.tell_to(Path::new("/nonexistent/socket"), Channel::Output, b"lost\n");
    }
}
