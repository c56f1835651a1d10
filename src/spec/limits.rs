//! What a container may use and set: rlimits, cgroup resources, sysctls.

use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder, LinuxThrottleDeviceBuilder,
};

use crate::model::container::ContainerRequest;
use crate::model::flags::sysctl;
use crate::model::host::{HostFacts, IdMap};
use crate::model::limits::{Limits, Throttle, ThrottleWay};

use super::error::{SpecError, wrong};

/// Limits of every process: name, soft, hard. The soft one is what select(2) can
/// count to; no container leaves core dumps on the host.
pub(super) const DEFAULT_RLIMITS: [(&str, u64, u64); 2] = [("RLIMIT_NOFILE", 1024, 524_288), ("RLIMIT_CORE", 0, 0)];

/// 100 ms, the kernel's and docker's own.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;

/// The resources for a cgroup; nothing where nothing is asked for.
///
/// # Errors
/// If the OCI has no words for them.
pub fn resources(limits: &Limits) -> Result<Option<LinuxResources>, SpecError> {
    if limits.is_empty() {
        return Ok(None);
    }
    let mut resources = LinuxResourcesBuilder::default().build().map_err(wrong)?;
    resources.set_memory(memory(limits)?);
    resources.set_cpu(cpu(limits)?);
    if let Some(pids) = limits.pids.filter(|pids| *pids >= 0) {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(pids).build().map_err(wrong)?));
    }
    resources.set_block_io(block_io(limits)?);
    Ok(Some(resources))
}

fn memory(limits: &Limits) -> Result<Option<LinuxMemory>, SpecError> {
    if limits.memory.is_none() && limits.memory_swap.is_none() && limits.memory_reservation.is_none() {
        return Ok(None);
    }
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut memory = LinuxMemoryBuilder::default().build().map_err(wrong)?;
    memory.set_limit(limits.memory.map(signed));
    // Both together, as docker counts; without a word, as much again.
    let usual = || limits.memory.map(|bytes| signed(bytes.saturating_mul(2)));
    memory.set_swap(limits.memory_swap.or_else(usual));
    memory.set_reservation(limits.memory_reservation.map(signed));
    Ok(Some(memory))
}

fn cpu(limits: &Limits) -> Result<Option<LinuxCpu>, SpecError> {
    let mut cpu = LinuxCpuBuilder::default().build().map_err(wrong)?;
    let unset = cpu.clone();
    let period = limits.cpu_period.unwrap_or(CPU_PERIOD_MICROSECONDS);
    #[expect(clippy::cast_precision_loss, reason = "a period is at most a second")]
    let quota = limits.cpus.map(|cpus| (cpus * period as f64).round() as i64).or(limits.cpu_quota);
    cpu.set_quota(quota);
    cpu.set_period(quota.map(|_| period).or(limits.cpu_period));
    cpu.set_shares(limits.cpu_shares.filter(|shares| *shares > 0));
    cpu.set_cpus(limits.cpuset_cpus.clone());
    cpu.set_mems(limits.cpuset_mems.clone());
    Ok(Some(cpu).filter(|cpu| *cpu != unset))
}

fn block_io(limits: &Limits) -> Result<Option<LinuxBlockIo>, SpecError> {
    if limits.blkio_weight.is_none() && limits.throttles.is_empty() {
        return Ok(None);
    }
    let mut block_io = LinuxBlockIoBuilder::default().build().map_err(wrong)?;
    block_io.set_weight(limits.blkio_weight);
    let device = |throttle: &Throttle| {
        let (major, minor) = throttle.device;
        let device = LinuxThrottleDeviceBuilder::default().major(i64::from(major)).minor(i64::from(minor));
        device.rate(throttle.rate).build().map_err(wrong)
    };
    let of = |way: ThrottleWay| {
        let devices = limits.throttles.iter().filter(|throttle| throttle.way == way).map(device);
        let devices = devices.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, SpecError>(Some(devices).filter(|devices| !devices.is_empty()))
    };
    block_io.set_throttle_read_bps_device(of(ThrottleWay::ReadBytes)?);
    block_io.set_throttle_write_bps_device(of(ThrottleWay::WriteBytes)?);
    block_io.set_throttle_read_iops_device(of(ThrottleWay::ReadOperations)?);
    block_io.set_throttle_write_iops_device(of(ThrottleWay::WriteOperations)?);
    Ok(Some(block_io))
}

