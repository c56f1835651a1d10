//! `--detach-keys`.

use super::InvalidFlag;

/// Reads `ctrl-X` and single characters with commas between them; nothing, or `none`, means no keys.
/// The bytes are those that a terminal sends.
///
/// # Errors
/// For any other word.
pub fn parse(text: &str) -> Result<Vec<u8>, InvalidFlag> {
    let refuse =
        || InvalidFlag::new("--detach-keys", text, "expected keys with commas between them, as in ctrl-p,ctrl-q");
    if matches!(text, "" | "none") {
        return Ok(Vec::new());
    }
    text.split(',').map(|key| byte(key).ok_or_else(refuse)).collect()
}

fn byte(key: &str) -> Option<u8> {
    match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
        (Some([letter @ b'a'..=b'z']), _) => Some(letter - b'a' + 1),
        (Some([sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => Some(sign & 0x1f),
        (None, [key @ 0x20..=0x7e]) => Some(*key),
        _ => None,
    }
}
