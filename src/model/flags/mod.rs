//! The flags of `run`, from text to types: one small parser a kind.
//!
//! Every parser is strict and pure. What cannot be understood is refused with an
//! [`InvalidFlag`] that names the flag, the value and what would be accepted; a
//! default is never guessed. Facts about the machine (the working directory, the
//! environment) come in as arguments; files are read by the caller.

use std::fmt;

pub mod account;
pub mod capability;
pub mod detach_keys;
pub mod device;
pub mod duration;
pub mod env;
pub mod health;
pub mod instant;
pub mod label;
pub mod limits;
pub mod log;
pub mod mount;
pub mod names;
pub mod network;
mod options;
pub mod publish;
pub mod restart;
pub mod security;
pub mod signal;
pub mod size;
pub mod sysctl;
pub mod target;
pub mod tmpfs;
pub mod ulimit;
pub mod userns;
pub mod volume;
pub mod words;

#[cfg(test)]
mod tests;

/// A value that a flag does not take.
///
/// Displayed as one sentence, as in `invalid value "1q" for --memory: expected a
/// size as in 64k, 256m or 1.5g`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFlag {
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// The value as it was typed, cut to 120 characters.
    pub value: String,
    /// What is accepted, or why this value is not.
    pub reason: String,
}

impl InvalidFlag {
    /// The error for `value` of `flag`; `reason` says what is accepted instead.
    pub fn new(flag: &'static str, value: &str, reason: impl Into<String>) -> Self {
        Self { flag, value: value.chars().take(120).collect(), reason: reason.into() }
    }
}

impl fmt::Display for InvalidFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid value {:?} for {}: {}", self.value, self.flag, self.reason)
    }
}

impl std::error::Error for InvalidFlag {}

/// Whether `text` holds a character that must not reach a file, an environment or
/// a system call: NUL, line feed, or any other control character.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
