//! What a container may use, and the cgroup that sees to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Limits that a cgroup keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, as docker counts; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Bytes that are taken from it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u64>,
    /// Processors, as in 0.5.
    pub cpus: Option<f64>,
    /// Microseconds of processor time in each period; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Microseconds of a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// Its share where processors are scarce; 1024 is what everybody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Processors by number, as in `0-2,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes; -1 is unlimited.
    pub pids: Option<i64>,
    /// Its share of disks, from 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
    /// How fast it may use devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttles: Vec<Throttle>,
}

/// `--device-read-bps` and its like: how fast one device may be used in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// In which way.
    pub way: ThrottleWay,
    /// Path of the device.
    pub path: String,
    /// Major and minor number of the device, once somebody has looked.
    #[serde(default)]
    pub device: (u32, u32),
    /// Bytes or operations a second; 0 is unlimited.
    pub rate: u64,
}

/// What of a device's use is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThrottleWay {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    ReadOperations,
    /// Writes.
    WriteOperations,
}

impl ThrottleWay {
    /// The flag that asks for it.
    pub fn flag(self) -> &'static str {
        match self {
            Self::ReadBytes => "--device-read-bps",
            Self::WriteBytes => "--device-write-bps",
            Self::ReadOperations => "--device-read-iops",
            Self::WriteOperations => "--device-write-iops",
        }
    }
}

impl Limits {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.flags().is_empty()
    }

    /// The flags that ask for something to be kept.
    pub fn flags(&self) -> Vec<&'static str> {
        let pids = self.pids.filter(|pids| *pids >= 0);
        let all = [
            ("--memory", self.memory.is_some()),
            ("--memory-swap", self.memory_swap.is_some()),
            ("--memory-reservation", self.memory_reservation.is_some()),
            ("--cpus", self.cpus.is_some()),
            ("--cpu-quota", self.cpu_quota.is_some_and(|quota| quota > 0)),
            ("--cpu-period", self.cpu_period.is_some()),
            ("--cpu-shares", self.cpu_shares.is_some()),
            ("--cpuset-cpus", self.cpuset_cpus.is_some()),
            ("--cpuset-mems", self.cpuset_mems.is_some()),
            ("--pids-limit", pids.is_some()),
            ("--blkio-weight", self.blkio_weight.is_some()),
        ];
        let asked = all.into_iter().filter(|(_, asked)| *asked).map(|(flag, _)| flag);
        asked.chain(self.throttles.iter().map(|throttle| throttle.way.flag())).collect()
    }

    /// The flag that makes no sense beside the others, and why.
    pub fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let memory = self.memory.unwrap_or(u64::MAX);
        let swap = self.memory_swap.and_then(|total| u64::try_from(total).ok());
        let by_quota = self.cpu_quota.is_some() || self.cpu_period.is_some();
        let contradictions = [
            (
                swap.is_some() && self.memory.is_none(),
                "--memory-swap",
                "it counts memory and swap together, so --memory is needed too",
            ),
            (
                swap.is_some_and(|total| total < memory),
                "--memory-swap",
                "it counts memory and swap together, so it is at least --memory",
            ),
            (
                self.memory_reservation.is_some_and(|bytes| bytes > memory),
                "--memory-reservation",
                "it is at most --memory",
            ),
            (self.cpus.is_some() && by_quota, "--cpus", "it is another word for --cpu-quota and --cpu-period"),
        ];
        contradictions.into_iter().find(|(wrong, ..)| *wrong).map(|(_, flag, reason)| (flag, reason))
    }

    /// These, where `newer` says nothing else.
    #[must_use]
    pub fn updated(&self, newer: &Self) -> Self {
        let older = self.clone();
        let newer = newer.clone();
        // Two ways to say the same thing: the newer one counts.
        let by_cpus = newer.cpus.is_some();
        let by_quota = newer.cpu_quota.is_some() || newer.cpu_period.is_some();
        let mut throttles = older.throttles;
        for throttle in newer.throttles {
            throttles.retain(|known| (known.way, known.device) != (throttle.way, throttle.device));
            throttles.push(throttle);
        }
        Self {
            memory: newer.memory.or(older.memory),
            memory_swap: newer.memory_swap.or(older.memory_swap),
            memory_reservation: newer.memory_reservation.or(older.memory_reservation),
            cpus: newer.cpus.or(older.cpus.filter(|_| !by_quota)),
            cpu_quota: newer.cpu_quota.or(older.cpu_quota.filter(|_| !by_cpus)),
            cpu_period: newer.cpu_period.or(older.cpu_period.filter(|_| !by_cpus)),
            cpu_shares: newer.cpu_shares.or(older.cpu_shares),
            cpuset_cpus: newer.cpuset_cpus.or(older.cpuset_cpus),
            cpuset_mems: newer.cpuset_mems.or(older.cpuset_mems),
            pids: newer.pids.or(older.pids),
            blkio_weight: newer.blkio_weight.or(older.blkio_weight),
            throttles,
        }
    }
}

