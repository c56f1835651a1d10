//! Limits that only a cgroup can hold, on a host where none of ours exists.
//!
//! A limit is never dropped in silence: what cannot be held is refused, with the
//! way to have it held all the same.

use std::fmt::Write as _;

use crate::engine::api::{Failure, FailureKind};
use crate::logs::journal::entry as journal;
use crate::model::container::Limits;
use crate::model::supervision::{LogDriver, LogRequest};

/// Refuses the journal where none listens.
///
/// # Errors
/// If the journal is wanted and its socket is not there.
pub(super) fn check_log(log: &LogRequest) -> Result<(), Failure> {
    if log.driver != LogDriver::Journald || std::path::Path::new(journal::SOCKET).exists() {
        return Ok(());
    }
    let sentence = format!("--log-driver journald: no journal listens on this host, {} is missing", journal::SOCKET);
    let failure = Failure::say(FailureKind::Host, sentence);
    Err(failure.hint("keep the output in a file: --log-driver file".to_owned()))
}

/// Refuses `limits`, if there are any.
///
/// # Errors
/// With the flags that cannot be kept, why, and a command that keeps them.
pub(super) fn check(limits: &Limits, cgroup_version: &str) -> Result<(), Failure> {
    if limits.is_empty() {
        return Ok(());
    }
    let mut flags = Vec::new();
    let mut properties = String::new();
    if let Some(bytes) = limits.memory {
        flags.push("--memory");
        let _ = write!(properties, " -p MemoryMax={bytes}");
    }
    if let Some(cpus) = limits.cpus {
        flags.push("--cpus");
        let _ = write!(properties, " -p CPUQuota={:.0}%", cpus * 100.0);
    }
    if let Some(count) = limits.pids.filter(|count| *count >= 0) {
        flags.push("--pids-limit");
        let _ = write!(properties, " -p TasksMax={count}");
    }
    let why = match cgroup_version {
        "2" => "pybox does not make cgroups of its own yet",
        "1" => "this host has cgroup v1, which gives users no cgroup of their own",
        _ => "this host has no cgroups",
    };
    let hint = match cgroup_version {
        "2" => format!("run it in a scope that holds them: systemd-run --user --scope{properties} pybox run …"),
        _ => "boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2, or leave the limits out".to_owned(),
    };
    let message = format!("cannot hold {}: {why}", flags.join(", "));
    Err(Failure::say(FailureKind::Host, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_refused_with_a_way_out() {
        assert!(check(&Limits { pids: Some(-1), ..Limits::default() }, "2").is_ok());
        let limits = Limits { memory: Some(1 << 28), cpus: Some(0.5), pids: Some(100) };
        let failure = check(&limits, "2").expect_err("refused");
        assert!(failure.message.starts_with("cannot hold --memory, --cpus, --pids-limit: "), "{}", failure.message);
        let hint = failure.hint.expect("a hint");
        assert!(hint.contains("-p MemoryMax=268435456 -p CPUQuota=50% -p TasksMax=100 "), "{hint}");
    }
}