/// The defaults of a network namespace of its own, then `--sysctl`.
///
/// With them ping needs no capability, and neither does a port below 1024.
pub(super) fn sysctls(
    request: &ContainerRequest,
    host: &HostFacts,
) -> Result<Option<HashMap<String, String>>, SpecError> {
    let mut settings = HashMap::new();
    let own_network = request.network.is_own();
    if own_network {
        let highest = if host.user_namespace { IdMap::highest(&host.id_map.gids) } else { i32::MAX as u32 };
        settings.insert("net.ipv4.ping_group_range".into(), format!("0 {highest}"));
        settings.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
    }
    for (name, value) in &request.sysctls {
        sysctl::check(name, value)
            .map_err(|reason| SpecError::Unsupported { what: format!("--sysctl {name}"), reason: reason.into() })?;
        if name.starts_with("net.") && !own_network {
            return Err(SpecError::Unsupported {
                what: format!("--sysctl {name}"),
                reason: "the container has the host's network, whose settings are not its own".into(),
            });
        }
        settings.insert(name.clone(), value.clone());
    }
    Ok(Some(settings).filter(|settings| !settings.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::NetworkMode;
    use crate::spec::fixtures;

    #[test]
    fn limits_become_resources() {
        assert_eq!(resources(&Limits { pids: Some(-1), ..Limits::default() }), Ok(None));
        let all = Limits { memory: Some(256 << 20), cpus: Some(1.5), pids: Some(100), ..Limits::default() };
        let made = resources(&all).unwrap().unwrap();
        assert_eq!(made.memory().as_ref().and_then(|memory| memory.limit()), Some(256 << 20));
        assert_eq!(made.memory().as_ref().and_then(|memory| memory.swap()), Some(512 << 20));
        assert_eq!(made.cpu().as_ref().and_then(|cpu| cpu.quota()), Some(150_000));
        assert_eq!(made.cpu().as_ref().and_then(|cpu| cpu.period()), Some(100_000));
        assert_eq!(made.pids().as_ref().map(|pids| pids.limit()), Some(100));
        assert!(made.block_io().is_none());
    }

    #[test]
    fn shares_and_devices_become_resources() {
        let way = ThrottleWay::WriteOperations;
        let limits = Limits {
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".into()),
            blkio_weight: Some(500),
            throttles: vec![Throttle { way, path: "/dev/vda".into(), device: (254, 0), rate: 9 }],
            ..Limits::default()
        };
        let made = resources(&limits).unwrap().unwrap();
        assert!(made.memory().is_none() && made.pids().is_none());
        let cpu = made.cpu().clone().unwrap();
        assert_eq!(
            (cpu.shares(), cpu.cpus().as_deref(), cpu.quota(), cpu.period()),
            (Some(512), Some("0"), None, None)
        );
        let block_io = made.block_io().clone().unwrap();
        assert_eq!((block_io.weight(), block_io.throttle_read_bps_device().is_none()), (Some(500), true));
        let throttles = block_io.throttle_write_iops_device().clone().unwrap();
        assert_eq!(
            throttles.iter().map(|one| (one.major(), one.minor(), one.rate())).collect::<Vec<_>>(),
            [(254, 0, 9)]
        );
    }

    #[test]
    fn sysctls_of_an_own_network() {
        let mut request = ContainerRequest::default();
        let made = sysctls(&request, &fixtures::host()).unwrap().unwrap();
        assert_eq!(made.get("net.ipv4.ping_group_range").map(String::as_str), Some("0 65536"));
        assert_eq!(made.get("net.ipv4.ip_unprivileged_port_start").map(String::as_str), Some("0"));
        request.sysctls = vec![("net.ipv4.ip_unprivileged_port_start".into(), "80".into())];
        let made = sysctls(&request, &fixtures::host()).unwrap().unwrap();
        assert_eq!(made.get("net.ipv4.ip_unprivileged_port_start").map(String::as_str), Some("80"));
    }

    #[test]
    fn sysctls_of_the_host_are_left_alone() {
        let mut request = ContainerRequest { network: NetworkMode::Host, ..ContainerRequest::default() };
        assert_eq!(sysctls(&request, &fixtures::host()), Ok(None));
        for name in ["net.core.somaxconn", "kernel.core_pattern"] {
            request.sysctls = vec![(name.into(), "1".into())];
            assert!(matches!(sysctls(&request, &fixtures::host()), Err(SpecError::Unsupported { .. })), "{name}");
        }
        request.sysctls = vec![("kernel.shmmax".into(), "1".into())];
        assert_eq!(sysctls(&request, &fixtures::host()).unwrap().unwrap().len(), 1);
    }
}
