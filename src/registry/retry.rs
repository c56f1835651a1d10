//! When to try again, and how long to wait before.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail the same way.
    Never,
    /// After our own pause.
    Soon,
    /// After the pause that the server asks for.
    After(Duration),
}

/// Counts the tries of one request and spreads them.
#[derive(Debug)]
pub(crate) struct Attempts {
    made: u32,
    left: u32,
    pause: Duration,
    longest: Duration,
}

impl Attempts {
    /// `retries` further tries, the first after about `pause`, each pause
    /// twice the one before, none longer than `longest`.
    pub(crate) fn new(retries: u32, pause: Duration, longest: Duration) -> Self {
        Self { made: 1, left: retries, pause, longest }
    }

    /// Which try is under way or about to be made, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.made
    }

    /// How long to wait before the next try; none if this was the last one,
    /// or if the server asks for a longer pause than we have patience for.
    pub(crate) fn next_pause(&mut self, again: Again) -> Option<Duration> {
        if again == Again::Never {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.made += 1;
        let own = self.pause.min(self.longest);
        self.pause = self.pause.saturating_mul(2);
        match again {
            Again::After(asked) if asked > self.longest => None,
            Again::After(asked) => Some(asked.max(jittered(own, random()))),
            _ => Some(jittered(own, random())),
        }
    }
}

/// Half to one and a half of `pause`, so that many clients that failed at once
/// do not come back at once.
fn jittered(pause: Duration, random: u16) -> Duration {
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u16::MAX))
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without entropy the pauses are regular, which is no harm to us.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u16::from_ne_bytes(bytes)
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.
pub(crate) fn retry_after(header: &str, now: OffsetDateTime) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has still mean "very long".
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = OffsetDateTime::parse(header, &Rfc2822).ok()?;
    Some(Duration::try_from(date - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_dates() {
        let now = OffsetDateTime::from_unix_timestamp(1_445_412_420).unwrap(); // Wed, 21 Oct 2015 07:27:00 GMT
        for (header, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected.map(Duration::from_secs), "{header:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let second = Duration::from_secs(1);
        let mut attempts = Attempts::new(5, second, 4 * second);
        for expected in [1, 2, 4, 4, 4] {
            let pause = attempts.next_pause(Again::Soon).unwrap();
            assert!(pause >= second * expected / 2 && pause <= second * expected * 3 / 2, "{pause:?} for {expected}");
        }
        assert_eq!(attempts.next_pause(Again::Soon), None);
        assert_eq!(Attempts::new(5, second, second).next_pause(Again::Never), None);
    }

    #[test]
    fn the_server_is_waited_for_within_reason() {
        let second = Duration::from_secs(1);
        let mut attempts = Attempts::new(5, Duration::ZERO, 60 * second);
        assert_eq!(attempts.next_pause(Again::After(7 * second)), Some(7 * second));
        assert_eq!(attempts.next_pause(Again::After(61 * second)), None);
    }

    #[test]
    fn jitter_stays_in_its_bounds() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second / 2);
        assert_eq!(jittered(second, u16::MAX), second * 3 / 2);
    }
}
