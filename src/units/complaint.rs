//! What is wrong with a file, and where.

use std::fmt;
use std::path::PathBuf;

/// How much is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The line; the unit is made without it.
    Line,
    /// The unit: none is made.
    Unit,
}

/// A sentence about one line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// What is lost by it.
    pub weight: Weight,
    /// The sentence.
    pub sentence: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file may hold anything: nothing of it moves the cursor.
        let visible =
            |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
        write!(out, "{}:", visible(&self.path.display().to_string()))?;
        if self.line > 0 {
            write!(out, "{}:", self.line)?;
        }
        write!(out, " {}", visible(&self.sentence))
    }
}
