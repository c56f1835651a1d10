//! `--cpus` and `--pids-limit`.

use super::InvalidFlag;

/// Reads a number of processors: above zero, with up to nine decimals.
///
/// # Errors
/// If it is no plain decimal number, is zero or is above 65536.
pub fn cpus(text: &str) -> Result<f64, InvalidFlag> {
    let refuse = || InvalidFlag::new("--cpus", text, "expected a number of processors above 0, as in 0.5 or 2");
    let plain = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain).ok_or_else(refuse)?;
    // One hundredth of a period of 100 ms is the least that the kernel takes.
    if (0.01..=65536.0).contains(&number) { Ok(number) } else { Err(refuse()) }
}

/// Reads `--pids-limit`: a number of processes, or -1 (or 0) for no limit.
///
/// # Errors
/// If it is no such number, or above the kernel's own highest, 4194304.
pub fn pids(text: &str) -> Result<i64, InvalidFlag> {
    match text.parse::<i64>() {
        Ok(-1 | 0) => Ok(-1),
        Ok(number @ 1..=4_194_304) => Ok(number),
        _ => Err(InvalidFlag::new("--pids-limit", text, "expected 1 to 4194304, or -1 for no limit")),
    }
}
