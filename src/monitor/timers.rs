//! What a monitor waits for by the clock: one that no change of the time of day moves.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// The first pause before a restart.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A container that was up for so long begins anew with the first pause.
const STEADY: Duration = Duration::from_secs(10);

/// The pauses between an end and the restart: each twice the last.
#[derive(Clone, Copy, Debug)]
pub struct Backoff(Duration);

impl Backoff {
    /// Before the first restart.
    pub fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// How long to wait after a container was up for so long.
    pub fn next(&mut self, up: Duration) -> Duration {
        if up >= STEADY {
            *self = Self::new();
        }
        let pause = self.0;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// The point in time so many milliseconds from now; none if it never comes.
pub fn after(milliseconds: u64) -> Option<Instant> {
    (milliseconds != u64::MAX).then(|| Instant::now().checked_add(Duration::from_millis(milliseconds))).flatten()
}

/// Whether the time has come.
pub fn is_due(when: Option<Instant>) -> bool {
    when.is_some_and(|when| when <= Instant::now())
}

/// How long `poll` may sleep until the first of these.
pub fn until(first: impl IntoIterator<Item = Option<Instant>>) -> Option<Timespec> {
    let when = first.into_iter().flatten().min()?;
    // A hair later than due, so that nobody wakes up a moment too early, again and again.
    let left = when.saturating_duration_since(Instant::now()) + Duration::from_micros(100);
    Some(Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_begin_anew() {
        let mut backoff = Backoff::new();
        let millis: Vec<_> = (0..12).map(|_| backoff.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(backoff.next(Duration::from_secs(10)).as_millis(), 100);
        assert_eq!(backoff.next(Duration::ZERO).as_millis(), 200);
    }

    #[test]
    fn the_first_is_waited_for() {
        assert!(until([None, None]).is_none());
        assert!(after(u64::MAX).is_none());
        let soon = until([None, after(1_000_000), after(1500)]).expect("a time");
        assert!(soon.tv_sec <= 1);
        assert!(is_due(Some(Instant::now())) && !is_due(after(10_000)) && !is_due(None));
    }
}
