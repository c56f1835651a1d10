//! The language of the tables: each word is one system call, or close to it, and
//! answers with a value, `ok`, or the name of an errno.

mod attributes;
mod concurrency;
mod data;
mod directories;
mod locks;
pub(crate) mod map;
mod names;
mod processes;
mod storm;
mod tree;
mod xattrs;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;

use crate::text;

/// Why a step has no value.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the kernel said.
    Errno(i32),
    /// The table is wrong, or the step found something that no errno tells.
    Said(String),
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Failure {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Errno(errno as i32)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self::Said(error.to_string()), Self::Errno)
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(raw) => write!(f, "{:?}", nix::errno::Errno::from_raw(*raw)),
            Self::Said(why) => f.write_str(why),
        }
    }
}

pub(crate) type Outcome = Result<String, Failure>;

/// What a step answers that has nothing to say.
fn ok() -> Outcome {
    Ok("ok".into())
}

type Command = fn(&mut World, &mut Words<'_>) -> Outcome;

/// What steps of one case leave for the next: the thread that runs them has its own
/// directory, umask and ids.
#[derive(Default)]
pub(crate) struct World {
    files: HashMap<String, OwnedFd>,
    listings: HashMap<String, directories::Listing>,
    maps: HashMap<String, map::Map>,
    kept: HashMap<String, String>,
}

impl World {
    /// The answer to one line.
    pub(crate) fn run(&mut self, line: &str) -> String {
        match self.step(line) {
            Ok(answer) => answer,
            Err(failure) => failure.to_string(),
        }
    }

    fn step(&mut self, line: &str) -> Outcome {
        let words = text::words(line)?;
        let mut words = Words { words: &words, line };
        let name = words.text()?;
        let tables =
            [names::TABLE, attributes::TABLE, data::TABLE, directories::TABLE, xattrs::TABLE, locks::TABLE, map::TABLE];
        let mut commands =
            tables.into_iter().chain([processes::TABLE, concurrency::TABLE, storm::TABLE, tree::TABLE]).flatten();
        let (_, command) = commands.find(|(known, _)| *known == name).ok_or(format!("no word `{name}`"))?;
        command(self, &mut words)
    }

    fn file(&self, name: &str) -> Result<BorrowedFd<'_>, Failure> {
        Ok(self.files.get(name).ok_or(format!("nothing is open as @{name}"))?.as_fd())
    }

    /// `path`, `@A/path` from the directory open as A, or `@A` itself: an empty path.
    fn at<'a>(&'a self, word: &'a [u8]) -> Result<(BorrowedFd<'a>, &'a [u8]), Failure> {
        let Some(named) = word.strip_prefix(b"@") else { return Ok((CWD, word)) };
        let end = named.iter().position(|byte| *byte == b'/').unwrap_or(named.len());
        let file = self.file(&String::from_utf8_lossy(&named[..end]))?;
        Ok((file, named.get(end + 1..).unwrap_or_default()))
    }

    /// The file of a word `@A`.
    fn open_file(&self, word: &[u8]) -> Result<BorrowedFd<'_>, Failure> {
        self.file(&String::from_utf8_lossy(word.strip_prefix(b"@").unwrap_or(word)))
    }
}

/// What is left of a line.
pub(crate) struct Words<'a> {
    words: &'a [Vec<u8>],
    line: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a [u8], Failure> {
        self.optional().ok_or_else(|| Failure::Said(format!("a word is missing in `{}`", self.line)))
    }

    fn optional(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn text(&mut self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(self.next()?).into_owned())
    }

    fn optional_text(&mut self) -> Option<String> {
        self.optional().map(|word| String::from_utf8_lossy(word).into_owned())
    }

    /// A decimal number, or one with a `k` or `m` behind it.
    fn number(&mut self) -> Result<i64, Failure> {
        let word = self.text()?;
        let (digits, unit) = match word.as_bytes().last() {
            Some(b'k') => (&word[..word.len() - 1], 1 << 10),
            Some(b'm') => (&word[..word.len() - 1], 1 << 20),
            _ => (word.as_str(), 1),
        };
        Ok(digits.parse::<i64>().map_err(|_| format!("`{word}` is no number in `{}`", self.line))? * unit)
    }

    fn size(&mut self) -> Result<u64, Failure> {
        Ok(self.number()?.cast_unsigned())
    }

    fn count(&mut self) -> Result<usize, Failure> {
        usize::try_from(self.number()?).map_err(|error| Failure::Said(error.to_string()))
    }

    fn mode(&mut self) -> Result<rustix::fs::Mode, Failure> {
        octal(&self.text()?)
    }

    /// What follows, as lines of their own.
    fn rest(&mut self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| text::show(word)).collect();
        self.words = &[];
        words.join(" ")
    }
}

fn octal(word: &str) -> Result<rustix::fs::Mode, Failure> {
    let raw = u32::from_str_radix(word, 8).map_err(|_| format!("`{word}` is no mode"))?;
    Ok(rustix::fs::Mode::from_raw_mode(raw))
}

/// `a|b|c`, each looked up in a table.
fn flags<T: Copy>(word: &str, table: &[(&str, T)]) -> Result<Vec<T>, Failure> {
    let each = word.split('|').filter(|name| !name.is_empty()).map(|name| {
        let found = table.iter().find(|(known, _)| *known == name);
        found.map(|(_, flag)| *flag).ok_or_else(|| Failure::Said(format!("no flag `{name}`")))
    });
    each.collect()
}
