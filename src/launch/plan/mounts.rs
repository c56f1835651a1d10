//! Mounts, devices, masked and read-only paths.

use std::ffi::CString;

use rustix::fs::{Gid, Mode, Uid, makedev};
use rustix::mount::MountAttrFlags;

use super::identity::Groups;
use super::{MemoryFile, PlanError, c_string, target};
use crate::launch::document::{Document, Linux, Mount as Listed};
use crate::launch::step::{Content, Mount, Node, Source, Step};
use crate::sys::mount::{Propagation, Reach};

/// The devices that every container has (runtime-spec, "Default Devices"; the
/// kernel's Documentation/admin-guide/devices.txt for the numbers).
const DEFAULT_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links that every container has (runtime-spec, "Dev symbolic links").
const DEV_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Everything that is mounted inside the root, in order.
pub(super) fn steps(spec: &Document, linux: &Linux) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for mount in &spec.mounts {
        steps.push(Step::Mount(compile(mount)?));
    }
    let own_dev = |mount: &Listed| mount.destination == "/dev" && is_new(mount);
    if !spec.mounts.iter().any(own_dev) {
        // Rule R4: a /dev of the image is never used.
        return Err(PlanError::Missing("mount of a new file system on /dev"));
    }
    steps.push(Step::PopulateDev(nodes(linux)?));
    Ok(steps)
}

/// Files of memory: after all mounts, for they may be in one, and after /dev, where they are made. Where there is one
/// id, all processes have it, and may read what is anybody's.
pub(super) fn in_memory(files: Vec<MemoryFile>, groups: Groups) -> Result<Vec<Step>, PlanError> {
    let step = |file: MemoryFile| {
        let target = target(&file.target, "the target of a file in memory")?;
        let (uid, gid) = groups.real(file.owner.0, file.owner.1);
        let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(Step::MountMemory(Content { target, mode: Mode::from_raw_mode(file.mode), owner, bytes: file.bytes }))
    };
    files.into_iter().map(step).collect()
}

/// What is hidden or made read-only once all mounts are there.
pub(super) fn covers(linux: &Linux) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for path in &linux.masked_paths {
        steps.push(Step::Mask(target(path, "linux.maskedPaths")?));
    }
    for path in &linux.readonly_paths {
        steps.push(Step::ReadOnly(target(path, "linux.readonlyPaths")?));
    }
    Ok(steps)
}

fn is_new(mount: &Listed) -> bool {
    let kind = mount.kind.as_deref();
    let bind_option = mount.options.iter().any(|option| option == "bind" || option == "rbind");
    !bind_option && !matches!(kind, None | Some("bind" | "none"))
}

fn compile(mount: &Listed) -> Result<Mount, PlanError> {
    let options = Options::parse(&mount.options)?;
    let source = if is_new(mount) {
        let kind = mount.kind.as_deref().unwrap_or_default();
        let mut settings = options.settings;
        // What /proc/mounts and df(1) show in place of a device.
        if let Some(name) = &mount.source {
            settings.push((c_string("source", "mounts.source")?, c_string(name.as_str(), "mounts.source")?));
        }
        Source::New { kind: c_string(kind, "mounts.type")?, settings }
    } else {
        let path = mount.source.as_deref().ok_or(PlanError::Missing("source of a bind mount"))?;
        Source::Host { path: c_string(path, "mounts.source")?, reach: options.bind, device: None }
    };
    let reach = if is_new(mount) { Reach::One } else { options.bind };
    Ok(Mount {
        target: target(&mount.destination, "mounts.destination")?,
        source,
        attributes: options.attributes,
        reach,
        propagation: options.propagation,
    })
}

/// Mount options as mount(8) writes them, sorted by what they change.
struct Options {
    attributes: MountAttrFlags,
    bind: Reach,
    propagation: Option<Propagation>,
    settings: Vec<(CString, CString)>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self, PlanError> {
        let mut options =
            Self { attributes: MountAttrFlags::empty(), bind: Reach::One, propagation: None, settings: Vec::new() };
        for word in words {
            if let Some((flag, on)) = attribute(word) {
                options.attributes.set(flag, on);
                continue;
            }
            match word.as_str() {
                "bind" => options.bind = Reach::One,
                "rbind" => options.bind = Reach::Recursive,
                "defaults" | "rw" | "async" | "relatime" | "nodiratime" => {}
                word if propagation(word).is_ok() => options.propagation = propagation(word).ok(),
                word => {
                    let (key, value) = word.split_once('=').unwrap_or((word, ""));
                    options.settings.push((c_string(key, "mounts.options")?, c_string(value, "mounts.options")?));
                }
            }
        }
        Ok(options)
    }
}

fn attribute(word: &str) -> Option<(MountAttrFlags, bool)> {
    Some(match word {
        "ro" | "rro" => (MountAttrFlags::MOUNT_ATTR_RDONLY, true),
        "nosuid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, true),
        "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, false),
        "nodev" => (MountAttrFlags::MOUNT_ATTR_NODEV, true),
        "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, false),
        "noexec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, true),
        "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, false),
        "noatime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, true),
        "strictatime" => (MountAttrFlags::MOUNT_ATTR_STRICTATIME, true),
        "nosymfollow" => (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, true),
        _ => return None,
    })
}

/// The propagation that a word of mount(8) means.
pub(super) fn propagation(word: &str) -> Result<Propagation, PlanError> {
    match word {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        "unbindable" | "runbindable" => Ok(Propagation::Unbindable),
        other => Err(PlanError::Invalid { field: "a propagation", value: other.to_owned() }),
    }
}

/// The entries of /dev: the default ones, and those of the document, which are
/// bound from the same path of the host.
fn nodes(linux: &Linux) -> Result<Vec<Node>, PlanError> {
    let mut nodes = Vec::new();
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = format!("/dev/{name}");
        nodes.push(Node::Device(target(&path, "/dev")?, c_string(path.as_str(), "/dev")?, makedev(major, minor)));
    }
    for device in &linux.devices {
        let path = device.path.as_str();
        if !matches!(device.kind.as_str(), "c" | "b" | "u") {
            return Err(PlanError::Unsupported("a device that is neither character nor block device"));
        }
        if DEFAULT_DEVICES.iter().any(|(name, ..)| path.strip_prefix("/dev/") == Some(name)) {
            continue;
        }
        let number = makedev(device.major, device.minor);
        nodes.push(Node::Device(target(path, "linux.devices")?, c_string(path, "linux.devices")?, number));
    }
    for (name, content) in DEV_LINKS {
        nodes.push(Node::Link(c_string(name, "/dev")?, c_string(content, "/dev")?));
    }
    Ok(nodes)
}
