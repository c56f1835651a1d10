//! Words of a value: taken apart and put together as systemd.service(5) and systemd.syntax(7) say.
//!
//! Specifiers (`%n`) and variables (`${HOME}`) are systemd's business and pass through.

use std::iter::Peekable;
use std::str::Chars;

/// Takes `text` apart at blanks; quotes keep blanks together, `\n`, `\x41` and the like are what they
/// are in C. A backslash before anything else stays; a quote that is never closed ends with the text.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => unescape(&mut rest, word.get_or_insert_default()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Reads what follows a backslash onto `word`.
fn unescape(rest: &mut Peekable<Chars<'_>>, word: &mut String) {
    let Some(&c) = rest.peek() else { return word.push('\\') };
    let simple = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        's' => ' ',
        '\\' | '"' | '\'' => c,
        'x' => return number(rest, word, Digits { skip: 1, count: 2, radix: 16 }),
        'u' => return number(rest, word, Digits { skip: 1, count: 4, radix: 16 }),
        'U' => return number(rest, word, Digits { skip: 1, count: 8, radix: 16 }),
        '0'..='7' => return number(rest, word, Digits { skip: 0, count: 3, radix: 8 }),
        // Relaxed, as systemd is with values: it was meant for somebody else.
        _ => return word.push('\\'),
    };
    rest.next();
    word.push(simple);
}

#[derive(Clone, Copy)]
struct Digits {
    skip: usize,
    count: usize,
    radix: u32,
}

/// A character by its number; the backslash alone where it is no such number, or none that a
/// command line can have.
fn number(rest: &mut Peekable<Chars<'_>>, word: &mut String, digits: Digits) {
    let text: String = rest.clone().skip(digits.skip).take(digits.count).collect();
    let all = text.chars().count() == digits.count && text.chars().all(|c| c.is_digit(digits.radix));
    let value = u32::from_str_radix(&text, digits.radix).ok().filter(|_| all).and_then(char::from_u32);
    match value.filter(|c| *c != '\0') {
        Some(c) => {
            for _ in 0..digits.skip + digits.count {
                rest.next();
            }
            word.push(c);
        }
        None => word.push('\\'),
    }
}

/// A word in which systemd shall replace nothing.
#[must_use]
pub fn literal(word: &str) -> String {
    word.replace('%', "%%").replace('$', "$$")
}

/// A command line for `ExecStart=` and its like.
#[must_use]
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        quote(word.as_ref(), &mut line);
    }
    line
}

fn quote(word: &str, line: &mut String) {
    // A semicolon of its own would begin another command.
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '\\');
    if !word.is_empty() && word != ";" && word.chars().all(plain) {
        return line.push_str(word);
    }
    line.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            // Beyond ASCII there are controls too; systemd knows them by \u.
            c if c.is_control() && c.is_ascii() => line.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_as_systemd_does() {
        let cases: [(&str, &[&str]); 14] = [
            ("", &[]),
            ("  a  b\t", &["a", "b"]),
            ("\"a b\" 'c d'", &["a b", "c d"]),
            ("A=\"b c\"d e", &["A=b cd", "e"]),
            ("'' \"\"", &["", ""]),
            (r"a\ b", &["a\\", "b"]),
            (r"a\tb\x41\101\u00e9", &["a\tbAA\u{e9}"]),
            (r#""say \"hi\"" 'it\'s'"#, &["say \"hi\"", "it's"]),
            (r"\d+ \\", &["\\d+", "\\"]),
            (r"\x4 \xzz \000 \9", &["\\x4", "\\xzz", "\\000", "\\9"]),
            ("'open", &["open"]),
            ("end\\", &["end\\"]),
            ("%h ${A} $$", &["%h", "${A}", "$$"]),
            ("'a\"b'", &["a\"b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_put_together_comes_apart_again() {
        let words = ["", ";", "a b", "c\"d", "e'f", "g\\h", "\\", "i\nj\t\u{1}\u{85}", "%n", "${X}", "\u{e9}", "--a=b"];
        assert_eq!(split(&join(&words)), words);
        assert_eq!(join(&["pybox", "run", "a b", "c"]), "pybox run \"a b\" c");
    }

    proptest::proptest! {
        #[test]
        fn any_words_come_apart_again(words in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            proptest::prop_assert_eq!(split(&join(&words)), words);
        }
    }
}
