//! Limits that only a cgroup can hold, where there is none or it lacks what they need.
//!
//! A limit is never dropped in silence: what cannot be held is refused, with the
//! way to have it held all the same.

use crate::cgroup::driver::{Choice, DROP_IN};
use crate::cgroup::settings::{self, Setting};
use crate::engine::api::{Failure, FailureKind};
use crate::logs::journal::entry as journal;
use crate::model::limits::Limits;
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

/// Refuses `limits`, if there are any that `choice` does not hold. `controllers` are those that it has to give, where
/// that is known.
///
/// # Errors
/// With the flags that cannot be kept, why, and what to do about it.
pub(super) fn check(limits: &Limits, choice: &Choice, controllers: Option<&[String]>) -> Result<(), Failure> {
    if let Some((flag, reason)) = limits.contradiction() {
        return Err(Failure::say(FailureKind::Invalid, format!("{flag}: {reason}")).hint("pybox run --help".to_owned()));
    }
    if limits.is_empty() {
        return Ok(());
    }
    if let Choice::None { why, hint } = choice {
        let message = format!("cannot hold {}: {why}", limits.flags().join(", "));
        return Err(Failure::say(FailureKind::Host, message).hint(hint.clone()));
    }
    let mut needed = settings::settings(limits);
    needed.extend(settings::weights(limits).settings());
    let Some(there) = controllers else { return Ok(()) };
    let lacks = |setting: &&Setting| setting.asked && !there.iter().any(|known| known == setting.controller());
    let mut missing: Vec<_> = needed.iter().filter(lacks).map(Setting::controller).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let (what, verb) = if missing.len() == 1 { ("controller", "is") } else { ("controllers", "are") };
    let message = format!(
        "cannot hold {}: the {what} {} {verb} not delegated to you",
        limits.flags().join(", "),
        missing.join(", ")
    );
    Err(Failure::say(FailureKind::Host, message).hint(DROP_IN.to_owned()))
}

/// Refuses a score for the OOM killer that the kernel would refuse.
///
/// # Errors
/// If it is below our own, and we may not lower that.
pub(super) fn check_score(wanted: Option<i32>) -> Result<(), Failure> {
    use rustix::thread::{CapabilitySet, capabilities};
    let Some(wanted) = wanted else { return Ok(()) };
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let own = text.trim().parse().unwrap_or(0);
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    if wanted >= own || may {
        return Ok(());
    }
    let message = format!("--oom-score-adj {wanted}: the kernel lets only root go below its own score, which is {own}");
    Err(Failure::say(FailureKind::Host, message).hint(format!("choose {own} or more, up to 1000")))
}

/// Looks up the numbers of the devices that are throttled.
///
/// # Errors
/// If one is no disk.
pub(super) fn find_devices(limits: &mut Limits) -> Result<(), Failure> {
    for throttle in &mut limits.throttles {
        let flag = throttle.way.flag();
        let refuse = |why: String| {
            let failure = Failure::say(FailureKind::Invalid, format!("{flag} {}: {why}", throttle.path));
            failure.hint("lsblk --nodeps shows the disks".to_owned())
        };
        let stat = rustix::fs::stat(&throttle.path).map_err(|error| refuse(error.to_string()))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
            return Err(refuse("it is no disk".to_owned()));
        }
        throttle.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::{Throttle, ThrottleWay};

    fn none() -> Choice {
        Choice::None { why: "this host has no cgroup v2".to_owned(), hint: "boot with it".to_owned() }
    }

    #[test]
    fn what_cannot_be_held_is_refused_with_a_way_out() {
        assert!(check(&Limits { pids: Some(-1), ..Limits::default() }, &none(), None).is_ok());
        let limits = Limits { memory: Some(1 << 28), cpus: Some(0.5), pids: Some(100), ..Limits::default() };
        let failure = check(&limits, &none(), None).expect_err("refused");
        assert_eq!(failure.message, "cannot hold --memory, --cpus, --pids-limit: this host has no cgroup v2");
        assert_eq!(failure.hint.as_deref(), Some("boot with it"));
    }

    #[test]
    fn a_controller_that_is_kept_from_us_is_named() {
        let there = ["memory".to_owned(), "pids".to_owned()];
        let limits = Limits { memory: Some(1 << 28), pids: Some(5), ..Limits::default() };
        assert!(check(&limits, &Choice::Scope, Some(&there)).is_ok());
        let limits = Limits { cpus: Some(1.0), cpu_shares: Some(5), blkio_weight: Some(500), ..limits };
        assert!(check(&limits, &Choice::Scope, None).is_ok());
        let failure = check(&limits, &Choice::Scope, Some(&there)).expect_err("refused");
        assert!(failure.message.ends_with(": the controllers cpu, io are not delegated to you"), "{}", failure.message);
        assert!(failure.hint.is_some_and(|hint| hint.contains("Delegate=cpu cpuset io memory pids")));
    }

    #[test]
    fn only_disks_are_throttled() {
        let throttle =
            |path: &str| Throttle { way: ThrottleWay::ReadBytes, path: path.into(), device: (0, 0), rate: 1 };
        for (path, why) in [("/dev/null", "it is no disk"), ("/nowhere", "No such file")] {
            let mut limits = Limits { throttles: vec![throttle(path)], ..Limits::default() };
            let failure = find_devices(&mut limits).expect_err("no disk");
            assert!(failure.message.starts_with(&format!("--device-read-bps {path}: {why}")), "{}", failure.message);
        }
    }

    #[test]
    fn nobody_becomes_safer_than_we_are() {
        assert!(check_score(None).is_ok());
        assert!(check_score(Some(1000)).is_ok());
    }
}
