//! Naming a process so that a recycled pid is not mistaken for it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// When process `pid` started: clock ticks after boot (field 22 of
/// `/proc/PID/stat`, proc_pid_stat(5)).
///
/// # Errors
/// ENOENT or ESRCH if there is no such process.
pub fn started_ticks(pid: u32) -> Result<u64, Errno> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    parse_started_ticks(&text).ok_or(Errno::INVAL)
}

/// The pidfd of exactly this process, whoever may have its number by now, if it is there.
pub fn hold(pid: u32, started_ticks: u64) -> Option<OwnedFd> {
    let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw)?;
    let pidfd = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()?;
    // Opened first, compared after: the pidfd stays with the process it was opened on.
    (self::started_ticks(pid) == Ok(started_ticks)).then_some(pidfd)
}

/// The name in field 2 may hold spaces and brackets: count from the last bracket.
fn parse_started_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The identifier of this boot of the machine.
///
/// # Errors
/// Those of reading `/proc/sys/kernel/random/boot_id`.
pub fn boot_id() -> Result<String, Errno> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_cannot_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 2 3";
        assert_eq!(parse_started_ticks(stat), Some(777));
        assert_eq!(parse_started_ticks("42 (x) S 1"), None);
        assert!(started_ticks(std::process::id()).is_ok());
    }
}
