//! The flags that say how much a container may use: those of `run`, `create` and `update`.
//!
//! What few people ask for is left out of the page of help, and named at its end.

use clap::Args;

use crate::model::flags::limits::{self, Number};
use crate::model::flags::{InvalidFlag, size};
use crate::model::limits::{Limits, Throttle, ThrottleWay};

/// How much it may use.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitFlags {
    /// Memory, as in 256m
    #[arg(short, long, value_name = "SIZE")]
    pub(super) memory: Option<String>,

    /// Memory and swap together; -1 for no limit of swap
    #[arg(long, hide = true, value_name = "SIZE", allow_negative_numbers = true)]
    pub(super) memory_swap: Option<String>,

    /// Memory that is taken from it last
    #[arg(long, hide = true, value_name = "SIZE")]
    pub(super) memory_reservation: Option<String>,

    /// Processors, as in 0.5
    #[arg(long, alias = "cpu", value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) cpus: Option<String>,

    /// Its share where processors are scarce; others have 1024
    #[arg(short, long, hide = true, value_name = "NUMBER")]
    pub(super) cpu_shares: Option<String>,

    /// Microseconds in which --cpu-quota counts
    #[arg(long, hide = true, value_name = "NUMBER")]
    pub(super) cpu_period: Option<String>,

    /// Microseconds of processor time in each period; -1 for no limit
    #[arg(long, hide = true, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) cpu_quota: Option<String>,

    /// Processors that it may run on, as in 0-2,7
    #[arg(long, hide = true, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,

    /// Memory nodes that it may use, as in 0
    #[arg(long, hide = true, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,

    /// Processes; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) pids_limit: Option<String>,

    /// Its share of disks, from 10 to 1000
    #[arg(long, hide = true, value_name = "NUMBER")]
    pub(super) blkio_weight: Option<String>,

    /// Bytes a second that it may read from a disk, as in /dev/vda:1m
    #[arg(long, hide = true, value_name = "DEVICE:SIZE")]
    pub(super) device_read_bps: Vec<String>,

    /// Bytes a second that it may write to a disk
    #[arg(long, hide = true, value_name = "DEVICE:SIZE")]
    pub(super) device_write_bps: Vec<String>,

    /// Reads a second that it may ask of a disk
    #[arg(long, hide = true, value_name = "DEVICE:NUMBER")]
    pub(super) device_read_iops: Vec<String>,

    /// Writes a second that it may ask of a disk
    #[arg(long, hide = true, value_name = "DEVICE:NUMBER")]
    pub(super) device_write_iops: Vec<String>,

    /// Of docker, for cgroup v1.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) oom_kill_disable: Option<String>,
}

impl LimitFlags {
    /// What they mean.
    ///
    /// # Errors
    /// With the first that makes no sense.
    pub(super) fn read(&self) -> Result<Limits, InvalidFlag> {
        if let Some(value) = self.oom_kill_disable.as_deref().filter(|value| *value != "false") {
            let reason = "cgroup v2 has no such switch: without it a container at its limit would stand still for ever";
            return Err(InvalidFlag::new("--oom-kill-disable", value, reason));
        }
        let number = |which: Number, text: &Option<String>| text.as_deref().map(|text| which.read(text)).transpose();
        let list = |flag, text: &Option<String>| text.as_deref().map(|text| limits::cpuset(flag, text)).transpose();
        Ok(Limits {
            memory: self.memory.as_deref().map(size::memory).transpose()?,
            memory_swap: self.memory_swap.as_deref().map(limits::memory_swap).transpose()?,
            memory_reservation: self
                .memory_reservation
                .as_deref()
                .map(|text| size::parse("--memory-reservation", text))
                .transpose()?,
            cpus: self.cpus.as_deref().map(limits::cpus).transpose()?,
            cpu_shares: number(Number::Shares, &self.cpu_shares)?,
            cpu_period: number(Number::Period, &self.cpu_period)?,
            cpu_quota: self.cpu_quota.as_deref().map(limits::cpu_quota).transpose()?,
            cpuset_cpus: list("--cpuset-cpus", &self.cpuset_cpus)?,
            cpuset_mems: list("--cpuset-mems", &self.cpuset_mems)?,
            pids: self.pids_limit.as_deref().map(limits::pids).transpose()?,
            blkio_weight: number(Number::DiskWeight, &self.blkio_weight)?.and_then(|weight| u16::try_from(weight).ok()),
            throttles: self.throttles()?,
        })
    }

    fn throttles(&self) -> Result<Vec<Throttle>, InvalidFlag> {
        let all = [
            (ThrottleWay::ReadBytes, &self.device_read_bps),
            (ThrottleWay::WriteBytes, &self.device_write_bps),
            (ThrottleWay::ReadOperations, &self.device_read_iops),
            (ThrottleWay::WriteOperations, &self.device_write_iops),
        ];
        let each = all.into_iter().flat_map(|(way, texts)| texts.iter().map(move |text| (way, text)));
        each.map(|(way, text)| limits::throttle(way, text)).collect()
    }
}
