//! The flags that say how much a container may use.

use super::{InvalidFlag, size};
use crate::model::limits::{Throttle, ThrottleWay};

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

/// Flags with a whole number, and nothing else, as value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// `--cpu-shares`.
    Shares,
    /// `--cpu-period`.
    Period,
    /// `--blkio-weight`.
    DiskWeight,
}

impl Number {
    /// Reads it.
    ///
    /// # Errors
    /// If it is no such number.
    pub fn read(self, text: &str) -> Result<u64, InvalidFlag> {
        let (flag, range, expected) = match self {
            Self::Shares => ("--cpu-shares", 2..=262_144, "expected 2 to 262144; others have 1024"),
            Self::Period => ("--cpu-period", 1000..=1_000_000, "expected 1000 to 1000000 microseconds"),
            Self::DiskWeight => ("--blkio-weight", 10..=1000, "expected 10 to 1000"),
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| InvalidFlag::new(flag, text, expected))
    }
}

/// Reads `--cpu-quota`: microseconds, or -1 (or 0) for no limit.
///
/// # Errors
/// If it is no such number, or below the kernel's least, a millisecond.
pub fn cpu_quota(text: &str) -> Result<i64, InvalidFlag> {
    match text.parse::<i64>() {
        Ok(-1 | 0) => Ok(-1),
        Ok(number @ 1000..) => Ok(number),
        _ => Err(InvalidFlag::new("--cpu-quota", text, "expected 1000 microseconds or more, or -1 for no limit")),
    }
}

/// Reads `--memory-swap`: a size, or -1 for no limit.
///
/// # Errors
/// As [`size::parse`].
pub fn memory_swap(text: &str) -> Result<i64, InvalidFlag> {
    if text == "-1" {
        return Ok(-1);
    }
    let bytes = size::parse("--memory-swap", text)?;
    i64::try_from(bytes).map_err(|_| InvalidFlag::new("--memory-swap", text, "the size does not fit 63 bits"))
}

/// Reads a list of numbers and ranges, as in `0-2,7`.
///
/// # Errors
/// If it is none.
pub fn cpuset(flag: &'static str, text: &str) -> Result<String, InvalidFlag> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let is_range = |part: &str| match part.split_once('-') {
        None => number(part).is_some(),
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
    };
    if text.split(',').all(is_range) {
        return Ok(text.to_owned());
    }
    Err(InvalidFlag::new(flag, text, "expected numbers and ranges, as in 0-2,7"))
}

/// Reads `DEVICE:RATE`.
///
/// # Errors
/// If there is no device of an absolute path, or no rate.
pub fn throttle(way: ThrottleWay, text: &str) -> Result<Throttle, InvalidFlag> {
    let bytes = matches!(way, ThrottleWay::ReadBytes | ThrottleWay::WriteBytes);
    let expected =
        if bytes { "expected DEVICE:SIZE, as in /dev/vda:1m" } else { "expected DEVICE:NUMBER, as in /dev/vda:100" };
    let refuse = || InvalidFlag::new(way.flag(), text, expected);
    let (path, rate) = text.rsplit_once(':').filter(|(path, _)| path.starts_with('/')).ok_or_else(refuse)?;
    let rate = if bytes { size::parse(way.flag(), rate).ok() } else { rate.parse().ok() };
    Ok(Throttle { way, path: path.to_owned(), device: (0, 0), rate: rate.ok_or_else(refuse)? })
}

/// Reads `--oom-score-adj`.
///
/// # Errors
/// If it is no number from -1000 to 1000.
pub fn oom_score_adj(text: &str) -> Result<i32, InvalidFlag> {
    let number = text.parse().ok().filter(|number| (-1000..=1000).contains(number));
    number.ok_or_else(|| InvalidFlag::new("--oom-score-adj", text, "expected -1000 to 1000"))
}

/// Reads `--cgroup-parent`: a slice, or a path.
///
/// # Errors
/// If it leads upwards, or has characters that neither may have.
pub fn cgroup_parent(text: &str) -> Result<String, InvalidFlag> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-.@:\\".contains(c);
    let is_plain = !text.is_empty() && text.len() <= 1024 && text.chars().all(allowed);
    if is_plain && text.split('/').all(|part| !matches!(part, "." | "..")) {
        return Ok(text.to_owned());
    }
    Err(InvalidFlag::new("--cgroup-parent", text, "expected a slice as in my.slice, or a path below /sys/fs/cgroup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_ranges() {
        assert_eq!((Number::Shares.read("2"), Number::Period.read("1000")), (Ok(2), Ok(1000)));
        assert_eq!(Number::DiskWeight.read("1000"), Ok(1000));
        for (which, text) in [(Number::Shares, "1"), (Number::Period, "999"), (Number::DiskWeight, "-1")] {
            assert!(which.read(text).is_err(), "{which:?} {text}");
        }
        assert_eq!((cpu_quota("-1"), cpu_quota("0"), cpu_quota("5000")), (Ok(-1), Ok(-1), Ok(5000)));
        assert!(cpu_quota("999").is_err());
        assert_eq!((memory_swap("-1"), memory_swap("1k")), (Ok(-1), Ok(1024)));
        assert!(memory_swap("-2").is_err());
        assert_eq!((oom_score_adj("-1000"), oom_score_adj("1000")), (Ok(-1000), Ok(1000)));
        assert!(oom_score_adj("1001").is_err());
    }

    #[test]
    fn lists_of_processors() {
        for good in ["0", "0-2,7", "3,1"] {
            assert_eq!(cpuset("--cpuset-cpus", good).as_deref(), Ok(good));
        }
        for bad in ["", "2-1", "a", "1,", "0-", "+1", "99999", "0\n1"] {
            assert!(cpuset("--cpuset-cpus", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn throttles_have_a_device_and_a_rate() {
        let read = |way, text| throttle(way, text).map(|throttle| (throttle.path, throttle.rate));
        assert_eq!(read(ThrottleWay::ReadBytes, "/dev/vda:1m"), Ok(("/dev/vda".to_owned(), 1 << 20)));
        assert_eq!(read(ThrottleWay::WriteOperations, "/dev/a:b:100"), Ok(("/dev/a:b".to_owned(), 100)));
        for bad in ["/dev/vda", "vda:1", "/dev/vda:", "/dev/vda:x", ""] {
            assert!(read(ThrottleWay::WriteBytes, bad).is_err(), "{bad:?}");
        }
        assert!(read(ThrottleWay::ReadOperations, "/dev/vda:1m").is_err());
    }

    #[test]
    fn a_parent_does_not_lead_away() {
        for good in ["my.slice", "/a/b", "a-b_c@1.slice"] {
            assert_eq!(cgroup_parent(good).as_deref(), Ok(good));
        }
        for bad in ["", "../x", "/a/../b", "a b", "a\n"] {
            assert!(cgroup_parent(bad).is_err(), "{bad:?}");
        }
    }
}
