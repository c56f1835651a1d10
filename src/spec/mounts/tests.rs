//! Mounts and their options, in their order.

use super::*;
use crate::model::container::Device;
use crate::model::container::NetworkMode;
use crate::spec::fixtures::{composed, composed_on, host};

const CONFIG: &str = r#"{"Cmd":["sh"]}"#;

fn made(request: &ContainerRequest) -> Vec<OciMount> {
    composed(request, CONFIG).unwrap().spec.mounts().clone().unwrap()
}

fn targets(mounts: &[OciMount]) -> Vec<&str> {
    mounts.iter().filter_map(|mount| mount.destination().to_str()).collect()
}

/// Type, source and options of the mount on `target`.
fn shown(mounts: &[OciMount], target: &str) -> String {
    let mount = mounts.iter().find(|mount| mount.destination() == Path::new(target)).unwrap();
    let source = mount.source().as_ref().and_then(|path| path.to_str()).unwrap_or_default();
    let options = mount.options().as_deref().unwrap_or_default().join(",");
    format!("{} {source} {options}", mount.typ().as_deref().unwrap_or_default())
}

fn mount(source: MountSource, target: &str, read_only: bool, options: &[&str]) -> Mount {
    Mount { source, target: target.into(), read_only, options: words(options) }
}

fn bind(path: &str) -> MountSource {
    MountSource::Bind { path: path.into(), create: true }
}

fn with(mounts: Vec<Mount>) -> ContainerRequest {
    ContainerRequest { mounts, ..ContainerRequest::default() }
}

