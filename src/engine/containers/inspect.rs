//! `inspect` of a container, in docker's words.

use std::os::fd::AsFd as _;

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::engine::api::Failure;
use crate::model::container::{ContainerRequest, Mount, MountSource, NetworkMode, Seccomp, UserNamespace};
use crate::model::lifecycle::Lifecycle;
use crate::model::supervision::RestartPolicy;
use crate::monitor::record::{self, Exit, HealthState, Run};
use crate::store::Store;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;

impl Engine {
    /// All that is known of the container called `name`.
    ///
    /// # Errors
    /// If there is no such container.
    pub(in crate::engine) fn inspect_container(&self, store: &Store, name: &str) -> Result<Value, Failure> {
        let container = self.find_container(store, name)?;
        let bundle = store.open_bundle(&container.id).ok();
        let spec = bundle.as_ref().and_then(read_spec);
        let records = bundle.as_ref().map(Records::read).unwrap_or_default();
        let mounts: Vec<Value> = container.request.mounts.iter().map(|one| mount(store, one)).collect();
        Ok(document(&container, (bundle.as_ref(), &records), spec.as_ref(), &mounts))
    }
}

/// What the monitor has written down.
#[derive(Default)]
struct Records {
    run: Option<Run>,
    exit: Option<Exit>,
    health: Option<HealthState>,
}

impl Records {
    fn read(bundle: &Bundle) -> Self {
        let bundle = bundle.as_fd();
        Self {
            run: record::read(bundle, record::RUN).ok().flatten(),
            exit: record::read(bundle, record::EXIT).ok().flatten(),
            health: record::read(bundle, record::HEALTH).ok().flatten(),
        }
    }
}

/// The document is a help to the reader: without it the row still tells a lot.
fn read_spec(bundle: &Bundle) -> Option<Spec> {
    serde_json::from_slice(&std::fs::read(bundle.file(BundleFile::Config)).ok()?).ok()
}

fn document(
    container: &Container,
    (bundle, records): (Option<&Bundle>, &Records),
    spec: Option<&Spec>,
    mounts: &[Value],
) -> Value {
    let request = &container.request;
    let process = spec.and_then(|spec| spec.process().as_ref());
    let args = process.and_then(|process| process.args().clone()).unwrap_or_default();
    let path = |file: BundleFile| bundle.map(|bundle| bundle.file(file));
    json!({
        "Id": container.id.as_str(),
        "Name": format!("/{}", container.name),
        "Created": timestamp(container.created),
        "Path": args.first(),
        "Args": args.get(1..).unwrap_or_default(),
        "State": state(&container.lifecycle, records),
        "RestartCount": records.run.as_ref().map_or(0, |run| run.restarts),
        "LogPath": bundle.map(|bundle| bundle.path().join(crate::logs::CURRENT)),
        "Image": container.image.to_string(),
        "ImageName": request.image,
        "Driver": "overlay",
        "Platform": "linux",
        "HostsPath": path(BundleFile::Hosts),
        "HostnamePath": path(BundleFile::Hostname),
        "ResolvConfPath": path(BundleFile::ResolvConf),
        "OCIConfigPath": path(BundleFile::Config),
        "Config": config(request, process, spec),
        "HostConfig": host_config(request),
        "Mounts": mounts,
        "NetworkSettings": { "Networks": { (network(request)): {} }, "Ports": {} },
    })
}

fn state(lifecycle: &Lifecycle, records: &Records) -> Value {
    let never = "0001-01-01T00:00:00Z".to_owned();
    let last = records.exit.as_ref().or_else(|| records.run.as_ref().and_then(|run| run.last.as_ref()));
    let since = last.map(|exit| exit.since).or_else(|| records.run.as_ref().map(|run| run.since));
    let began = since.filter(|since| *since > 0).map_or_else(|| never.clone(), timestamp);
    let (pid, started, finished, exit_code, error) = match lifecycle {
        Lifecycle::Created => (0, never.clone(), never, 0, String::new()),
        Lifecycle::Running { init, since, .. } | Lifecycle::Paused { init, since, .. } => {
            (init.pid, timestamp(*since), never, 0, String::new())
        }
        Lifecycle::Restarting { exit_code, at, .. } => (0, began, timestamp(*at), *exit_code, String::new()),
        Lifecycle::Stopped { exit_code, at, reason, .. } => {
            (0, began, timestamp(*at), *exit_code, reason.clone().unwrap_or_default())
        }
    };
    let mut state = json!({
        "Status": lifecycle.word(),
        "Running": lifecycle.is_alive(),
        "Paused": matches!(lifecycle, Lifecycle::Paused { .. }),
        "Restarting": matches!(lifecycle, Lifecycle::Restarting { .. }),
        "OOMKilled": false,
        "Dead": false,
        "Pid": pid,
        "ExitCode": exit_code,
        "Error": error,
        "StartedAt": started,
        "FinishedAt": finished,
    });
    if let (Some(health), Some(state)) = (&records.health, state.as_object_mut()) {
        state.insert("Health".to_owned(), health_of(health));
    }
    state
}

