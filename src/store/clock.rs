//! What time it is, for ages and leases.

use crate::sys::clock;

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    i64::try_from(clock::since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since the machine was started, sleep included: a clock that nobody can set.
pub(super) fn since_boot() -> i64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// Which boot of the machine this is; the seconds of [`since_boot`] count from it.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
