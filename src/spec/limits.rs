//! What a container may use and set: rlimits, cgroup resources, sysctls.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder};

use crate::model::container::{ContainerRequest, Limits};
use crate::model::flags::sysctl;
use crate::model::host::{HostFacts, IdMap};

use super::error::{SpecError, wrong};

/// Limits of every process: name, soft, hard. The soft one is what select(2) can
/// count to; no container leaves core dumps on the host.
pub(super) const DEFAULT_RLIMITS: [(&str, u64, u64); 2] = [("RLIMIT_NOFILE", 1024, 524_288), ("RLIMIT_CORE", 0, 0)];

/// 100 ms, the kernel's and docker's own.
const CPU_PERIOD_MICROSECONDS: u32 = 100_000;

/// The resources for a cgroup; nothing where nothing is asked for.
pub(super) fn resources(limits: &Limits) -> Result<Option<LinuxResources>, SpecError> {
    if limits.is_empty() {
        return Ok(None);
    }
    let mut resources = LinuxResourcesBuilder::default().build().map_err(wrong)?;
    if let Some(bytes) = limits.memory {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        resources.set_memory(Some(LinuxMemoryBuilder::default().limit(bytes).build().map_err(wrong)?));
    }
    if let Some(cpus) = limits.cpus {
        let quota = (cpus * f64::from(CPU_PERIOD_MICROSECONDS)).round() as i64;
        let cpu = LinuxCpuBuilder::default().quota(quota).period(u64::from(CPU_PERIOD_MICROSECONDS));
        resources.set_cpu(Some(cpu.build().map_err(wrong)?));
    }
    if let Some(pids) = limits.pids.filter(|pids| *pids >= 0) {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(pids).build().map_err(wrong)?));
    }
    Ok(Some(resources))
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
        assert_eq!(resources(&Limits { memory: None, cpus: None, pids: Some(-1) }), Ok(None));
        let all = Limits { memory: Some(256 << 20), cpus: Some(1.5), pids: Some(100) };
        let made = resources(&all).unwrap().unwrap();
        assert_eq!(made.memory().as_ref().and_then(|memory| memory.limit()), Some(256 << 20));
        assert_eq!(made.cpu().as_ref().and_then(|cpu| cpu.quota()), Some(150_000));
        assert_eq!(made.cpu().as_ref().and_then(|cpu| cpu.period()), Some(100_000));
        assert_eq!(made.pids().as_ref().map(|pids| pids.limit()), Some(100));
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
