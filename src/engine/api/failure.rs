//! Why a question got no answer.

use serde::{Deserialize, Serialize};

/// Why a request came to nothing: one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure, for exit codes and for callers that want to go on.
    pub kind: FailureKind,
    /// The sentence, with its causes joined by `: `; lower case, no full stop.
    pub message: String,
    /// What to do about it; begins with a command where there is one.
    pub hint: Option<String>,
}

/// Sorts of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// What was asked for makes no sense.
    Invalid,
    /// There is no such image, container or file.
    NotFound,
    /// The name is taken, or the object is in use.
    Conflict,
    /// The registry wants other credentials, or none will do.
    Denied,
    /// The registry cannot be reached, or fails.
    Unreachable,
    /// What came from a registry or an archive is not what it claims to be.
    Corrupt,
    /// This host lacks something, or forbids it.
    Host,
    /// No room is left on the disk.
    NoSpace,
    /// The store cannot be read or written.
    Store,
    /// The container's command is there but cannot be executed (exit code 126).
    CommandNotExecutable,
    /// The container's command is not there (exit code 127).
    CommandNotFound,
    /// The user asked us to stop.
    Interrupted,
    /// A fault of ours.
    Internal,
}

impl Failure {
    /// A failure of `kind` that `error` and its causes explain.
    pub fn new(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // `#[error(transparent)]` and careless libraries say the same twice.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { kind, message, hint: None }
    }

    /// A failure of `kind` in these words.
    pub fn say(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same, with advice; `None` keeps the advice it has.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
