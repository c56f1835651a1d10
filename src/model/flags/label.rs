//! `--label key[=value]`.

use std::collections::BTreeMap;

use super::{InvalidFlag, has_control};

/// What `label=` of a filter asks for: a key, and its value if one is given.
pub fn condition(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Reads several, of which a later one counts.
///
/// # Errors
/// As of one.
pub fn parse_all(texts: &[String]) -> Result<BTreeMap<String, String>, InvalidFlag> {
    texts.iter().map(|text| parse(text)).collect()
}

/// Reads a label; without `=`, the value is empty. Labels are data: they change
/// nothing in how a container runs.
///
/// # Errors
/// If the key is empty or too long, or holds spaces or control characters.
pub fn parse(text: &str) -> Result<(String, String), InvalidFlag> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() || key.len() > 256 || has_control(key) || key.contains(' ') || value.contains('\0') {
        return Err(InvalidFlag::new("--label", text, "expected key=value with a key without spaces"));
    }
    if value.len() > 64 << 10 {
        return Err(InvalidFlag::new("--label", text, "the value is longer than 64 KiB"));
    }
    Ok((key.into(), value.into()))
}
