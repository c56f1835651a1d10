//! The mounts of a container, in the order in which they are made.

use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{Mount as OciMount, MountBuilder};

use crate::model::container::{ContainerRequest, Mount, MountSource};
use crate::model::flags::target;
use crate::model::host::{HostFacts, IdMap};
use crate::model::limits::CgroupNamespace;

use super::compose::Composition;
use super::error::{SpecError, wrong};

const SHM_SIZE: u64 = 64 << 20;

/// Linux 5.12 can make a whole tree of mounts read-only (mount_setattr(2)).
const RECURSIVE_READ_ONLY: (u32, u32) = (5, 12);

/// What the user and the image ask for: `-v`, `--mount` and `--tmpfs`, then each
/// `VOLUME` of the image that they do not cover, as an anonymous volume. Parents
/// come before what is mounted below them.
///
/// The engine asks this too: it has to find a directory for each volume.
///
/// # Errors
/// If two are for the same target, or the image has a `VOLUME` in a reserved place.
pub fn wanted(request: &ContainerRequest, image: &ImageConfiguration) -> Result<Vec<Mount>, SpecError> {
    let mut all = request.mounts.clone();
    for (index, mount) in all.iter().enumerate() {
        // The request may come from a file or, later, from a socket: flags are not the only door.
        let path = target::parse("--volume", &mount.target)?;
        if path != mount.target || all.iter().take(index).any(|other| other.target == mount.target) {
            let reason = "two mounts are for this place, or it is not written plainly".into();
            return Err(SpecError::Path { what: "mount target", path: mount.target.clone(), reason });
        }
    }
    let volumes = image.config().as_ref().and_then(|config| config.volumes().as_ref());
    for volume in volumes.into_iter().flatten() {
        let refuse = |reason| SpecError::Path { what: "the image's VOLUME", path: volume.clone(), reason };
        let target = target::parse("VOLUME", volume).map_err(|error| refuse(error.reason))?;
        if !all.iter().any(|mount| mount.target == target) {
            let source = MountSource::AnonymousVolume;
            all.push(Mount { source, target, read_only: false, options: Vec::new() });
        }
    }
    all.sort_by_key(|mount| mount.target.matches('/').count());
    Ok(all)
}

/// All mounts: the kernel's file systems, the bundle's files, devices, and what is wanted.
pub(super) fn compose(of: &Composition<'_>) -> Result<Vec<OciMount>, SpecError> {
    let wanted = wanted(of.request, of.image)?;
    let taken = |target: &str| wanted.iter().any(|mount| mount.target == target);
    let mut mounts = Vec::with_capacity(12 + wanted.len());
    mounts.extend(kernel(of.request, of.host).into_iter().filter(|(target, ..)| !taken(target)));
    let mut all =
        mounts.into_iter().map(|(target, kind, source, options)| oci(target, kind, Path::new(&source), options));
    let mut composed: Vec<OciMount> = all.by_ref().collect::<Result<_, _>>()?;
    let access = if of.request.read_only { "ro" } else { "rw" };
    for (target, path) in [
        ("/etc/hosts", &of.files.hosts),
        ("/etc/hostname", &of.files.hostname),
        ("/etc/resolv.conf", &of.files.resolv_conf),
    ] {
        if !taken(target) {
            let options = words(&["bind", "rprivate", "nosuid", "nodev", "noexec", access]);
            composed.push(oci(target, "bind", path, options)?);
        }
    }
    for device in &of.request.devices {
        composed.push(self::device(device, of.host)?);
    }
    for mount in &wanted {
        composed.push(asked(mount, of)?);
    }
    Ok(composed)
}

type Plain = (&'static str, &'static str, String, Vec<String>);

