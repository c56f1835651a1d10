//! Sizes, ages and dates as docker writes them. Pure: the time of day comes in.

use crate::model::reference::Reference;

/// A name as people type it: `debian:12`, without what is docker's default.
pub(crate) fn familiar(reference: &Reference) -> String {
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = reference.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{}{tag}{digest}", reference.familiar_name())
}

/// A size in decimal units with three significant digits, as `77.8MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 999.5 would be rounded to four digits.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        unit = next;
        value /= 1000.0;
    }
    let decimals = if unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let digits = format!("{value:.decimals$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{unit}")
}

/// A size in binary units with four significant digits, as `7.637GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        unit = next;
        value /= 1024.0;
    }
    let decimals = match value {
        value if value >= 999.95 => 0,
        value if value >= 99.995 => 1,
        value if value >= 9.9995 => 2,
        _ => 3,
    };
    let digits = format!("{value:.decimals$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{unit}")
}

/// A span of milliseconds in words, as `About an hour`.
pub(crate) fn duration(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = hours / 24;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if days < 14 => format!("{days} days"),
        () if days < 60 => format!("{} weeks", days / 7),
        () if days < 730 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    }
}

/// How long ago, as `3 days ago`; `N/A` for what has no date.
pub(crate) fn ago(then: Option<i64>, now: i64) -> String {
    then.map_or_else(|| "N/A".to_owned(), |then| format!("{} ago", duration(now - then)))
}

/// A date, as `2024-06-13 18:29:16 +0000 UTC`; `N/A` for none.
pub(crate) fn date(millis: Option<i64>) -> String {
    let time = millis.and_then(|millis| time::OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000)).ok());
    time.map_or_else(
        || "N/A".to_owned(),
        |t| {
            let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
            format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} +0000 UTC", t.hour(), t.minute(), t.second())
        },
    )
}

/// RFC 3339 with nine digits, as docker has it, in UTC.
pub(crate) fn rfc3339(millis: i64) -> String {
    let seconds = millis.div_euclid(1000);
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!("{date}T{:02}:{:02}:{:02}.{:03}000000Z", time.hour(), time.minute(), time.second(), millis.rem_euclid(1000))
}

/// Milliseconds since the epoch, now.
pub(crate) fn now() -> i64 {
    let since = crate::sys::clock::since_epoch();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// At most `length` characters, the last being `…` if some were left out.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_familiar() {
        let shown = |text: &str| text.parse().map(|reference| familiar(&reference));
        assert_eq!(shown("docker.io/library/debian:12").as_deref(), Ok("debian:12"));
        assert_eq!(shown("a/b").as_deref(), Ok("a/b:latest"));
        let digest = format!("127.0.0.1:5000/x@sha256:{}", "0".repeat(64));
        assert_eq!(shown(&digest), Ok(digest));
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (12_345, "12.3kB"),
            (99_949, "99.9kB"),
            (123_456, "123kB"),
            (999_600, "1MB"),
            (77_800_000, "77.8MB"),
            (1_500_000_000, "1.5GB"),
            (10_000_000, "10MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn binary_sizes_have_four_digits() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (8_200_421_376, "7.637GiB"),
            (131_072_000, "125MiB"),
            (12_912_345, "12.31MiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(binary_size(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn spans_are_words() {
        let minute = 60_000;
        let (hour, day) = (60 * minute, 24 * 60 * minute);
        for (millis, shown) in [
            (-5, "Less than a second"),
            (1500, "1 second"),
            (59_000, "59 seconds"),
            (minute + 1, "About a minute"),
            (45 * minute, "45 minutes"),
            (hour, "About an hour"),
            (47 * hour, "47 hours"),
            (3 * day, "3 days"),
            (20 * day, "2 weeks"),
            (100 * day, "3 months"),
            (800 * day, "2 years"),
        ] {
            assert_eq!(duration(millis), shown, "{millis}");
        }
        assert_eq!(ago(Some(1000), 4000), "3 seconds ago");
        assert_eq!(ago(None, 0), "N/A");
    }

    #[test]
    fn dates() {
        assert_eq!(date(Some(0)), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(date(Some(1_718_303_356_789)), "2024-06-13 18:29:16 +0000 UTC");
        assert_eq!(date(Some(-1)), "1969-12-31 23:59:59 +0000 UTC");
        assert_eq!(date(Some(i64::MAX)), "N/A");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(ellipsis("short", 5), "short");
        assert_eq!(ellipsis("a longer one", 5), "a lo…");
        assert_eq!(ellipsis("ééééé", 3), "éé…");
    }
}
