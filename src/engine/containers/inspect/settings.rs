//! `Config`, `HostConfig` and `NetworkSettings` of an inspected container. Pure.

use std::collections::BTreeMap;

use oci_spec::runtime::{Process, Spec};
use serde_json::{Map, Value, json};

use crate::model::container::{ContainerRequest, Mount, MountSource, Seccomp, UserNamespace};
use crate::model::flags::signal;
use crate::model::limits::{Limits, ThrottleWay};
use crate::model::network::{Lease, Network};
use crate::model::supervision::{HealthCheck, RestartPolicy};
use crate::monitor::protocol::Start;

/// What /dev/shm has without `--shm-size`.
const SHM_SIZE: u64 = 64 << 20;

/// What the container was made to run.
pub(super) fn config(
    request: &ContainerRequest,
    (process, spec): (Option<&Process>, Option<&Spec>),
    start: Option<&Start>,
) -> Value {
    let mut config = json!({
        "Hostname": spec.and_then(|spec| spec.hostname().clone()),
        "Domainname": "",
        "User": request.user.clone().unwrap_or_default(),
        "AttachStdin": request.interactive,
        "Tty": request.tty,
        "OpenStdin": request.interactive,
        "Env": process.and_then(|process| process.env().clone()),
        "Cmd": request.command,
        "Entrypoint": request.entrypoint,
        "Image": request.image,
        "WorkingDir": process.map(|process| process.cwd().clone()),
        "Labels": request.labels,
        "Volumes": volumes(&request.mounts),
        "ExposedPorts": {},
        "StopSignal": signal::name(start.map(|start| start.stop.signal).or(request.stop_signal).unwrap_or(15)),
        "StopTimeout": request.stop_timeout,
    });
    if let (Some(check), Some(config)) = (start.and_then(|start| start.health.as_ref()), config.as_object_mut()) {
        config.insert("Healthcheck".to_owned(), health_check(check));
    }
    config
}

fn health_check(check: &HealthCheck) -> Value {
    let nanoseconds = |milliseconds: u64| milliseconds.saturating_mul(1_000_000);
    let test: Vec<&str> = std::iter::once("CMD").chain(check.command.iter().map(String::as_str)).collect();
    json!({
        "Test": test,
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "Retries": check.retries,
    })
}

fn volumes(mounts: &[Mount]) -> Map<String, Value> {
    let volumes = mounts.iter().filter(|mount| matches!(mount.source, MountSource::Volume(_)));
    volumes.map(|mount| (mount.target.clone(), json!({}))).collect()
}

/// What of the host it has, and how it is watched.
pub(super) fn host_config(request: &ContainerRequest, spec: Option<&Spec>) -> Value {
    let nano_cpus = request.limits.cpus.map(|cpus| (cpus * 1e9) as u64);
    let linux = spec.and_then(|spec| spec.linux().as_ref());
    let mut config = json!({
        "AutoRemove": request.remove,
        "Binds": binds(&request.mounts),
        "Tmpfs": tmpfs(&request.mounts),
        "RestartPolicy": restart(request.restart),
        "LogConfig": { "Type": request.log.driver, "Config": log_options(request) },
        "NetworkMode": network(request),
        "PortBindings": ports(request),
        "PublishAllPorts": request.publish_all,
        "Privileged": request.privileged,
        "ReadonlyRootfs": request.read_only,
        "CapAdd": request.cap_add,
        "CapDrop": request.cap_drop,
        "SecurityOpt": security(request),
        "MaskedPaths": linux.and_then(|linux| linux.masked_paths().clone()).unwrap_or_default(),
        "ReadonlyPaths": linux.and_then(|linux| linux.readonly_paths().clone()).unwrap_or_default(),
        "Init": request.init,
        "ShmSize": request.shm_size.unwrap_or(SHM_SIZE),
        "Sysctls": request.sysctls.iter().cloned().collect::<BTreeMap<_, _>>(),
        "Ulimits": request.ulimits.iter().map(|limit| json!({
            "Name": limit.name.trim_start_matches("RLIMIT_").to_lowercase(), "Soft": most(limit.soft), "Hard": most(limit.hard),
        })).collect::<Vec<_>>(),
        "Devices": request.devices.iter().map(|device| json!({
            "PathOnHost": device.host, "PathInContainer": device.container, "CgroupPermissions": device.permissions,
        })).collect::<Vec<_>>(),
        "Dns": request.dns,
        "DnsSearch": request.dns_search,
        "DnsOptions": request.dns_options,
        "ExtraHosts": request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        "GroupAdd": request.groups,
        "UsernsMode": match request.userns {
            UserNamespace::Default => "",
            UserNamespace::KeepId { .. } => "keep-id",
            UserNamespace::Host => "host",
        },
        "IpcMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "CgroupnsMode": request.cgroup.namespace,
        "Cgroup": "",
        "CgroupParent": request.cgroup.parent.as_deref().unwrap_or_default(),
        "OomScoreAdj": request.oom_score_adj.unwrap_or(0),
        "OomKillDisable": false,
        "Memory": request.limits.memory.unwrap_or(0),
        "NanoCpus": nano_cpus.unwrap_or(0),
        "PidsLimit": request.limits.pids,
        "Timeout": request.timeout,
    });
    if let Some(config) = config.as_object_mut() {
        config.extend(resources(&request.limits));
    }
    config
}

