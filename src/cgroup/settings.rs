//! Limits as lines for the files of a cgroup.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::weight;
use crate::model::limits::{Limits, Throttle, ThrottleWay};

/// Processes that a container may have of which nobody said how many: podman's number. It ends fork bombs.
pub const DEFAULT_PIDS: i64 = 2048;

/// 100 ms, the kernel's and docker's own.
pub const DEFAULT_PERIOD: u64 = 100_000;

/// One line for one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Name of the file.
    pub file: String,
    /// What is written.
    pub value: String,
    /// Whether somebody asked for it: what nobody asked for may be missing.
    pub asked: bool,
}

impl Setting {
    fn asked(file: &str, value: impl Display) -> Self {
        Self { file: file.to_owned(), value: value.to_string(), asked: true }
    }

    fn usual(file: &str, value: impl Display) -> Self {
        Self { asked: false, ..Self::asked(file, value) }
    }

    /// The controller that has the file.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// What a cgroup competes with, on the scale of cgroup v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Of processor time.
    pub cpu: Option<u64>,
    /// Of disks.
    pub io: Option<u64>,
}

/// The shares that are asked for. They count beside other containers, so they belong to the uppermost directory of one.
pub fn weights(limits: &Limits) -> Weights {
    Weights { cpu: limits.cpu_shares.and_then(weight::of_shares), io: limits.blkio_weight.map(weight::of_blkio) }
}

impl Weights {
    /// Lines for the directory that has them.
    pub fn settings(self) -> Vec<Setting> {
        let cpu = self.cpu.map(|weight| Setting::asked("cpu.weight", weight));
        let io = self.io.map(|weight| Setting::asked("io.weight", weight));
        cpu.into_iter().chain(io).collect()
    }
}

/// All that a container's processes are held to, weights left out.
pub fn settings(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    settings.extend(limits.memory.map(|bytes| Setting::asked("memory.max", bytes)));
    settings.extend(swap(limits));
    settings.extend(limits.memory_reservation.map(|bytes| Setting::asked("memory.low", bytes)));
    settings.extend(bandwidth(limits).map(|(quota, period)| {
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        Setting::asked("cpu.max", format!("{quota} {period}"))
    }));
    settings.extend(limits.cpuset_cpus.as_ref().map(|cpus| Setting::asked("cpuset.cpus", cpus)));
    settings.extend(limits.cpuset_mems.as_ref().map(|mems| Setting::asked("cpuset.mems", mems)));
    settings.push(match limits.pids {
        None => Setting::usual("pids.max", DEFAULT_PIDS),
        Some(unlimited) if unlimited < 0 => Setting::usual("pids.max", "max"),
        Some(pids) => Setting::asked("pids.max", pids),
    });
    settings.extend(limits.throttles.iter().map(throttle));
    settings
}

/// Docker counts swap and memory together; without a word, as much swap as memory can be had.
fn swap(limits: &Limits) -> Option<Setting> {
    let own = |memory: u64, total: i64| u64::try_from(total).unwrap_or(0).saturating_sub(memory);
    match (limits.memory, limits.memory_swap) {
        (_, Some(unlimited)) if unlimited < 0 => Some(Setting::asked("memory.swap.max", "max")),
        (Some(memory), Some(total)) => Some(Setting::asked("memory.swap.max", own(memory, total))),
        (Some(memory), None) => Some(Setting::usual("memory.swap.max", memory)),
        // Refused where flags are read: there is nothing to subtract.
        (None, _) => None,
    }
}

/// Microseconds of each period, and the period; no number is no limit.
pub fn bandwidth(limits: &Limits) -> Option<(Option<u64>, u64)> {
    let period = limits.cpu_period.unwrap_or(DEFAULT_PERIOD);
    #[expect(clippy::cast_precision_loss, reason = "a period is at most a second")]
    let of_cpus = |cpus: f64| (cpus * period as f64).round() as u64;
    match (limits.cpus, limits.cpu_quota) {
        (Some(cpus), _) => Some((Some(of_cpus(cpus)), period)),
        (None, Some(quota)) => Some((u64::try_from(quota).ok().filter(|quota| *quota > 0), period)),
        (None, None) => limits.cpu_period.map(|period| (None, period)),
    }
}

