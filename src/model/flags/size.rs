//! Sizes in bytes: `64k`, `256m`, `1.5g`, as docker reads them.

use super::InvalidFlag;

/// Multipliers are powers of 1024; the unit may be written `k`, `kb` or `kib`.
const UNITS: [(char, u32); 5] = [('k', 10), ('m', 20), ('g', 30), ('t', 40), ('p', 50)];

/// Reads a size in bytes, for the flag `flag`.
///
/// # Errors
/// If the text is no number, has an unknown unit or does not fit 63 bits.
pub fn parse(flag: &'static str, text: &str) -> Result<u64, InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new(flag, text, reason);
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift =
        shift(unit).ok_or_else(|| refuse("expected a size in bytes or with a unit, as in 64k, 256m or 1.5g"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(refuse("expected a size in bytes or with a unit, as in 64k, 256m or 1.5g"));
    }
    let too_large = || refuse("the size does not fit 63 bits");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let bytes = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    // Twelve digits hold every fraction of the largest unit that anyone types.
    let fraction: u128 = fraction.get(..fraction.len().min(12)).map_or(0, |digits| digits.parse().unwrap_or(0))
        * 10u128.pow(12 - fraction.len().min(12) as u32);
    let part = u64::try_from((fraction << shift) / 10u128.pow(12)).map_err(|_| too_large())?;
    bytes.checked_add(part).filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(too_large)
}

/// The power of two that a unit stands for.
fn shift(unit: &str) -> Option<u32> {
    let unit = unit.to_ascii_lowercase();
    if unit.is_empty() || unit == "b" {
        return Some(0);
    }
    let letter = unit.chars().next()?;
    let rest = unit.get(1..)?;
    UNITS.iter().find(|(name, _)| *name == letter && matches!(rest, "" | "b" | "ib")).map(|(_, shift)| *shift)
}

/// `--memory`: at least 512 KiB, below which the kernel kills the first process
/// before it can say anything. Docker asks for 6 MiB.
///
/// # Errors
/// As [`parse`], and below the minimum.
pub fn memory(text: &str) -> Result<u64, InvalidFlag> {
    const MINIMUM: u64 = 512 << 10;
    let bytes = parse("--memory", text)?;
    if bytes < MINIMUM {
        return Err(InvalidFlag::new("--memory", text, "a container needs at least 512k"));
    }
    Ok(bytes)
}

/// `--shm-size`: more than nothing.
///
/// # Errors
/// As [`parse`], and for zero.
pub fn shm_size(text: &str) -> Result<u64, InvalidFlag> {
    match parse("--shm-size", text)? {
        0 => Err(InvalidFlag::new("--shm-size", text, "expected a size above zero, as in 64m")),
        bytes => Ok(bytes),
    }
}