/// The limits that are asked for less often.
fn resources(limits: &Limits) -> Map<String, Value> {
    let throttles = |way: ThrottleWay| -> Value {
        let those = limits.throttles.iter().filter(|throttle| throttle.way == way);
        those.map(|throttle| json!({ "Path": throttle.path, "Rate": throttle.rate })).collect()
    };
    let fields = [
        ("MemorySwap", json!(limits.memory_swap.unwrap_or(0))),
        ("MemoryReservation", json!(limits.memory_reservation.unwrap_or(0))),
        ("CpuShares", json!(limits.cpu_shares.unwrap_or(0))),
        ("CpuPeriod", json!(limits.cpu_period.unwrap_or(0))),
        ("CpuQuota", json!(limits.cpu_quota.unwrap_or(0))),
        ("CpusetCpus", json!(limits.cpuset_cpus.as_deref().unwrap_or_default())),
        ("CpusetMems", json!(limits.cpuset_mems.as_deref().unwrap_or_default())),
        ("BlkioWeight", json!(limits.blkio_weight.unwrap_or(0))),
        ("BlkioDeviceReadBps", throttles(ThrottleWay::ReadBytes)),
        ("BlkioDeviceWriteBps", throttles(ThrottleWay::WriteBytes)),
        ("BlkioDeviceReadIOps", throttles(ThrottleWay::ReadOperations)),
        ("BlkioDeviceWriteIOps", throttles(ThrottleWay::WriteOperations)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Unlimited is -1, as docker has it.
fn most(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(-1)
}

/// As `-v` takes them. A volume that came without a name is not among them, in docker neither.
fn binds(mounts: &[Mount]) -> Vec<String> {
    let anonymous = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bind = |mount: &Mount| {
        let source = match &mount.source {
            MountSource::Bind { path, .. } => path,
            MountSource::Volume(name) if !anonymous(name) => name,
            _ => return None,
        };
        let options = mount.read_only.then_some("ro").into_iter().chain(mount.options.iter().map(String::as_str));
        let options = options.collect::<Vec<_>>().join(",");
        let colon = if options.is_empty() { "" } else { ":" };
        Some(format!("{source}:{}{colon}{options}", mount.target))
    };
    mounts.iter().filter_map(bind).collect()
}

fn tmpfs(mounts: &[Mount]) -> Map<String, Value> {
    let tmpfs = mounts.iter().filter(|mount| mount.source == MountSource::Tmpfs);
    tmpfs.map(|mount| (mount.target.clone(), json!(mount.options.join(",")))).collect()
}

fn log_options(request: &ContainerRequest) -> BTreeMap<&'static str, String> {
    let size = request.log.max_size.map(|size| ("max-size", size.to_string()));
    let files = request.log.max_file.map(|files| ("max-file", files.to_string()));
    size.into_iter().chain(files).collect()
}

fn restart(policy: RestartPolicy) -> Value {
    let most = match policy {
        RestartPolicy::OnFailure { most } => most.unwrap_or(0),
        _ => 0,
    };
    json!({ "Name": policy.word(), "MaximumRetryCount": most })
}

fn security(request: &ContainerRequest) -> Vec<String> {
    let of = &request.security;
    let seccomp = match of.seccomp {
        Seccomp::Default => None,
        Seccomp::Unconfined => Some("seccomp=unconfined"),
        Seccomp::Profile(_) => Some("seccomp=profile"),
    };
    let plain = of.no_new_privileges.then_some("no-new-privileges").into_iter().chain(seccomp).map(str::to_owned);
    let named = |name: &'static str, values: &[String]| -> Vec<String> {
        values.iter().map(|value| format!("{name}={value}")).collect()
    };
    let apparmor = of.apparmor.as_slice();
    let lists = [("apparmor", apparmor), ("label", &of.labels), ("mask", &of.mask), ("unmask", &of.unmask)];
    plain.chain(lists.into_iter().flat_map(|(name, values)| named(name, values))).collect()
}

fn network(request: &ContainerRequest) -> &'static str {
    request.network.name()
}

/// Published ports as docker has them: by `80/tcp`, where each is bound.
fn ports(request: &ContainerRequest) -> Value {
    let mut all = serde_json::Map::new();
    for port in &request.ports {
        let (host, address) = (port.host.map(|port| port.to_string()), port.address.map(|address| address.to_string()));
        let bound =
            json!({ "HostIp": address.unwrap_or_else(|| "0.0.0.0".to_owned()), "HostPort": host.unwrap_or_default() });
        let key = format!("{}/{}", port.container, port.protocol);
        if let Some(list) = all.entry(key).or_insert_with(|| json!([])).as_array_mut() {
            list.push(bound);
        }
    }
    Value::Object(all)
}

