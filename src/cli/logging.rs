//! What the rooms below say through `tracing`, on standard error.
//!
//! A subscriber of our own, because `run` is over in milliseconds and a
//! registry of spans would be made for nothing: we show events only. Other
//! crates are heard at the level `trace`.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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
    // Only a second call could fail; the first one's level stays then.
    let _ = tracing::subscriber::set_global_default(Stderr { level });
}

struct Stderr {
    level: Level,
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
        let mut line = format!("pybox: {}: ", level.word());
        event.record(&mut Line(&mut line));
        line.push('\n');
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
    fn words_are_levels() {
        for word in Level::WORDS {
            assert!(Level::parse(word).is_some(), "{word}");
        }
        assert_eq!(Level::parse("WARNING"), Some(Level::Warning));
        assert_eq!(Level::parse("verbose"), None);
        assert!(Level::Off < Level::Error && Level::Error < Level::Trace);
    }
}
