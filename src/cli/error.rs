//! Problems: what the user is told, and the code we exit with.
//!
//! One sentence after `pybox: `, its causes after colons, then a line `hint: `
//! with a command to type. The codes are docker's: 125 if `run` or a command
//! line itself is at fault, 126 and 127 for a container's command that cannot
//! be executed or is not there, 1 for any other verb, 130 after an interrupt.

use std::fmt;
use std::io::{self, Write};

use crate::engine::api::{Failure, FailureKind};
use crate::model::flags::InvalidFlag;

/// The exit code for a command line that makes no sense, and of a `run` that
/// did not get as far as its container.
pub(crate) const OURS: u8 = 125;

/// The exit code for any other verb that failed.
const FAILED: u8 = 1;

/// What to do about a fault of ours.
const REPORT: &str = "pybox --debug … shows more; please report it";

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The user: what was asked for cannot be.
    User,
    /// Whoever sets up this machine or account.
    Config,
    /// We: a fault of the program.
    Internal,
    /// Nobody: whoever read our output has gone.
    Silent,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    sort: Sort,
    message: String,
    hint: Option<String>,
    code: Option<u8>,
    /// Whether it is only that something is not there.
    missing: bool,
}

impl Problem {
    fn new(sort: Sort, message: impl Into<String>) -> Self {
        Self { sort, message: message.into(), hint: None, code: None, missing: false }
    }

    /// The user asked for what cannot be.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(Sort::User, message)
    }

    /// The machine or the account is not set up for it.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Sort::Config, message)
    }

    /// A fault of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Sort::Internal, message).hint(REPORT)
    }

    /// The same, with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same; if it is that something is not there, and nobody has better
    /// advice, with a command that shows what is.
    #[must_use]
    pub(crate) fn hint_if_missing(mut self, hint: &str) -> Self {
        if self.missing && self.hint.is_none() {
            self.hint = Some(hint.to_owned());
        }
        self
    }

    /// The same, with this exit code whatever the verb.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// With `--force`, turns "there is no such thing" into nothing but a line on
    /// standard error, as docker does.
    ///
    /// # Errors
    /// Every other problem.
    pub(crate) fn forgive_missing<T>(done: Result<T, Self>, force: bool) -> Result<Option<T>, Self> {
        match done {
            Err(problem) if force && problem.missing => {
                let _ = problem.write(&mut io::stderr().lock(), Paint::Plain);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Turns "there is no such thing" into nothing at all.
    ///
    /// # Errors
    /// Every other problem.
    pub(crate) fn ignore_missing<T>(done: Result<T, Self>) -> Result<Option<T>, Self> {
        match done {
            Err(problem) if problem.missing => Ok(None),
            done => done.map(Some),
        }
    }

    /// The exit code: `fallback` is the verb's own for failures without a code.
    pub(crate) fn exit_code(&self, fallback: Fallback) -> u8 {
        self.code.unwrap_or(match fallback {
            Fallback::Run => OURS,
            Fallback::Other => FAILED,
        })
    }

    /// Writes the sentence and the hint; nothing for a reader that has gone.
    ///
    /// # Errors
    /// If `output` cannot be written.
    pub(crate) fn write(&self, output: &mut dyn Write, paint: Paint) -> io::Result<()> {
        if self.sort == Sort::Silent {
            return Ok(());
        }
        writeln!(output, "pybox: {}", one_line(&self.message))?;
        if let Some(hint) = &self.hint {
            let (on, off) = paint.bold();
            writeln!(output, "{on}hint:{off} {}", one_line(hint))?;
        }
        Ok(())
    }
}

/// Which code a failure without one of its own gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// That of `run`.
    Run,
    /// That of other verbs.
    Other,
}

/// Whether output is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Plain text.
    Plain,
    /// With escape sequences.
    Colour,
}

impl Paint {
    fn bold(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("", ""),
            Self::Colour => ("\u{1b}[1m", "\u{1b}[0m"),
        }
    }
}