/// /proc, /dev and what is on it, /sys and the cgroup tree.
fn kernel(request: &ContainerRequest, host: &HostFacts) -> Vec<Plain> {
    let quiet = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&str]| words(&[&quiet, more].concat());
    let access = if request.privileged { "rw" } else { "ro" };
    let proc = if host.fresh_proc {
        ("/proc", "proc", "proc".into(), with(&[]))
    } else {
        // The kernel refuses a fresh one where parts of ours are covered; ours has them covered too.
        ("/proc", "bind", "/proc".into(), with(&["rbind", "rslave"]))
    };
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !host.user_namespace || IdMap::maps(&host.id_map.gids, 5) {
        pts.push("gid=5");
    }
    let shm = format!("size={}", request.shm_size.unwrap_or(SHM_SIZE));
    let recursive = host.kernel >= RECURSIVE_READ_ONLY && !request.privileged;
    let sys = if !request.network.is_own() && host.user_namespace {
        // A fresh sysfs belongs to the network namespace, which is not ours to show.
        let mut options = with(&["rbind", "rslave", access]);
        options.extend(recursive.then(|| "rro".to_owned()));
        ("/sys", "bind", "/sys".into(), options)
    } else {
        ("/sys", "sysfs", "sysfs".into(), with(&[access]))
    };
    // A tree of ours already has this very file system there, on which the kernel would
    // not mount it a second time: something else comes between.
    let cover = (sys.1 == "bind")
        .then(|| ("/sys/fs/cgroup", "tmpfs", "tmpfs".into(), with(&["mode=755", "size=4096", access])));
    let mut all = vec![
        proc,
        ("/dev", "tmpfs", "tmpfs".into(), words(&["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"])),
        ("/dev/pts", "devpts", "devpts".into(), words(&pts)),
        ("/dev/shm", "tmpfs", "shm".into(), with(&["mode=1777", &shm])),
        ("/dev/mqueue", "mqueue", "mqueue".into(), with(&[])),
        sys,
    ];
    if request.cgroup.namespace == CgroupNamespace::Host {
        // The kernel mounts a fresh view only for who has a namespace of its own; a bound /sys has the host's already.
        let host = ("/sys/fs/cgroup", "bind", "/sys/fs/cgroup".into(), with(&["rbind", "rslave", access]));
        all.extend(cover.is_none().then_some(host));
        return all;
    }
    all.extend(cover);
    all.push(("/sys/fs/cgroup", "cgroup2", "cgroup".into(), with(&[access])));
    all
}

/// Device nodes are bound from the host: no one can make them in a user namespace,
/// and a mount of the node itself needs no second list of permissions.
fn device(device: &crate::model::container::Device, host: &HostFacts) -> Result<OciMount, SpecError> {
    let full = device.permissions.contains('r') && device.permissions.contains('w');
    if !full && host.user_namespace {
        return Err(SpecError::Unsupported {
            what: format!("--device {}:{}:{}", device.host, device.container, device.permissions),
            reason: "without root, reading and writing a device cannot be allowed apart".into(),
        });
    }
    oci(&device.container, "bind", Path::new(&device.host), words(&["rbind", "rprivate", "nosuid", "noexec"]))
}

/// A mount of the request or of the image.
fn asked(mount: &Mount, of: &Composition<'_>) -> Result<OciMount, SpecError> {
    // These are the engine's to act on, and no words that mount(2) knows.
    let handled = ["z", "Z", "nocopy", "rw", "ro"];
    let mut options: Vec<String> =
        mount.options.iter().filter(|word| !handled.contains(&word.as_str())).cloned().collect();
    let has = |options: &[String], words: &[&str]| options.iter().any(|word| words.contains(&word.as_str()));
    let (kind, source) = match &mount.source {
        MountSource::Tmpfs => {
            for (quiet, loud) in [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")] {
                if !has(&options, &[quiet, loud]) {
                    options.push(quiet.into());
                }
            }
            if !options.iter().any(|word| word.starts_with("mode=")) {
                options.push("mode=1777".into());
            }
            options.push(if mount.read_only { "ro" } else { "rw" }.into());
            return oci(&mount.target, "tmpfs", Path::new("tmpfs"), options);
        }
        MountSource::Bind { path, .. } => ("bind", PathBuf::from(path)),
        MountSource::Volume(_) | MountSource::AnonymousVolume => {
            if !has(&options, &["dev", "nodev"]) {
                options.push("nodev".into());
            }
            ("bind", volume(mount, of)?)
        }
    };
    if !has(&options, &["bind", "rbind"]) {
        options.insert(0, "rbind".into());
    }
    if !has(&options, &PROPAGATION) {
        options.push("rprivate".into());
    }
    options.push(if mount.read_only { "ro" } else { "rw" }.into());
    if mount.read_only && has(&options, &["rbind"]) && of.host.kernel >= RECURSIVE_READ_ONLY {
        options.push("rro".into());
    }
    oci(&mount.target, kind, &source, options)
}

const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

fn volume(mount: &Mount, of: &Composition<'_>) -> Result<PathBuf, SpecError> {
    let place = of.volumes.iter().find(|place| place.target == mount.target);
    let missing = || SpecError::Document(format!("the volume for {} has no directory", mount.target));
    place.map(|place| place.path.clone()).ok_or_else(missing)
}

/// How mounts of the host reach the container's own tree: not at all, unless a mount asks for it.
pub(super) fn root_propagation(mounts: &[OciMount]) -> &'static str {
    let shares = |word: &String| matches!(word.as_str(), "shared" | "rshared");
    let shared = mounts.iter().flat_map(|mount| mount.options().iter().flatten()).any(shares);
    if shared { "rshared" } else { "rslave" }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn oci(target: &str, kind: &str, source: &Path, options: Vec<String>) -> Result<OciMount, SpecError> {
    MountBuilder::default().destination(target).typ(kind).source(source).options(options).build().map_err(wrong)
}

#[cfg(test)]
mod tests;
