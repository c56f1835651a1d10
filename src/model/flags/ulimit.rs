//! `--ulimit name=soft[:hard]`.

use crate::model::container::Ulimit;

use super::InvalidFlag;

/// Docker's names beside the kernel's; the kernel's are these in upper case.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads one limit: `nofile=1024`, `nofile=1024:4096`, `core=unlimited`, `RLIMIT_CPU=-1`.
///
/// # Errors
/// If the name is unknown, a value is no number, or soft is above hard.
pub fn parse(text: &str) -> Result<Ulimit, InvalidFlag> {
    let refuse = |reason: String| InvalidFlag::new("--ulimit", text, reason);
    let (name, values) =
        text.split_once('=').ok_or_else(|| refuse("expected name=soft[:hard], as in nofile=1024:4096".into()))?;
    let short = name.to_ascii_lowercase();
    let short = short.strip_prefix("rlimit_").unwrap_or(&short);
    if !NAMES.contains(&short) {
        return Err(refuse(format!("unknown limit {name:?}; known are {}", NAMES.join(", "))));
    }
    let number = |word: &str| match word {
        "unlimited" | "-1" => Ok(u64::MAX),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| refuse("the number is too large".into()))
        }
        _ => Err(refuse(format!("{word:?} is no number; expected one, or \"unlimited\""))),
    };
    let (soft, hard) = match values.split_once(':') {
        None => (number(values)?, number(values)?),
        Some((soft, hard)) => (number(soft)?, number(hard)?),
    };
    if soft > hard {
        return Err(refuse("the soft limit is above the hard one".into()));
    }
    Ok(Ulimit { name: format!("RLIMIT_{}", short.to_ascii_uppercase()), soft, hard })
}