/// Text that may have come from a registry or an image must not move the
/// cursor or paint the terminal.
fn one_line(text: &str) -> String {
    let text = without_errno(text);
    let visible = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.trim_end().chars().map(visible).collect()
}

/// The standard library says "Permission denied (os error 13)": the words will do.
fn without_errno(text: &str) -> String {
    let mut pieces = text.split(" (os error ");
    let mut cleaned = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => cleaned.push_str(rest),
            _ => {
                cleaned.push_str(" (os error ");
                cleaned.push_str(piece);
            }
        }
    }
    cleaned
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (sort, code) = match failure.kind {
            FailureKind::Invalid | FailureKind::NotFound | FailureKind::Conflict | FailureKind::Denied => {
                (Sort::User, None)
            }
            FailureKind::Unreachable | FailureKind::Corrupt => (Sort::User, None),
            FailureKind::Host | FailureKind::NoSpace | FailureKind::Store => (Sort::Config, None),
            FailureKind::CommandNotExecutable => (Sort::User, Some(126)),
            FailureKind::CommandNotFound => (Sort::User, Some(127)),
            FailureKind::Interrupted => (Sort::User, Some(130)),
            FailureKind::Internal => (Sort::Internal, None),
        };
        let hint = failure.hint.or_else(|| next_step(failure.kind).map(str::to_owned));
        Self { sort, message: failure.message, hint, code, missing: failure.kind == FailureKind::NotFound }
    }
}

/// Where a failure brings no hint of its own: what is most likely to help, or to tell more.
fn next_step(kind: FailureKind) -> Option<&'static str> {
    match kind {
        FailureKind::NoSpace => Some("free space where PYBOX_ROOT is: pybox rm CONTAINER, pybox system prune"),
        FailureKind::Store | FailureKind::Corrupt => Some("see what is wrong with what is kept: pybox check"),
        FailureKind::Host => Some("compare what this host has (pybox info) and allows (ulimit -a)"),
        FailureKind::Internal => Some(REPORT),
        _ => None,
    }
}

impl From<InvalidFlag> for Problem {
    fn from(error: InvalidFlag) -> Self {
        Self::user(error.to_string()).hint("pybox run --help")
    }
}

impl From<super::template::TemplateError> for Problem {
    fn from(error: super::template::TemplateError) -> Self {
        Self::user(format!("--format: {error}"))
    }
}

/// The only streams that commands write are ours; a closed pipe is no failure.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Sort::Silent, "").code(0);
        }
        Self::config(format!("write standard output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problem: &Problem) -> String {
        let mut bytes = Vec::new();
        problem.write(&mut bytes, Paint::Plain).expect("a vector takes all");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn codes_are_dockers() {
        let code = |kind, fallback| Problem::from(Failure::say(kind, "x")).exit_code(fallback);
        assert_eq!(code(FailureKind::NotFound, Fallback::Run), 125);
        assert_eq!(code(FailureKind::NotFound, Fallback::Other), 1);
        assert_eq!(code(FailureKind::CommandNotExecutable, Fallback::Run), 126);
        assert_eq!(code(FailureKind::CommandNotFound, Fallback::Run), 127);
        assert_eq!(code(FailureKind::Interrupted, Fallback::Other), 130);
        assert_eq!(Problem::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit_code(Fallback::Run), 0);
    }

    #[test]
    fn one_sentence_and_one_hint() {
        let failure = Failure::say(FailureKind::NotFound, "there is no image x").hint("pybox pull x".to_owned());
        assert_eq!(shown(&failure.into()), "pybox: there is no image x\nhint: pybox pull x\n");
        assert_eq!(shown(&Problem::user("a\u{1b}[31m\nb")), "pybox: a\u{fffd}[31m b\n");
        assert_eq!(shown(&io::Error::from(io::ErrorKind::BrokenPipe).into()), "");
        let twice = "read a: gone (os error 2): b (os error 13), (os error x) (os error 4";
        assert_eq!(shown(&Problem::user(twice)), "pybox: read a: gone: b, (os error x) (os error 4\n");
    }
}
