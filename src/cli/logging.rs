//! What the rooms below say through `tracing`, on standard error; where that is the journal (systemd.exec(5),
//! `JOURNAL_STREAM`), as entries with a priority.
//!
//! A subscriber of our own, because `run` is over in milliseconds and a
//! registry of spans would be made for nothing: we show events only. Other
//! crates are heard at the level `trace`.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::logs::journal::entry::{Entry, Sender};
use crate::sys::wait::read_out_within;

/// How much is told; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing.
    Off,
    /// Failures that a verb survives.
    Error,
    /// Things to know: the default.
    Warning,
    /// What is done.
    Info,
    /// How it is done.
    Debug,
    /// All that is said, by other crates too.
    Trace,
}

impl Level {
    /// The words that [`Level::parse`] takes, docker's among them.
    pub(crate) const WORDS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Reads a level, in any case.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "off" | "fatal" | "panic" => Some(Self::Off),
            "error" => Some(Self::Error),
            "warn" | "warning" => Some(Self::Warning),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }

    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }

    /// As syslog counts.
    fn priority(self) -> &'static str {
        match self {
            Self::Off | Self::Error => "3",
            Self::Warning => "4",
            Self::Info => "6",
            Self::Debug | Self::Trace => "7",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Shows events up to `level` from now on, in the whole process.
pub(crate) fn start(level: Level) {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let journal = stream
        .filter(|stream| is_stream(stream, rustix::stdio::stderr()))
        .and_then(|_| Sender::new(Some(PATIENCE)).ok());
    // Only a second call could fail; the first one's level stays then.
    let _ = tracing::subscriber::set_global_default(Stderr { level, journal: journal.map(Mutex::new) });
}

/// Gives journald time to find out whose line it was that came last, if we are a unit's process and our streams lead
/// there. It asks /proc for the unit of a user's process, and of one that has gone `journalctl --user -u` shows nothing.
pub(crate) fn last_word() {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return };
    // The journal takes all lines of a stream for those of the process that systemd began; which one that is, systemd
    // says since 248.
    let first = std::env::var("SYSTEMD_EXEC_PID");
    if first.is_ok_and(|pid| pid != std::process::id().to_string()) {
        return;
    }
    let ours = [rustix::stdio::stderr(), rustix::stdio::stdout()].into_iter().find(|fd| is_stream(&stream, *fd));
    if let Some(socket) = ours.filter(|socket| !read_out_within(socket, Duration::ZERO))
        && read_out_within(socket, PATIENCE)
    {
        std::thread::sleep(LOOKING_UP);
    }
}

/// From the reading of a line to the last file of /proc that journald reads for it; a tenth of it on a machine that rests.
const LOOKING_UP: Duration = Duration::from_millis(10);

/// How long an entry may wait for room in the journal before it goes to standard error.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whether `fd` is the file of this device and number; the variable is inherited by who has another one.
fn is_stream(stream: &str, fd: BorrowedFd<'_>) -> bool {
    let stat = rustix::fs::fstat(fd);
    stat.is_ok_and(|stat| is_file(stream, (stat.st_dev, stat.st_ino)))
}

fn is_file(stream: &str, (device, number): (u64, u64)) -> bool {
    let named = stream.split_once(':').and_then(|(device, number)| Some((device.parse().ok()?, number.parse().ok()?)));
    named == Some((device, number))
}

struct Stderr {
    level: Level,
    journal: Option<Mutex<Sender>>,
}

impl Stderr {
    /// Tells the journal, if that is where standard error leads; false if it was not told.
    fn tell(&self, level: Level, metadata: &Metadata<'_>, message: &str) -> bool {
        let Some(mut journal) = self.journal.as_ref().and_then(|journal| journal.lock().ok()) else { return false };
        let entry = Entry::default()
            .with("MESSAGE", message)
            .with("PRIORITY", level.priority())
            .with("SYSLOG_IDENTIFIER", "pybox")
            .with("PYBOX_TARGET", metadata.target());
        journal.send(&entry).is_ok()
    }
}

impl Subscriber for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("pybox") || self.level == Level::Trace;
        ours && metadata.is_event() && Level::of(*metadata.level()) <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        use tracing::level_filters::LevelFilter;
        Some(match self.level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warning => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let level = Level::of(*event.metadata().level());
        let mut message = String::new();
        event.record(&mut Line(&mut message));
        if self.tell(level, event.metadata(), &message) {
            return;
        }
        let line = format!("pybox: {}: {message}\n", level.word());
        // One write, so that lines of several processes do not mix. A closed
        // standard error leaves nowhere to complain.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    // Spans are never enabled: these are not reached.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message first, then `name=value`.
struct Line<'l>(&'l mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.0.push_str(value),
            name => {
                let _ = write!(self.0, " {name}={value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_file() {
        assert!(is_file("8:1234", (8, 1234)));
        for stream in ["8:1235", "9:1234", "8", "8:", "8:1234:5", "", "8:x"] {
            assert!(!is_file(stream, (8, 1234)), "{stream}");
        }
    }

    #[test]
    fn words_are_levels() {
        for word in Level::WORDS {
            assert!(Level::parse(word).is_some(), "{word}");
        }
        assert_eq!(Level::parse("WARNING"), Some(Level::Warning));
        assert_eq!(Level::parse("verbose"), None);
        assert!(Level::Off < Level::Error && Level::Error < Level::Trace);
    }
}