#[test]
fn the_kernels_file_systems() {
    let mounts = made(&ContainerRequest::default());
    let order = [
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
    ];
    assert_eq!(targets(&mounts), order);
    for (target, expected) in [
        ("/proc", "proc proc nosuid,noexec,nodev"),
        ("/dev", "tmpfs tmpfs nosuid,noexec,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("/dev/shm", "tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864"),
        ("/dev/mqueue", "mqueue mqueue nosuid,noexec,nodev"),
        ("/sys", "sysfs sysfs nosuid,noexec,nodev,ro"),
        ("/sys/fs/cgroup", "cgroup2 cgroup nosuid,noexec,nodev,ro"),
        ("/etc/hosts", "bind /bundle/hosts bind,rprivate,nosuid,nodev,noexec,rw"),
    ] {
        assert_eq!(shown(&mounts, target), expected);
    }
}

#[test]
fn variants_of_the_kernels_file_systems() {
    let request = ContainerRequest { network: NetworkMode::Host, shm_size: Some(4096), ..ContainerRequest::default() };
    let mounts = made(&request);
    assert_eq!(shown(&mounts, "/sys"), "bind /sys nosuid,noexec,nodev,rbind,rslave,ro,rro");
    assert!(shown(&mounts, "/dev/shm").ends_with("size=4096"));
    assert_eq!(targets(&mounts)[5..8], ["/sys", "/sys/fs/cgroup", "/sys/fs/cgroup"]);
    assert!(shown(&mounts, "/sys/fs/cgroup").starts_with("tmpfs "));
    let privileged = made(&ContainerRequest { privileged: true, ..ContainerRequest::default() });
    assert!(shown(&privileged, "/sys").ends_with("nodev,rw") && shown(&privileged, "/sys/fs/cgroup").ends_with(",rw"));
    let single = crate::spec::idmap::default_map(1, 1, &crate::spec::idmap::SubordinateIds::default());
    let nested = HostFacts { fresh_proc: false, id_map: single, ..host() };
    let made = composed_on(&nested, &ContainerRequest::default(), CONFIG).unwrap().spec.mounts().clone().unwrap();
    assert_eq!(shown(&made, "/proc"), "bind /proc nosuid,noexec,nodev,rbind,rslave");
    assert!(shown(&made, "/dev/pts").ends_with("mode=0620"));
}

#[test]
fn what_the_user_asks_for() {
    let mounts = made(&with(vec![
        mount(bind("/a"), "/b", false, &[]),
        mount(bind("/a"), "/c", true, &["rslave", "noexec", "Z"]),
        mount(bind("/a"), "/d", true, &["bind"]),
        mount(MountSource::Volume("db".into()), "/e", false, &["nocopy"]),
        mount(MountSource::AnonymousVolume, "/f", false, &["dev"]),
        mount(MountSource::Tmpfs, "/g", false, &[]),
        mount(MountSource::Tmpfs, "/h", true, &["exec", "mode=0700", "size=4096"]),
    ]));
    for (target, expected) in [
        ("/b", "bind /a rbind,rprivate,rw"),
        ("/c", "bind /a rbind,rslave,noexec,ro,rro"),
        ("/d", "bind /a bind,rprivate,ro"),
        ("/e", "bind /volumes/e rbind,nodev,rprivate,rw"),
        ("/f", "bind /volumes/f rbind,dev,rprivate,rw"),
        ("/g", "tmpfs tmpfs noexec,nosuid,nodev,mode=1777,rw"),
        ("/h", "tmpfs tmpfs exec,mode=0700,size=4096,nosuid,nodev,ro"),
    ] {
        assert_eq!(shown(&mounts, target), expected);
    }
    let old = HostFacts { kernel: (5, 11), ..host() };
    let made = composed_on(&old, &with(vec![mount(bind("/a"), "/b", true, &[])]), CONFIG).unwrap();
    assert_eq!(shown(made.spec.mounts().as_deref().unwrap(), "/b"), "bind /a rbind,rprivate,ro");
}

#[test]
fn parents_come_before_children() {
    let asked = ["/x/y/z", "/x", "/b", "/x/y", "/a/b"].map(|target| mount(bind("/a"), target, false, &[]));
    let mounts = made(&with(asked.into()));
    assert_eq!(targets(&mounts)[10..], ["/x", "/b", "/x/y", "/a/b", "/x/y/z"]);
}

#[test]
fn the_users_mounts_take_the_place_of_ours() {
    let asked = ["/etc/hosts", "/dev/shm"].map(|target| mount(bind("/a"), target, false, &[]));
    let mounts = made(&with(asked.into()));
    assert_eq!(targets(&mounts).iter().filter(|target| **target == "/etc/hosts").count(), 1);
    assert_eq!(shown(&mounts, "/etc/hosts"), "bind /a rbind,rprivate,rw");
    assert_eq!(shown(&mounts, "/dev/shm"), "bind /a rbind,rprivate,rw");
}

#[test]
fn volumes_of_the_image() {
    let request = with(vec![mount(bind("/a"), "/data", false, &[])]);
    let config = r#"{"Cmd":["sh"],"Volumes":{"/data/":{},"/cache":{}}}"#;
    let mounts = composed(&request, config).unwrap().spec.mounts().clone().unwrap();
    assert_eq!(targets(&mounts)[10..], ["/data", "/cache"]);
    assert_eq!(shown(&mounts, "/cache"), "bind /volumes/cache rbind,nodev,rprivate,rw");
    for bad in ["/proc", "/proc/self", "/sys", "/dev", "/../../../../etc", "relative", "/"] {
        let config = format!(r#"{{"Cmd":["sh"],"Volumes":{{"{bad}":{{}}}}}}"#);
        let error = composed(&ContainerRequest::default(), &config).unwrap_err();
        assert!(matches!(error, SpecError::Path { what: "the image's VOLUME", .. }), "{bad}: {error}");
    }
}

#[test]
fn requests_from_other_doors_are_checked_too() {
    for targets in [&["/x", "/x"][..], &["/x/"], &["/proc/self/attr"], &["/a/../proc"], &["x"]] {
        let asked = targets.iter().map(|target| mount(bind("/a"), target, false, &[])).collect();
        assert!(composed(&with(asked), CONFIG).is_err(), "{targets:?}");
    }
    for (path, options) in [("a", &[][..]), ("/a/../b", &[]), ("/a\0", &[]), ("/a", &["x,y"])] {
        assert!(
            composed(&with(vec![mount(bind(path), "/x", false, options)]), CONFIG).is_err(),
            "{path:?} {options:?}"
        );
    }
}

#[test]
fn devices_are_bound() {
    let device = |permissions: &str| ContainerRequest {
        devices: vec![Device { host: "/dev/fuse".into(), container: "/dev/x".into(), permissions: permissions.into() }],
        ..ContainerRequest::default()
    };
    assert_eq!(shown(&made(&device("rwm")), "/dev/x"), "bind /dev/fuse rbind,rprivate,nosuid,noexec");
    assert!(matches!(composed(&device("r"), CONFIG), Err(SpecError::Unsupported { .. })));
}

#[test]
fn propagation_of_the_root() {
    let root = |request: &ContainerRequest| root_propagation(&made(request)).to_owned();
    assert_eq!(root(&ContainerRequest::default()), "rslave");
    assert_eq!(root(&with(vec![mount(bind("/a"), "/b", false, &["rshared"])])), "rshared");
}

#[test]
fn read_only_containers_have_read_only_files() {
    let mounts = made(&ContainerRequest { read_only: true, ..ContainerRequest::default() });
    assert_eq!(shown(&mounts, "/etc/hosts"), "bind /bundle/hosts bind,rprivate,nosuid,nodev,noexec,ro");
}
