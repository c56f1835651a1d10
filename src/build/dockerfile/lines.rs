//! A Dockerfile as instructions: lines that go on joined, comments gone, documents in the text taken out.

use crate::build::{Mistake, Position};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) position: Position,
    /// In capitals.
    pub(super) word: String,
    /// What follows it.
    pub(super) rest: String,
    /// In the order in which they are announced.
    pub(super) documents: Vec<Document>,
}

/// A document in the text: `<<EOF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Its delimiter, which is its name too.
    pub(super) name: String,
    /// Whether variables in it are replaced: the delimiter is in no quotes.
    pub(super) expand: bool,
    /// What is in it, tabs at the beginning taken away where that was asked for.
    pub(super) text: String,
    /// All of it as it stands, with the line that ends it.
    pub(super) raw: String,
}

/// Reads the instructions.
///
/// # Errors
/// If a document does not end, or something is no instruction.
pub(super) fn read(text: &str) -> Result<Vec<Line>, Mistake> {
    let text = text.trim_start_matches('\u{feff}');
    let escape = escape(text)?;
    let mut lines = text.lines().enumerate().peekable();
    let mut instructions = Vec::new();
    while let Some((number, first)) = lines.next() {
        let start = first.trim_start();
        if start.is_empty() || start.starts_with('#') {
            continue;
        }
        let column = first.chars().count() - start.chars().count() + 1;
        let position = Position { line: number + 1, column };
        let mut joined = String::new();
        let mut going = push(&mut joined, start, escape);
        while going {
            let Some((_, next)) = lines.next() else { break };
            let start = next.trim_start();
            // Comments and empty lines within do not end it.
            if !start.starts_with('#') && !start.is_empty() {
                going = push(&mut joined, next, escape);
            }
        }
        let joined = joined.trim_end();
        let (word, rest) = joined.split_once(char::is_whitespace).unwrap_or((joined, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim().to_owned());
        let mut documents = Vec::new();
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD") && !rest.starts_with('[') {
            for (name, expand, tabs) in announced(&rest) {
                let mut document = Document { name, expand, text: String::new(), raw: String::new() };
                loop {
                    let Some((_, line)) = lines.next() else {
                        let mistake = Mistake::new(position, format!("the document <<{} does not end", document.name));
                        return Err(mistake.hint(format!("end it with a line that is {}", document.name)));
                    };
                    document.raw.push_str(line);
                    document.raw.push('\n');
                    let line = if tabs { line.trim_start_matches('\t') } else { line };
                    if line == document.name {
                        break;
                    }
                    document.text.push_str(line);
                    document.text.push('\n');
                }
                documents.push(document);
            }
        }
        instructions.push(Line { position, word, rest, documents });
    }
    Ok(instructions)
}

/// Adds a line; true if it goes on.
fn push(joined: &mut String, line: &str, escape: char) -> bool {
    match line.trim_end().strip_suffix(escape) {
        Some(line) => {
            joined.push_str(line);
            true
        }
        None => {
            joined.push_str(line);
            false
        }
    }
}

/// What ends a line that goes on: `# escape=` says so, before all else.
fn escape(text: &str) -> Result<char, Mistake> {
    for (number, line) in text.lines().enumerate() {
        let Some(comment) = line.trim().strip_prefix('#') else { break };
        let Some((name, value)) = comment.split_once('=') else { break };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "\\") => return Ok('\\'),
            ("escape", "`") => return Ok('`'),
            ("escape", other) => {
                let position = Position { line: number + 1, column: 1 };
                return Err(Mistake::new(position, format!("escape is {other:?}; expected \\ or `")));
            }
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    Ok('\\')
}

/// The documents that a line announces: name, whether variables are replaced, whether tabs go.
fn announced(rest: &str) -> Vec<(String, bool, bool)> {
    let document = |word: String| {
        let word = word.trim_start_matches(|letter: char| letter.is_ascii_digit()).to_owned();
        let word = word.strip_prefix("<<")?;
        let (tabs, word) = word.strip_prefix('-').map_or((false, word), |word| (true, word));
        let quoted = ['"', '\''].iter().find_map(|quote| word.strip_prefix(*quote)?.strip_suffix(*quote));
        let name = quoted.unwrap_or(word);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
        (!name.is_empty() && name.chars().all(plain)).then(|| (name.to_owned(), quoted.is_none(), tabs))
    };
    words(rest).into_iter().filter_map(document).collect()
}

/// Splits at blanks, but not within quotes, which stay; a backslash keeps the next letter in its word.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                word.push(letter);
                word.extend(letters.next());
            }
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.push(letter);
            }
            (_, Some(open)) if letter == open => {
                quote = None;
                word.push(letter);
            }
            (_, None) if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, String, String)> {
        let read = read(text).expect(text);
        read.into_iter().map(|line| (line.position.line, line.word, line.rest)).collect()
    }

    fn line(number: usize, word: &str, rest: &str) -> (usize, String, String) {
        (number, word.to_owned(), rest.to_owned())
    }

    #[test]
    fn lines_go_on_and_comments_do_not_count() {
        let text =
            "# syntax=docker/dockerfile:1\n# comment\nfrom debian\n\nRUN a && \\\n  # within\n\n  b \\  \n  c\nCMD x\n";
        let expected = [line(3, "FROM", "debian"), line(5, "RUN", "a &&   b   c"), line(10, "CMD", "x")];
        assert_eq!(lines(text), expected);
        assert_eq!(lines("# escape=`\nRUN a `\n b\\\n"), [line(2, "RUN", "a  b\\")]);
        assert_eq!(lines("\u{feff}FROM a\r\nRUN b\r\n"), [line(1, "FROM", "a"), line(2, "RUN", "b")]);
        assert_eq!(lines("RUN a \\"), [line(1, "RUN", "a")]);
    }

    #[test]
    fn documents_are_taken_out() {
        let read =
            read("RUN <<EOF\n# kept\n  a $B\nEOF\nCOPY <<-'x' <<\"y z\" /d\n\ta\n\tx\nRUN cat << a\n").expect("lines");
        let documents: Vec<_> = read.iter().map(|line| line.documents.clone()).collect();
        let document = |name: &str, expand, text: &str, raw: &str| Document {
            name: name.into(),
            expand,
            text: text.into(),
            raw: raw.into(),
        };
        assert_eq!(documents.first(), Some(&vec![document("EOF", true, "# kept\n  a $B\n", "# kept\n  a $B\nEOF\n")]));
        assert_eq!(documents.get(1), Some(&vec![document("x", false, "a\n", "\ta\n\tx\n")]));
        assert_eq!(documents.get(2), Some(&vec![]));
        let mistake = super::read("FROM a\n RUN <<E\nx\n").expect_err("no end");
        assert_eq!(
            (mistake.position.to_string().as_str(), mistake.message.as_str()),
            ("2:2", "the document <<E does not end")
        );
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(words("a \"b c\"d  'e f' g\\ h"), ["a", "\"b c\"d", "'e f'", "g\\ h"]);
        assert_eq!(words("A=\"x\\\" y\" "), ["A=\"x\\\" y\""]);
    }
}
