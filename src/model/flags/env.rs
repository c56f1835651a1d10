//! `-e` and the text of an `--env-file`.

use super::InvalidFlag;

/// Reads `NAME=value`, or `NAME` alone, whose value `lookup` finds in the caller's
/// environment; a name that is not set there gives nothing.
///
/// # Errors
/// If the name is empty or holds `*`, spaces or control characters, or if the
/// value holds NUL.
pub fn parse(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Option<(String, String)>, InvalidFlag> {
    one("--env", text, &lookup)
}

/// Reads an env file: one variable a line, `#` starts a comment line, values are
/// taken as they stand (quotes are part of them).
///
/// # Errors
/// As [`parse`], with the number of the line.
pub fn parse_file(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, InvalidFlag> {
    const FLAG: &str = "--env-file";
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = one(FLAG, line, &lookup)
            .map_err(|error| InvalidFlag { reason: format!("line {}: {}", index + 1, error.reason), ..error })?;
        variables.extend(parsed);
    }
    Ok(variables)
}

fn one(
    flag: &'static str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, InvalidFlag> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.contains(odd) || (value.is_none() && name.contains('*')) {
        return Err(InvalidFlag::new(flag, text, "expected NAME=value, or NAME to pass on your own"));
    }
    // Whatever the environment of the caller holds was typed by no one here: it is checked all the same.
    let value = value.or_else(|| lookup(name));
    if value.as_deref().is_some_and(|value| value.contains('\0')) {
        return Err(InvalidFlag::new(flag, text, "the value holds a NUL byte"));
    }
    Ok(value.map(|value| (name.to_owned(), value)))
}
