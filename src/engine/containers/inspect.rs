//! `inspect` of a container, in docker's words: what scripts written for docker look up is
//! there, empty where pybox has nothing of the kind.

mod settings;

use std::os::fd::AsFd as _;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::supervision;
use crate::engine::Engine;
use crate::engine::api::{Failure, Inspect};
use crate::model::container::{Mount, MountSource};
use crate::model::lifecycle::Lifecycle;
use crate::monitor::protocol::Start;
use crate::monitor::record::{self, Exit, HealthState, Run};
use crate::store::Store;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;

impl Engine {
    /// All that is known of a container.
    ///
    /// # Errors
    /// If there is no such container, or it cannot be measured.
    pub(in crate::engine) fn inspect_container(&self, store: &Store, inspect: &Inspect) -> Result<Value, Failure> {
        let container = self.find_container(store, &inspect.name)?;
        let bundle = store.open_bundle(&container.id).ok();
        let spec = bundle.as_ref().and_then(read_spec);
        let records = bundle.as_ref().map(Records::read).unwrap_or_default();
        let mounts: Vec<Value> = container.request.mounts.iter().map(|one| mount(store, one)).collect();
        let start = bundle.as_ref().and_then(|bundle| supervision::read(bundle, &container).ok());
        let mut document = document(&container, (bundle.as_ref(), &records), (spec.as_ref(), start.as_ref()), &mounts);
        if let (false, Some(document)) = (container.request.attachments.is_empty(), document.as_object_mut()) {
            let on = self.leases_of(store, &container);
            document.insert("NetworkSettings".to_owned(), settings::on_networks(&container.request, &on));
        }
        if let (true, Some(document)) = (inspect.sizes, document.as_object_mut()) {
            let written = self.measure(&store.layout().container(&container.id).join("upper"))?;
            let image = store.list_images()?.into_iter().find(|image| image.id == container.image);
            let whole = image.map_or(0, |image| image.size).saturating_add(written);
            document.insert("SizeRw".to_owned(), json!(written));
            document.insert("SizeRootFs".to_owned(), json!(whole));
        }
        Ok(document)
    }
}

/// The options of a mount that say what passes between it and the host.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

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
    (spec, start): (Option<&Spec>, Option<&Start>),
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
        "GraphDriver": graph_driver(bundle),
        "ExecIDs": null,
        "AppArmorProfile": process.and_then(|process| process.apparmor_profile().clone()).unwrap_or_default(),
        "Config": settings::config(request, (process, spec), start),
        "HostConfig": settings::host_config(request, spec),
        "Mounts": mounts,
        "NetworkSettings": settings::network_settings(request),
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
        "OOMKilled": last.is_some_and(|exit| exit.oom_killed),
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

fn mount(store: &Store, mount: &Mount) -> Value {
    let volume = match &mount.source {
        MountSource::Volume(name) => name.parse().ok().map(|name| store.layout().volume(&name).display().to_string()),
        _ => None,
    };
    let (kind, name, source) = match &mount.source {
        MountSource::Bind { path, .. } => ("bind", "", Some(path)),
        MountSource::Volume(name) => ("volume", name.as_str(), volume.as_ref()),
        MountSource::AnonymousVolume => ("volume", "", None),
        MountSource::Tmpfs => ("tmpfs", "", None),
    };
    let propagation = mount.options.iter().find(|option| PROPAGATIONS.contains(&option.as_str()));
    json!({
        "Type": kind,
        "Name": name,
        "Source": source.map_or("", String::as_str),
        "Destination": mount.target,
        "Driver": if kind == "volume" { "local" } else { "" },
        "Mode": mount.options.join(","),
        "RW": !mount.read_only,
        "Propagation": propagation.map_or(if kind == "bind" { "rprivate" } else { "" }, String::as_str),
    })
}

/// Where the layers are; the container's root is mounted in its own mount namespace only.
fn graph_driver(bundle: Option<&Bundle>) -> Value {
    let data = bundle.map(|bundle| json!({ "UpperDir": bundle.upper(), "WorkDir": bundle.work() }));
    json!({ "Name": "overlay", "Data": data })
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
