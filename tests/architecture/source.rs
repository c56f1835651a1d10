//! The source tree as the rules see it: code without comments, strings and
//! unit tests, line numbers kept. A scanner of tokens, not a parser: macros
//! that build paths are beyond it, and we write none.

use std::path::{Path, PathBuf};

/// One file of src/.
pub(crate) struct Source {
    /// Path relative to src/.
    pub(crate) path: PathBuf,
    /// The text as it stands.
    pub(crate) text: String,
    /// The text with comments and literals blanked, and everything from a
    /// `#[cfg(test)]` module to its end; as many lines as `text`.
    pub(crate) code: String,
}

impl Source {
    /// The room: the first directory of the path, or the file's own name right under src/.
    pub(crate) fn room(&self) -> String {
        let first = self.path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
        first.unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// Whether the file holds unit tests only.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.to_string_lossy();
        name.ends_with("tests.rs") || name.ends_with("_test.rs") || name.contains("/tests/")
    }

    /// Numbered lines of code.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines on which one of `words` stands as a whole token.
    pub(crate) fn mentions(&self, words: &[&str]) -> Vec<String> {
        let hit = |line: &str| words.iter().find(|word| has_token(line, word)).map(|word| (*word).to_owned());
        self.lines()
            .filter_map(|(number, line)| hit(line).map(|word| format!("src/{}:{number}: {word}", self.path.display())))
            .collect()
    }

    /// The rooms that paths of the form `crate::room` (or `pybox::room`, from
    /// main.rs) name, with their lines; groups `crate::{a::X, b}` included.
    pub(crate) fn rooms_used(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for root in ["crate::", "pybox::"] {
            for (start, _) in self.code.match_indices(root) {
                let before = self.code[..start].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let line = self.code[..start].matches('\n').count() + 1;
                let rest = &self.code[start + root.len()..];
                found.extend(first_names(rest).into_iter().map(|room| (line, room)));
            }
        }
        found
    }
}

/// All files under src/, sorted by path.
pub(crate) struct Tree {
    /// The files.
    pub(crate) files: Vec<Source>,
}

impl Tree {
    /// Reads `src`; panics where it cannot, as a test may.
    pub(crate) fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        let mut open = vec![src.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).expect("read a directory of src") {
                let path = entry.expect("read a directory entry").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("read a source file");
                    let path = path.strip_prefix(src).expect("a path under src").to_owned();
                    files.push(Source { path, code: without_tests(&without_words(&text)), text });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }
}

/// Whether `word` stands in `line` with no identifier character at either side.
fn has_token(line: &str, word: &str) -> bool {
    let ident = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(before.is_some_and(ident) || after.is_some_and(ident) && word.ends_with(ident))
    })
}

/// The first path segment, or each first segment of a `{…}` group.
fn first_names(rest: &str) -> Vec<String> {
    let name =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if !rest.starts_with('{') {
        return vec![name(rest)];
    }
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && c == ',' {
            names.push(name(&item));
            item.clear();
        } else if !(depth == 1 && c == '{') {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Blanks comments, strings and character literals; newlines stay.
fn without_words(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` if none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let until =
        |from: usize, done: &dyn Fn(usize) -> bool| (from..chars.len()).find(|i| done(*i)).unwrap_or(chars.len());
    match (chars[at], next(1)) {
        ('/', '/') => until(at, &|i| chars[i] == '\n'),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => quoted_end(chars, at + 1, '"'),
        ('r', '"' | '#') if !ident_before(chars, at) => raw_string_end(chars, at),
        ('\'', '\\') => quoted_end(chars, at + 1, '\''),
        // 'x' is a character; 'x without the second quote is a lifetime.
        ('\'', _) if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn ident_before(chars: &[char], at: usize) -> bool {
    // b"" and br"" end in the letter that matters; any other letter makes it an identifier.
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let body = at + 1 + hashes;
    if chars.get(body) != Some(&'"') {
        return at;
    }
    let closes =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (body + 1..chars.len()).find(|i| closes(*i)).map_or(chars.len(), |i| i + 1 + hashes)
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// Blanks each item behind `#[cfg(test)]`, up to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let mut depth = 0;
        let mut end = out.len();
        for (offset, c) in out[start + 12..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = start + 12 + offset + c.len_utf8();
                break;
            }
        }
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, code) in [
        ("a // unsafe\nb", "a \nb"),
        ("a /* x /* y */ z */ b", "a b"),
        (r#"f("a\"b", 'x', '\'', 'a)"#, "f( , , , 'a)"),
        ("r#\"crate::x\"# y", " y"),
        ("br\"z\" for_r", "b for_r"),
    ] {
        let left = without_words(text);
        assert_eq!(left.len(), text.len(), "{text}");
        let mut squeezed: Vec<char> = left.chars().collect();
        squeezed.dedup_by(|a, b| *a == ' ' && *b == ' ');
        assert_eq!(squeezed.into_iter().collect::<String>(), code, "{text}");
    }
}

#[test]
fn unit_tests_are_left_out() {
    let code = "a\n#[cfg(test)]\nmod tests {\n  fn f() {}\n}\nb\n#[cfg(test)]\nmod tests;\nc";
    assert_eq!(without_tests(code).split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn groups_name_each_room() {
    assert_eq!(first_names("model::{A, B};"), ["model"]);
    assert_eq!(first_names("{model::{A, B}, sys::path, store};"), ["model", "sys", "store"]);
}
