//! Points in time, as `--since` and `--until` take them.

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

use super::{InvalidFlag, duration};

/// Reads a point in time, in milliseconds since the epoch: seconds since then
/// (`1700000000.5`), a span before `now` (`10m`, `1h30m`), or a date with or
/// without a time (`2026-11-24`, `2026-11-24T08:00:00`, RFC 3339); without a zone
/// it is UTC.
///
/// # Errors
/// If it is none of these.
pub fn parse(flag: &'static str, text: &str, now: i64) -> Result<i64, InvalidFlag> {
    let found = seconds(text).or_else(|| span(text).map(|span| now.saturating_sub(span))).or_else(|| date(text));
    found.ok_or_else(|| {
        InvalidFlag::new(flag, text, "expected a time as in 2026-11-24T08:00:00, 1700000000, 10m or 1h30m")
    })
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(millis)
}

/// Reads a span as Go writes it, `1h30m` or `-1.5s`, in milliseconds.
fn span(text: &str) -> Option<i64> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    Some(sign * i64::try_from(duration::microseconds(rest)? / 1000).ok()?)
}

fn date(text: &str) -> Option<i64> {
    let utc = |at: PrimitiveDateTime| at.assume_utc();
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .or_else(|_| OffsetDateTime::parse(&format!("{text}:00Z"), &Rfc3339))
        .ok();
    let at = at.or_else(|| day(text).map(|day| utc(PrimitiveDateTime::new(day, Time::MIDNIGHT))))?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

fn day(text: &str) -> Option<Date> {
    let mut parts = text.split('-').map(|part| part.parse::<u16>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let now = 1_700_000_000_000;
        for (text, millis) in [
            ("0", 0),
            ("1700000000", now),
            ("1700000000.25", now + 250),
            ("1700000000.123456789", now + 123),
            ("10m", now - 600_000),
            ("1h30m", now - 5_400_000),
            ("1.5s", now - 1500),
            ("-10s", now + 10_000),
            ("2023-11-14T22:13:20Z", now),
            ("2023-11-14T23:13:20+01:00", now),
            ("2023-11-14T22:13:20.5Z", now + 500),
            ("2023-11-14T22:13:20", now),
            ("2023-11-14T22:13", now - 20_000),
            ("2023-11-14", 1_699_920_000_000),
        ] {
            assert_eq!(parse("--since", text, now), Ok(millis), "{text}");
        }
        for bad in ["", "soon", "10x", "-", "1.2.3", "2023-13-01", "2023-1", "h", "1..5s"] {
            assert!(parse("--since", bad, now).is_err(), "{bad}");
        }
        let error = parse("--until", "soon", now).expect_err("no time").to_string();
        assert!(error.starts_with("invalid value \"soon\" for --until: expected a time"), "{error}");
    }
}
