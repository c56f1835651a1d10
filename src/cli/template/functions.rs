//! The functions of a template: docker's, and the ones of Go that go with them.

use std::cmp::Ordering;

use serde_json::Value;

use super::printf::printf;
use super::{METHODS, Purpose, TemplateError};

/// Calls the function `name`.
pub(super) fn call(name: &str, arguments: Vec<Value>, purpose: Purpose) -> Result<Value, TemplateError> {
    // A column's title goes through as it is: `{{upper .ID}}` stands under CONTAINER ID.
    if purpose == Purpose::Header
        && matches!(name, "json" | "upper" | "lower" | "title" | "split" | "join" | "truncate" | "slice" | "pad")
    {
        let title = arguments.into_iter().find(Value::is_string);
        return Ok(title.unwrap_or_default());
    }
    match (name, arguments.as_slice()) {
        ("json", [value]) => Ok(Value::String(json(value))),
        ("upper", [value]) => Ok(text(value)?.to_uppercase().into()),
        ("lower", [value]) => Ok(text(value)?.to_lowercase().into()),
        ("title", [value]) => Ok(title(text(value)?).into()),
        ("join", [list, separator]) => join(list, text(separator)?),
        ("split", [value, separator]) => Ok(text(value)?.split(text(separator)?).collect::<Vec<_>>().into()),
        ("truncate", [value, length]) => Ok(truncate(text(value)?, integer(length)?).into()),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds),
        ("pad", [value, before, after]) => Ok(pad(text(value)?, (integer(before)?, integer(after)?)).into()),
        ("html", [value]) => Ok(escape_html(&print(value)).into()),
        ("urlquery", [value]) => Ok(escape_url(&print(value)).into()),
        ("println", values) => Ok(format!("{}\n", spaced(values)).into()),
        ("print", values) => Ok(values.iter().map(print).collect::<String>().into()),
        ("printf", [format, values @ ..]) => Ok(printf(text(format)?, values).into()),
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("not", [value]) => Ok((!truth(value)).into()),
        ("and", values) => Ok(values.iter().find(|value| !truth(value)).or(values.last()).cloned().unwrap_or_default()),
        ("or", values) => Ok(values.iter().find(|value| truth(value)).or(values.last()).cloned().unwrap_or_default()),
        ("eq", [value, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| order(value, other) == Some(Ordering::Equal)).into())
        }
        ("ne", [one, other]) => Ok((order(one, other) != Some(Ordering::Equal)).into()),
        ("lt", [one, other]) => Ok((order(one, other) == Some(Ordering::Less)).into()),
        ("gt", [one, other]) => Ok((order(one, other) == Some(Ordering::Greater)).into()),
        ("le", [one, other]) => Ok(order(one, other).is_some_and(Ordering::is_le).into()),
        ("ge", [one, other]) => Ok(order(one, other).is_some_and(Ordering::is_ge).into()),
        (
            "json" | "upper" | "lower" | "title" | "join" | "split" | "truncate" | "slice" | "pad" | "html"
            | "urlquery" | "printf" | "len" | "index" | "not" | "eq" | "ne" | "lt" | "gt" | "le" | "ge",
            arguments,
        ) => Err(TemplateError::new(format!("{name} does not take {} arguments", arguments.len()))),
        _ => Err(TemplateError::new(format!(
            "there is no function {name}; there are json, upper, lower, title, join, split, truncate, pad, slice, \
             len, index, html, urlquery, print, println, printf, and, or, not, eq, ne, lt, le, gt, ge"
        ))),
    }
}

/// A value as Go prints it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", spaced(items)),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// Whether a value counts as true: it is not empty, zero or false.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value in one line of JSON, without the fields that only take an argument.
pub(crate) fn json(value: &Value) -> String {
    match value {
        Value::Object(map) if METHODS.iter().any(|method| map.contains_key(*method)) => {
            let shown: serde_json::Map<_, _> = map
                .iter()
                .filter(|(key, _)| !METHODS.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            Value::Object(shown).to_string()
        }
        other => other.to_string(),
    }
}

fn spaced(values: &[Value]) -> String {
    values.iter().map(print).collect::<Vec<_>>().join(" ")
}

fn text(value: &Value) -> Result<&str, TemplateError> {
    value.as_str().ok_or_else(|| TemplateError::new(format!("{} is no string", print(value))))
}

fn integer(value: &Value) -> Result<usize, TemplateError> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| TemplateError::new(format!("{} is no whole number", print(value))))
}

fn title(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn truncate(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

fn join(list: &Value, separator: &str) -> Result<Value, TemplateError> {
    match list {
        Value::Array(items) => Ok(items.iter().map(print).collect::<Vec<_>>().join(separator).into()),
        Value::Null => Ok(String::new().into()),
        other => Err(TemplateError::new(format!("join needs a list, not {}", print(other)))),
    }
}

fn len(value: &Value) -> Result<Value, TemplateError> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null => Ok(0.into()),
        other => Err(TemplateError::new(format!("{} has no length", print(other)))),
    }
}

/// `slice .ID 0 12`: of a string or a list, from the first bound to the second.
fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let whole = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => return Err(TemplateError::new(format!("{} cannot be sliced", print(other)))),
    };
    let from = bounds.first().map_or(Ok(0), integer)?;
    let to = bounds.get(1).map_or(Ok(whole), integer)?;
    let part = match value {
        Value::String(text) => text.get(from..to).map(Value::from),
        Value::Array(items) => items.get(from..to).map(|items| items.to_vec().into()),
        _ => None,
    };
    part.ok_or_else(|| TemplateError::new(format!("there is no slice {from}:{to} of {whole}")))
}

/// Wider than any column; a template must not ask for all memory.
const WIDEST: usize = 4096;

fn pad(text: &str, (before, after): (usize, usize)) -> String {
    format!("{}{text}{}", " ".repeat(before.min(WIDEST)), " ".repeat(after.min(WIDEST)))
}

fn escape_html(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn escape_url(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// As Go's: a missing key of a map is empty, an index beyond a list is an error.
fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_else(|| String::new().into())),
        (Value::Array(items), Value::Number(_)) => {
            let at = integer(key)?;
            items.get(at).cloned().ok_or_else(|| TemplateError::new(format!("index {at} of {}", items.len())))
        }
        (Value::Null, _) => Ok(String::new().into()),
        (value, key) => Err(TemplateError::new(format!("{} cannot be indexed by {}", print(value), print(key)))),
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (one, other) => (one == other).then_some(Ordering::Equal),
    }
}
