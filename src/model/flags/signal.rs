//! Signals by name or number, signal(7).

use super::InvalidFlag;

/// Names and numbers of x86, ARM, RISC-V and most others.
const SIGNALS: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and last real-time signal as glibc and musl number them.
const REAL_TIME: (i32, i32) = (34, 64);

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`, for the flag `flag`.
///
/// # Errors
/// If there is no such signal.
pub fn parse(flag: &'static str, text: &str) -> Result<i32, InvalidFlag> {
    number(text).ok_or_else(|| {
        InvalidFlag::new(flag, text, "expected a signal's name or number, as in SIGTERM, INT, RTMIN+3 or 9")
    })
}

/// A signal as users write it: `SIGTERM`, or the number of one without a name here.
pub fn name(signal: i32) -> String {
    let named = SIGNALS.iter().find(|(_, number)| *number == signal);
    named.map_or_else(|| signal.to_string(), |(name, _)| format!("SIG{name}"))
}

/// The number of a signal by name or number, as an image's `StopSignal` gives it.
pub fn number(text: &str) -> Option<i32> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=REAL_TIME.1).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(digits) if digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<i32>().ok(),
        _ => rest.is_empty().then_some(0),
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => Some(REAL_TIME.0 + offset(rest, '+')?),
        (_, Some(rest)) => Some(REAL_TIME.1 - offset(rest, '-')?),
        _ => None,
    };
    match real_time {
        Some(signal) => (REAL_TIME.0..=REAL_TIME.1).contains(&signal).then_some(signal),
        None => SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal),
    }
}
