//! Lengths of time as Go writes them: `30s`, `1m30s`, `500ms`, `1.5h`.

use super::InvalidFlag;

/// Units in microseconds; the longer names come first.
const UNITS: [(&str, u64); 6] =
    [("ms", 1_000), ("us", 1), ("µs", 1), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)];

/// Reads a length of time in milliseconds, for the flag `flag`; a bare number is refused, as docker does, except 0.
///
/// # Errors
/// If the text is no length of time, or longer than a hundred years.
pub fn parse(flag: &'static str, text: &str) -> Result<u64, InvalidFlag> {
    let refuse = || InvalidFlag::new(flag, text, "expected a time with its unit, as in 30s, 500ms or 1m30s");
    if text == "0" {
        return Ok(0);
    }
    let micros = microseconds(text).ok_or_else(refuse)?;
    const CENTURY: u64 = 100 * 366 * 24 * 3600 * 1_000_000;
    if micros > CENTURY {
        return Err(InvalidFlag::new(flag, text, "more than a hundred years"));
    }
    Ok(micros / 1000)
}

/// The sum of all parts; none if the text is no length of time.
pub fn microseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, tail) = rest.split_at(digits);
        let (unit, scale) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        sum = sum.checked_add(scaled(number, *scale)?)?;
        rest = tail.get(unit.len()..)?;
    }
    Some(sum)
}

/// `number` times `scale`, where the number may have a fraction.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 12 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u64::try_from(u128::from(part) * u128::from(scale) / divisor).ok()?;
    whole.checked_mul(scale)?.checked_add(part)
}