/// The same for a container on networks of many: what it has there if it runs.
pub(super) fn on_networks(request: &ContainerRequest, on: &BTreeMap<String, (Network, Option<Lease>)>) -> Value {
    let of = |(network, lease): &(Network, Option<Lease>)| {
        let range = |ipv6| network.subnets.iter().find(|range| range.subnet.is_ipv6() == ipv6);
        let address = |ipv6| {
            let addresses = lease.iter().flat_map(|lease| &lease.addresses);
            addresses.copied().find(|address| address.is_ipv6() == ipv6)
        };
        let text = |address: Option<std::net::IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        let gateway = |ipv6| text(address(ipv6).and(range(ipv6)).map(|range| range.gateway));
        let prefix = |ipv6| address(ipv6).and(range(ipv6)).map_or(0, |range| range.subnet.prefix());
        let attachment = request.attachments.iter().find(|one| one.network == network.name);
        json!({
            "NetworkID": network.id,
            "IPAddress": text(address(false)),
            "IPPrefixLen": prefix(false),
            "Gateway": gateway(false),
            "GlobalIPv6Address": text(address(true)),
            "GlobalIPv6PrefixLen": prefix(true),
            "IPv6Gateway": gateway(true),
            "MacAddress": lease.as_ref().map(|lease| lease.mac.to_string()).unwrap_or_default(),
            "Aliases": attachment.map(|attachment| attachment.aliases.clone()).unwrap_or_default(),
        })
    };
    // As docker has it, the addresses at the top are those of the first network.
    let first = request.attachments.first().and_then(|first| on.get(first.network.as_str())).map(of);
    let mut settings = first.unwrap_or_else(|| json!({}));
    if let Some(settings) = settings.as_object_mut() {
        settings.insert("Networks".to_owned(), on.iter().map(|(name, one)| (name.clone(), of(one))).collect());
        settings.insert("Ports".to_owned(), ports(request));
    }
    settings
}

/// No other network gives addresses that are the container's alone.
pub(super) fn network_settings(request: &ContainerRequest) -> Value {
    let addresses = || json!({ "IPAddress": "", "Gateway": "", "MacAddress": "" });
    let mut settings = addresses();
    if let Some(settings) = settings.as_object_mut() {
        settings.insert("Networks".to_owned(), json!({ (network(request)): addresses() }));
        settings.insert("Ports".to_owned(), ports(request));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: MountSource, target: &str, read_only: bool, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { source, target: target.into(), read_only, options }
    }

    #[test]
    fn mounts_read_as_the_flags_that_made_them() {
        let mounts = [
            mount(MountSource::Bind { path: "/src".into(), create: true }, "/dst", true, &["rslave"]),
            mount(MountSource::Volume("data".into()), "/data", false, &[]),
            mount(MountSource::Volume("ab".repeat(32)), "/anonymous", false, &[]),
            mount(MountSource::Tmpfs, "/tmp", false, &["size=1m", "mode=700"]),
        ];
        assert_eq!(binds(&mounts), ["/src:/dst:ro,rslave", "data:/data"]);
        assert_eq!(Value::Object(tmpfs(&mounts)), json!({ "/tmp": "size=1m,mode=700" }));
        let volumes: Vec<String> = volumes(&mounts).keys().cloned().collect();
        assert_eq!(volumes, ["/anonymous", "/data"]);
    }

    #[test]
    fn what_scripts_look_up_is_there() {
        let mut request = ContainerRequest::default();
        request.log.max_size = Some(4096);
        request.security.no_new_privileges = true;
        request.security.apparmor = Some("strict".into());
        let host = host_config(&request, None);
        assert_eq!(host["LogConfig"], json!({ "Type": "file", "Config": { "max-size": "4096" } }));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges", "apparmor=strict"]));
        assert_eq!(host["ShmSize"], json!(67_108_864));
        assert_eq!(host["PortBindings"], json!({}));
        let config = config(&request, (None, None), None);
        assert_eq!((&config["StopSignal"], &config["Volumes"]), (&json!("SIGTERM"), &json!({})));
        let network = network_settings(&request);
        assert_eq!((&network["IPAddress"], &network["Networks"]["none"]["IPAddress"]), (&json!(""), &json!("")));
    }

    #[test]
    fn a_health_check_has_dockers_times() {
        let check =
            HealthCheck { command: vec!["true".into()], interval: 30_000, timeout: 1, start_period: 0, retries: 3 };
        assert_eq!(
            health_check(&check),
            json!({ "Test": ["CMD", "true"], "Interval": 30_000_000_000_u64, "Timeout": 1_000_000, "StartPeriod": 0, "Retries": 3 })
        );
    }
}