fn throttle(throttle: &Throttle) -> Setting {
    let key = match throttle.way {
        ThrottleWay::ReadBytes => "rbps",
        ThrottleWay::WriteBytes => "wbps",
        ThrottleWay::ReadOperations => "riops",
        ThrottleWay::WriteOperations => "wiops",
    };
    let rate = if throttle.rate == 0 { "max".to_owned() } else { throttle.rate.to_string() };
    let (major, minor) = throttle.device;
    Setting::asked("io.max", format!("{major}:{minor} {key}={rate}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limits: &Limits) -> Vec<String> {
        settings(limits).iter().map(|setting| format!("{} {}", setting.file, setting.value)).collect()
    }

    #[test]
    fn limits_become_lines() {
        let limits = Limits {
            memory: Some(256 << 20),
            memory_swap: Some(256 << 20),
            memory_reservation: Some(1 << 20),
            cpus: Some(1.5),
            cpuset_cpus: Some("0-1".to_owned()),
            pids: Some(100),
            throttles: vec![Throttle {
                way: ThrottleWay::WriteOperations,
                path: "/dev/vda".to_owned(),
                device: (254, 0),
                rate: 50,
            }],
            ..Limits::default()
        };
        let expected = [
            "memory.max 268435456",
            "memory.swap.max 0",
            "memory.low 1048576",
            "cpu.max 150000 100000",
            "cpuset.cpus 0-1",
            "pids.max 100",
            "io.max 254:0 wiops=50",
        ];
        assert_eq!(lines(&limits), expected);
        let controllers: Vec<_> = settings(&limits).iter().map(|setting| setting.controller().to_owned()).collect();
        assert_eq!(controllers, ["memory", "memory", "memory", "cpu", "cpuset", "pids", "io"]);
    }

    #[test]
    fn swap_is_what_is_left_of_the_sum() {
        let of = |memory, memory_swap| {
            let setting = swap(&Limits { memory, memory_swap, ..Limits::default() });
            setting.map(|setting| (setting.value, setting.asked))
        };
        assert_eq!(of(Some(100), None), Some(("100".to_owned(), false)));
        assert_eq!(of(Some(100), Some(250)), Some(("150".to_owned(), true)));
        assert_eq!(of(Some(100), Some(100)), Some(("0".to_owned(), true)));
        assert_eq!(of(Some(100), Some(-1)), Some(("max".to_owned(), true)));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn processor_time_has_two_flags() {
        let of = |cpus, cpu_quota, cpu_period| bandwidth(&Limits { cpus, cpu_quota, cpu_period, ..Limits::default() });
        assert_eq!(of(Some(0.5), None, None), Some((Some(50_000), 100_000)));
        assert_eq!(of(None, Some(20_000), None), Some((Some(20_000), 100_000)));
        assert_eq!(of(None, Some(20_000), Some(40_000)), Some((Some(20_000), 40_000)));
        assert_eq!(of(None, Some(-1), None), Some((None, 100_000)));
        assert_eq!(of(None, None, Some(50_000)), Some((None, 50_000)));
        assert_eq!(of(None, None, None), None);
    }

    #[test]
    fn nobody_asked_for_the_usual() {
        let usual = settings(&Limits::default());
        assert_eq!(usual, [Setting { file: "pids.max".to_owned(), value: "2048".to_owned(), asked: false }]);
        assert_eq!(lines(&Limits { pids: Some(-1), ..Limits::default() }), ["pids.max max"]);
        let weights = weights(&Limits { cpu_shares: Some(512), blkio_weight: Some(1000), ..Limits::default() });
        assert_eq!(weights, Weights { cpu: Some(59), io: Some(10_000) });
        assert_eq!(weights.settings()[1].value, "10000");
    }
}
