//! Text and actions; and the words of an action.

use serde_json::Value;

use super::TemplateError;

/// A template, cut at its braces.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// To be copied.
    Text(String),
    /// What stands between braces.
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `.` or `.A.B`.
    Field(Vec<String>),
    /// `$`, `$x` or `$x.A`; `$` has an empty name.
    Variable(String, Vec<String>),
    /// A string or a number, or `true`, `false`, `nil`.
    Literal(Value),
    /// The name of a function or a keyword.
    Word(String),
    /// `(`.
    Open,
    /// `)`, or `).A.B`.
    Close(Vec<String>),
    /// `|`.
    Pipe,
    /// `,`.
    Comma,
    /// `:=`.
    Declare,
    /// `=`.
    Assign,
}

/// Cuts `text` at its braces; `{{-` and `-}}` take the white space beside them away.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let end = end_of_action(after).ok_or_else(|| TemplateError::new("{{ without }}"))?;
        let (action, tail) = (after.get(..end).unwrap_or_default(), after.get(end + 2..).unwrap_or_default());
        let (action, trim_before) = match action.strip_prefix("- ") {
            Some(action) => (action, true),
            None => (action, false),
        };
        push_text(&mut pieces, before, trim, trim_before);
        let action = match action.strip_suffix(" -") {
            Some(action) => {
                trim = true;
                action
            }
            None => {
                trim = false;
                action
            }
        };
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(tokens(action)?));
        }
        rest = tail;
    }
    push_text(&mut pieces, rest, trim, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Where the `}}` of an action stands that is in no string.
fn end_of_action(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text.get(index..).is_some_and(|rest| rest.starts_with("}}")) => return Some(index),
            None => {}
        }
    }
    None
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, tail) = token(first, rest)?;
        tokens.push(token);
        rest = tail.trim_start();
    }
    Ok(tokens)
}

fn token(first: char, text: &str) -> Result<(Token, &str), TemplateError> {
    let after = text.get(first.len_utf8()..).unwrap_or_default();
    match first {
        '(' => Ok((Token::Open, after)),
        ')' => {
            let (path, rest) = path(after);
            Ok((Token::Close(path), rest))
        }
        '|' => Ok((Token::Pipe, after)),
        ',' => Ok((Token::Comma, after)),
        ':' if after.starts_with('=') => Ok((Token::Declare, after.get(1..).unwrap_or_default())),
        '=' => Ok((Token::Assign, after)),
        '"' | '`' => string(first, after),
        '.' => {
            let (path, rest) = path(text);
            let rest = if path.is_empty() { after } else { rest };
            Ok((Token::Field(path), rest))
        }
        '$' => {
            let (name, rest) = word(after);
            let (path, rest) = path(rest);
            Ok((Token::Variable(name.to_owned(), path), rest))
        }
        '0'..='9' | '-' | '+' => number(text),
        _ => match word(text) {
            ("", _) => Err(TemplateError::new(format!("unexpected {first:?} in {{{{{}}}}}", text.trim_end()))),
            ("true", rest) => Ok((Token::Literal(Value::Bool(true)), rest)),
            ("false", rest) => Ok((Token::Literal(Value::Bool(false)), rest)),
            ("nil", rest) => Ok((Token::Literal(Value::Null), rest)),
            (name, rest) => Ok((Token::Word(name.to_owned()), rest)),
        },
    }
}

/// The letters, digits and `_` that `text` begins with, and what follows.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// The `.A.B` that `text` begins with.
fn path(text: &str) -> (Vec<String>, &str) {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some((name, tail)) = rest.strip_prefix('.').map(word).filter(|(name, _)| !name.is_empty()) {
        path.push(name.to_owned());
        rest = tail;
    }
    (path, rest)
}

fn string(quote: char, text: &str) -> Result<(Token, &str), TemplateError> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            _ if c == quote => {
                let rest = text.get(index + 1..).unwrap_or_default();
                return Ok((Token::Literal(Value::String(value)), rest));
            }
            '\\' if quote == '"' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            _ => value.push(c),
        }
    }
    Err(TemplateError::new("a string is not closed"))
}

fn number(text: &str) -> Result<(Token, &str), TemplateError> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let integer = digits.parse::<i64>().map(Value::from).ok();
    let value = integer.or_else(|| digits.parse::<f64>().ok().map(Value::from));
    value
        .map(|value| (Token::Literal(value), rest))
        .ok_or_else(|| TemplateError::new(format!("{digits:?} is no number")))
}