fn health_of(health: &HealthState) -> Value {
    let log = health.log.iter().map(|probe| {
        json!({
            "Start": timestamp(probe.start),
            "End": timestamp(probe.end),
            "ExitCode": probe.exit_code,
            "Output": probe.output,
        })
    });
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": log.collect::<Vec<_>>(),
    })
}

fn config(request: &ContainerRequest, process: Option<&Process>, spec: Option<&Spec>) -> Value {
    json!({
        "Hostname": spec.and_then(|spec| spec.hostname().clone()),
        "User": request.user.clone().unwrap_or_default(),
        "Tty": request.tty,
        "OpenStdin": request.interactive,
        "Env": process.and_then(|process| process.env().clone()),
        "Cmd": request.command,
        "Entrypoint": request.entrypoint,
        "Image": request.image,
        "WorkingDir": process.map(|process| process.cwd().clone()),
        "Labels": request.labels,
        "StopSignal": request.stop_signal,
    })
}

fn host_config(request: &ContainerRequest) -> Value {
    let nano_cpus = request.limits.cpus.map(|cpus| (cpus * 1e9) as u64);
    json!({
        "AutoRemove": request.remove,
        "RestartPolicy": restart(request.restart),
        "LogConfig": {
            "Type": request.log.driver,
            "MaxSize": request.log.max_size,
            "MaxFile": request.log.max_file,
        },
        "NetworkMode": network(request),
        "Privileged": request.privileged,
        "ReadonlyRootfs": request.read_only,
        "CapAdd": request.cap_add,
        "CapDrop": request.cap_drop,
        "SecurityOpt": security(request),
        "Init": request.init,
        "ShmSize": request.shm_size,
        "Sysctls": request.sysctls.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "Dns": request.dns,
        "ExtraHosts": request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        "GroupAdd": request.groups,
        "UsernsMode": match request.userns {
            UserNamespace::Default => "",
            UserNamespace::KeepId { .. } => "keep-id",
            UserNamespace::Host => "host",
        },
        "Memory": request.limits.memory.unwrap_or(0),
        "NanoCpus": nano_cpus.unwrap_or(0),
        "PidsLimit": request.limits.pids,
    })
}

fn restart(policy: RestartPolicy) -> Value {
    let (name, most) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { most } => ("on-failure", most.unwrap_or(0)),
    };
    json!({ "Name": name, "MaximumRetryCount": most })
}

fn security(request: &ContainerRequest) -> Vec<&'static str> {
    let seccomp = match request.security.seccomp {
        Seccomp::Default => None,
        Seccomp::Unconfined => Some("seccomp=unconfined"),
        Seccomp::Profile(_) => Some("seccomp=profile"),
    };
    request.security.no_new_privileges.then_some("no-new-privileges").into_iter().chain(seccomp).collect()
}

fn network(request: &ContainerRequest) -> &'static str {
    match request.network {
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
    }
}

fn mount(store: &Store, mount: &Mount) -> Value {
    let volume = match &mount.source {
        MountSource::Volume(name) => name.parse().ok().map(|name| store.layout().volume(&name).display().to_string()),
        _ => None,
    };
    let (kind, name, source) = match &mount.source {
        MountSource::Bind { path, .. } => ("bind", None, Some(path)),
        MountSource::Volume(name) => ("volume", Some(name), volume.as_ref()),
        MountSource::AnonymousVolume => ("volume", None, None),
        MountSource::Tmpfs => ("tmpfs", None, None),
    };
    json!({
        "Type": kind, "Name": name, "Source": source, "Destination": mount.target,
        "Mode": mount.options.join(","), "RW": !mount.read_only,
    })
}

/// RFC 3339 with milliseconds, in UTC.
fn timestamp(milliseconds: i64) -> String {
    let nanoseconds = i128::from(milliseconds).saturating_mul(1_000_000);
    time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_795_490_481_503), "2026-11-24T03:21:21.503Z");
    }

    #[test]
    fn a_stopped_container_tells_its_code_and_reason() {
        let stopped = Lifecycle::Stopped { exit_code: 137, at: 0, reason: Some("monitor lost".into()), by_user: false };
        let state = state(&stopped, &Records::default());
        assert_eq!(state["Status"], "exited");
        assert_eq!(state["ExitCode"], 137);
        assert_eq!(state["Error"], "monitor lost");
        assert_eq!(state["Running"], false);
    }
}
