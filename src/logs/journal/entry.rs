//! One entry of systemd's journal, and its way there: the journal's own protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram an entry.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a journal that took nothing in time is left alone.
const REST: Duration = Duration::from_secs(2);

/// Fields, in the form in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// Adds a field, with its length, so that its value may hold any byte.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        // A vector takes all.
        let _ = writeln!(self.0, "{name}");
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// The same, in a row.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value);
        self
    }
}

/// What entries are sent by.
#[derive(Debug)]
pub struct Sender {
    socket: UnixDatagram,
    path: PathBuf,
    /// Until when nothing is tried: each try could take as long as the last one.
    rests_until: Option<Instant>,
}

impl Sender {
    /// To the journal of this machine. An entry may wait so long for room; not at all, if that is none.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn new(patience: Option<Duration>) -> io::Result<Self> {
        Self::to(Path::new(SOCKET), patience)
    }

    /// To whoever listens at `path`.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn to(path: &Path, patience: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match patience {
            Some(patience) => socket.set_write_timeout(Some(patience))?,
            None => socket.set_nonblocking(true)?,
        }
        Ok(Self { socket, path: path.to_owned(), rests_until: None })
    }

    /// Sends one.
    ///
    /// # Errors
    /// If nobody listens, or has no room for it in time.
    pub fn send(&mut self, entry: &Entry) -> io::Result<()> {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.rests_until = None;
        // By its path each time: a journald that was started again listens anew.
        let sent = self.socket.send_to(&entry.0, &self.path);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.rests_until = Some(Instant::now() + REST);
        }
        sent.map(drop)
    }
}

/// The fields of an entry, as `NAME=value`.
#[cfg(test)]
pub(crate) fn fields(mut entry: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    while let Some(at) = entry.iter().position(|byte| *byte == b'\n') {
        let name = String::from_utf8_lossy(&entry[..at]).into_owned();
        let length = u64::from_le_bytes(entry[at + 1..at + 9].try_into().expect("eight bytes")) as usize;
        fields.push(format!("{name}={}", String::from_utf8_lossy(&entry[at + 9..at + 9 + length])));
        entry = &entry[at + 9 + length + 1..];
    }
    fields
}
