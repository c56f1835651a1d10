//! Whole documents: each field that the baseline fixes, and what moves it.

use super::*;
use crate::model::container::NetworkMode;
use crate::model::container::Security;
use crate::model::limits::Limits;
use crate::spec::fixtures::{composed, composed_on, host};

const BUSYBOX: &str = r#"{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]}"#;

fn spec(request: &ContainerRequest) -> Spec {
    composed(request, BUSYBOX).unwrap().spec
}

fn kinds(spec: &Spec) -> Vec<LinuxNamespaceType> {
    spec.linux().as_ref().unwrap().namespaces().iter().flatten().map(LinuxNamespace::typ).collect()
}

#[test]
fn busybox() {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let made = composed(&ContainerRequest::default(), BUSYBOX).unwrap();
    assert_eq!(made.warnings, Vec::<String>::new());
    let spec = made.spec;
    assert_eq!(spec.version(), "1.1.0");
    let root = spec.root().as_ref().unwrap();
    assert_eq!((root.path().to_str(), root.readonly()), (Some("rootfs"), Some(false)));
    assert_eq!(spec.hostname().as_deref(), Some("web"));
    assert!(spec.hooks().is_none());
    let annotations = spec.annotations().as_ref().unwrap();
    assert_eq!(annotations.get("dev.pybox.init").map(String::as_str), Some("1"));
    assert_eq!(kinds(&spec), [User, Mount, Pid, Ipc, Uts, Cgroup, Network]);
    let linux = spec.linux().as_ref().unwrap();
    let lines = |map: &Option<Vec<LinuxIdMapping>>| -> Vec<(u32, u32, u32)> {
        map.iter().flatten().map(|line| (line.container_id(), line.host_id(), line.size())).collect()
    };
    assert_eq!(lines(linux.uid_mappings()), [(0, 1001, 1), (1, 100_000, 65_536)]);
    assert_eq!(lines(linux.gid_mappings()), [(0, 1001, 1), (1, 100_000, 65_536)]);
    assert_eq!(linux.rootfs_propagation().as_deref(), Some("rslave"));
    assert_eq!(linux.masked_paths().as_ref().map(Vec::len), Some(16));
    assert_eq!(linux.readonly_paths().as_ref().map(Vec::len), Some(4));
    assert_eq!(linux.sysctl().as_ref().map(std::collections::HashMap::len), Some(2));
    assert!(linux.resources().is_none() && linux.devices().is_none() && linux.cgroups_path().is_none());
    let filter = linux.seccomp().as_ref().unwrap();
    assert_eq!(filter.default_errno_ret(), Some(38));
    let process = spec.process().as_ref().unwrap();
    assert_eq!((process.terminal(), process.oom_score_adj()), (Some(false), None));
    assert_eq!(process.user().additional_gids().as_deref(), Some([0, 1].as_slice()));
}

#[test]
fn documents_survive_being_written() {
    let spec = spec(&ContainerRequest::default());
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    assert!(text.contains(r#""ociVersion":"1.1.0""#) && !text.contains("hooks"));
}

#[test]
fn namespaces_that_are_the_hosts() {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Pid, User, Uts};
    let request = ContainerRequest { network: NetworkMode::Host, ..ContainerRequest::default() };
    assert_eq!(kinds(&spec(&request)), [User, Mount, Pid, Ipc, Uts, Cgroup]);
    assert!(spec(&request).linux().as_ref().unwrap().sysctl().is_none());
    let rootful = HostFacts { user_namespace: false, ..host() };
    let request = ContainerRequest { userns: UserNamespace::Host, ..request };
    let made = composed_on(&rootful, &request, BUSYBOX).unwrap().spec;
    assert_eq!(kinds(&made), [Mount, Pid, Ipc, Uts, Cgroup]);
    assert!(made.linux().as_ref().unwrap().uid_mappings().is_none());
    assert!(matches!(composed(&request, BUSYBOX), Err(SpecError::Unsupported { .. })));
}

#[test]
fn filters() {
    let mut request = ContainerRequest::default();
    let has = |request: &ContainerRequest| spec(request).linux().as_ref().unwrap().seccomp().is_some();
    assert!(has(&request));
    request.privileged = true;
    assert!(!has(&request));
    request.security.seccomp = Seccomp::Profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.into());
    assert!(has(&request));
    request.security.seccomp = Seccomp::Unconfined;
    assert!(!has(&request));
    request.security.seccomp = Seccomp::Profile("nonsense".into());
    assert!(matches!(composed(&request, BUSYBOX), Err(SpecError::Profile(_))));
}

#[test]
fn privileged() {
    let spec = spec(&ContainerRequest { privileged: true, ..ContainerRequest::default() });
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(linux.masked_paths().as_ref().map(Vec::len), Some(0));
    assert_eq!(linux.readonly_paths().as_ref().map(Vec::len), Some(0));
    let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(sets.effective().as_ref().map(std::collections::HashSet::len), Some(41));
    assert_eq!(sets.inheritable().as_ref().map(std::collections::HashSet::len), Some(0));
}

#[test]
fn what_is_asked_for_is_written_down() {
    let request = ContainerRequest {
        tty: true,
        read_only: true,
        limits: Limits { memory: Some(1 << 20), ..Limits::default() },
        security: Security { no_new_privileges: true, ..Security::default() },
        ..ContainerRequest::default()
    };
    let spec = spec(&request);
    assert_eq!(spec.root().as_ref().and_then(oci_spec::runtime::Root::readonly), Some(true));
    assert_eq!(spec.process().as_ref().and_then(oci_spec::runtime::Process::terminal), Some(true));
    let resources = spec.linux().as_ref().unwrap().resources().clone().unwrap();
    assert_eq!(resources.memory().as_ref().and_then(|memory| memory.limit()), Some(1 << 20));
}

/// Nothing in an image but entrypoint, command, environment, directory, user and volumes has an effect.
#[test]
fn labels_of_images_are_data() {
    let plain = spec(&ContainerRequest::default());
    let config =
        BUSYBOX.replacen('{', r#"{"Labels":{"dev.pybox.rootfs":"binary:///x","org.systemd.property.A":"b"},"#, 1);
    let labelled = composed(&ContainerRequest::default(), &config).unwrap().spec;
    assert_eq!(labelled, plain);
}

#[test]
fn documents_that_do_not_hold_together_are_refused() {
    type Change = fn(&mut Spec);
    let changes: [Change; 9] = [
        |spec| {
            spec.set_process(None);
        },
        |spec| {
            spec.set_linux(None);
        },
        |spec| {
            spec.set_hostname(Some("a\nb".into()));
        },
        |spec| {
            spec.set_hostname(Some("a".repeat(65)));
        },
        |spec| {
            spec.set_annotations(Some([("other".to_owned(), String::new())].into()));
        },
        |spec| {
            spec.process_mut().as_mut().unwrap().set_args(Some(vec!["a\0b".into()]));
        },
        |spec| {
            spec.process_mut().as_mut().unwrap().set_cwd("relative".into());
        },
        |spec| {
            spec.process_mut().as_mut().unwrap().user_mut().set_uid(70_000);
        },
        |spec| {
            spec.linux_mut().as_mut().unwrap().set_masked_paths(Some(vec!["/a/../b".into()]));
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut spec = spec(&ContainerRequest::default());
        assert_eq!(validate::check(&spec), Ok(()));
        change(&mut spec);
        assert!(validate::check(&spec).is_err(), "change {index}");
    }
}
