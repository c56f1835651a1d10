//! What an image is made of: `boxfile.toml` and `Dockerfile`, read to one graph of stages and steps.
//!
//! Pure: text in, data out. It reads no file, runs nothing and knows no image; `engine::build`
//! does what the graph says. A mistake is told with its line and column.

pub mod boxfile;
pub mod dockerfile;
pub mod expand;
pub mod graph;
pub mod key;
pub mod nearest;
pub mod plan;
pub mod python;
pub mod state;

use std::fmt;

/// Where something stands in a file; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// That of the byte `offset` of `text`.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut before = text.len().min(offset);
        while !text.is_char_boundary(before) {
            before -= 1;
        }
        let before = text.get(..before).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something that a file says and that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake at `position`.
    pub fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: None }
    }

    /// With what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

impl std::error::Error for Mistake {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that files are made of, in an order that nobody would write.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "[box]\n",
            "base = ",
            "\"debian\"\n",
            "[[steps]]\n",
            "run = ",
            "copy = { src = ",
            "}",
            "\"",
            "'",
            "[",
            "]",
            "FROM ",
            "RUN ",
            "COPY ",
            "--mount=type=",
            "cache,",
            "target=/x",
            "<<EOF",
            "EOF\n",
            "\\\n",
            "\\",
            "$",
            "${",
            "${A:-",
            "}",
            "ENV ",
            "A=b ",
            "# escape=`\n",
            "`\n",
            "\n",
            " ",
            "ß",
            "\u{0}",
            "HEALTHCHECK CMD ",
            "--",
            "=",
            "*",
            "**/",
            "!",
            "..",
            "/",
            "0",
            "-1",
            "[python]\nversion = \"3\"\n",
            "ARG ",
            "AS ",
            "SHELL ",
        ]);
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in pieces(), path in pieces(), any in ".{0,200}") {
            for text in [&text, &any] {
                for parse in [boxfile::parse, dockerfile::parse] {
                    match parse(text) {
                        Err(mistake) => prop_assert!(mistake.position.line >= 1 && !mistake.message.is_empty()),
                        Ok(graph) => drop(plan::plan(&graph, None, &[].into())),
                    }
                }
                let ignore = crate::model::ignore::Ignore::parse(text);
                let fate = ignore.fate(&path);
                prop_assert_eq!(fate, ignore.fate(&path));
                drop(expand::expand(text, expand::Quotes::Shell, &|_| None));
                drop(expand::expand(text, expand::Quotes::Plain, &|name| Some(name.to_owned())));
            }
        }
    }

    #[test]
    fn positions_count_characters() {
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (3, 1, 3), (4, 2, 1), (6, 2, 3), (99, 2, 3)] {
            assert_eq!(Position::of("aß\nbc", offset), Position { line, column }, "{offset}");
        }
    }
}
