//! The time of day: what people read, and what nothing is timed by.
//!
//! Time limits are kept by `Instant`, which nobody can set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, as far as this machine knows.
pub fn time_of_day() -> SystemTime {
    shifted(SystemTime::now())
}

#[cfg(not(feature = "failpoints"))]
fn shifted(now: SystemTime) -> SystemTime {
    now
}

#[cfg(feature = "failpoints")]
fn shifted(now: SystemTime) -> SystemTime {
    let seconds = super::failpoint::shift("clock");
    let by = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 { now.checked_sub(by) } else { now.checked_add(by) };
    shifted.unwrap_or(now)
}

/// How long the epoch is past; nothing where the clock stands before it.
pub fn since_epoch() -> Duration {
    time_of_day().duration_since(UNIX_EPOCH).unwrap_or_default()
}