/// Where the cgroup of a container is, and who sees what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupRequest {
    /// `--cgroup-parent`: a slice, or a directory below which it is made.
    pub parent: Option<String>,
    /// `--cgroupns`.
    pub namespace: CgroupNamespace,
    /// `--cgroups=disabled`: it stays where whoever starts it is.
    pub disabled: bool,
    /// Whether it speaks to systemd for the service that we are part of. Of one start, not of the container.
    #[serde(skip)]
    pub speaks: bool,
}

/// `--cgroupns`: how much of the tree of cgroups a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupNamespace {
    /// Its own, as if there were no other.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// Who makes the cgroups of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// systemd, as scopes.
    Scope,
    /// We, below a cgroup that was given to us.
    Delegated,
    /// We, as root, below the root of the tree.
    Direct,
    /// Nobody.
    None,
}

impl CgroupDriver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scope, Self::Delegated, Self::Direct, Self::None];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Delegated => "delegated",
            Self::Direct => "direct",
            Self::None => "none",
        }
    }
}

impl fmt::Display for CgroupDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CgroupDriver {
    type Err = UnknownCgroupDriver;

    fn from_str(text: &str) -> Result<Self, UnknownCgroupDriver> {
        let known = Self::ALL.into_iter().find(|driver| driver.name() == text);
        // As other engines call them.
        let known = known.or(match text {
            "systemd" => Some(Self::Scope),
            "cgroupfs" => Some(Self::Direct),
            "disabled" => Some(Self::None),
            _ => None,
        });
        known.ok_or_else(|| UnknownCgroupDriver(text.to_owned()))
    }
}

/// A name that no driver has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cgroup driver is called {0:?}: there are scope, delegated, direct and none")]
pub struct UnknownCgroupDriver(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_have_the_names_of_other_engines_too() {
        for driver in CgroupDriver::ALL {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
        assert_eq!("systemd".parse(), Ok(CgroupDriver::Scope));
        assert_eq!("v1".parse::<CgroupDriver>(), Err(UnknownCgroupDriver("v1".to_owned())));
    }

    #[test]
    fn what_is_newer_counts() {
        let throttle = |rate| Throttle { way: ThrottleWay::ReadBytes, path: "/dev/x".to_owned(), device: (8, 0), rate };
        let older = Limits {
            memory: Some(1),
            cpus: Some(0.5),
            pids: Some(7),
            throttles: vec![throttle(1)],
            ..Limits::default()
        };
        let newer =
            Limits { memory: Some(2), cpu_quota: Some(1000), throttles: vec![throttle(2)], ..Limits::default() };
        let updated = older.updated(&newer);
        assert_eq!(
            (updated.memory, updated.cpus, updated.cpu_quota, updated.pids),
            (Some(2), None, Some(1000), Some(7))
        );
        assert_eq!(updated.throttles, [throttle(2)]);
        assert_eq!(updated.flags(), ["--memory", "--cpu-quota", "--pids-limit", "--device-read-bps"]);
        assert!(Limits { pids: Some(-1), ..Limits::default() }.is_empty());
    }

    #[test]
    fn contradictions_are_seen() {
        let flag = |limits: Limits| limits.contradiction().map(|(flag, _)| flag);
        let memory = Limits { memory: Some(100), ..Limits::default() };
        assert_eq!(flag(memory.clone()), None);
        assert_eq!(flag(Limits { memory_swap: Some(100), ..memory.clone() }), None);
        assert_eq!(flag(Limits { memory_swap: Some(99), ..memory.clone() }), Some("--memory-swap"));
        assert_eq!(flag(Limits { memory_swap: Some(-1), ..Limits::default() }), None);
        assert_eq!(flag(Limits { memory_swap: Some(5), ..Limits::default() }), Some("--memory-swap"));
        assert_eq!(flag(Limits { memory_reservation: Some(101), ..memory.clone() }), Some("--memory-reservation"));
        assert_eq!(flag(Limits { cpus: Some(1.0), cpu_quota: Some(1000), ..memory }), Some("--cpus"));
    }
}
