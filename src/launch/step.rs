//! The steps that a child walks, and what each is called when it fails.

use std::ffi::{CStr, CString};
use std::fmt;

use rustix::fs::{Gid, Mode, Uid};
use rustix::mount::MountAttrFlags;
use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::sys::clone::Namespaces;
use crate::sys::mount::{Propagation, Reach};
use crate::sys::tap;

/// One thing the child does.
#[derive(Debug)]
pub enum Step {
    /// Wait until the parent has written the id maps.
    AwaitMapped,
    /// Wait until the parent has attached what comes from outside.
    AwaitGo,
    /// Become user and group 0 of the user namespace.
    BecomeRoot,
    /// Write to a file of our own in the host's procfs, while nothing is mounted over it.
    WriteOwn(OwnFile),
    /// Move into these namespaces of a container's process.
    Join(Namespaces),
    /// Go on in a process that is made inside the namespaces joined, and is the parent's own child.
    Rebirth,
    /// Let no other process trace us or look at our files.
    HideFromTracers,
    /// Start a session of our own.
    NewSession,
    /// Enter a cgroup namespace rooted at the cgroup we are in.
    UnshareCgroup,
    /// Change the propagation of all mounts we were born with.
    IsolateMounts(Propagation),
    /// Put the root file system in its place.
    MountRoot(RootSource),
    /// Mount one thing inside the root.
    Mount(Mount),
    /// Make the links and nodes of /dev.
    PopulateDev(Vec<Node>),
    /// Show something that is in memory alone.
    MountMemory(Content),
    /// Hide a path: a file behind /dev/null, a directory behind an empty one.
    Mask(Target),
    /// Make a path read-only, with all below it.
    ReadOnly(Target),
    /// Write a sysctl through a procfs that nothing is mounted on.
    Sysctl(Setting),
    /// Set the host name.
    HostName(CString),
    /// Set the NIS domain name.
    DomainName(CString),
    /// Bring the loopback interface up.
    LoopbackUp,
    /// Make an interface, and send its other end to the parent.
    Interface(Interface),
    /// Take the root we have for the container's.
    OpenRoot,
    /// Find the working directory, making it if it is missing.
    OpenWorkdir(Target),
    /// Find the working directory, which has to be there.
    FindWorkdir(Target),
    /// Make a terminal in the container's own devpts, and send its other side to the parent.
    OpenTerminal(Terminal),
    /// Make the root file system itself read-only.
    SealRoot,
    /// Make the root file system our root, and let go of the old one.
    PivotRoot(Propagation),
    /// Go to the working directory found before.
    EnterWorkdir,
    /// Take standard input, output and error.
    TakeStdio,
    /// Take the descriptors that the program inherits beside them.
    TakeDescriptors,
    /// Set a resource limit.
    Limit(Limit),
    /// Join a session keyring of our own, if there is room for one.
    JoinKeyring(CString),
    /// Have calls about ids asked of somebody, who is told where.
    Listen,
    /// Load the system call filter.
    LoadFilter,
    /// Gain nothing any more by executing a file.
    NoNewPrivileges,
    /// Take the process's user, groups and capabilities.
    Identity(Identity),
    /// Leave a reaper as first process, and go on in its child.
    Reaper,
    /// Say that only the execution is left.
    TellReady,
}

/// An interface of the network namespace, whose other end somebody outside is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: CString,
    /// Its index.
    pub index: u32,
    /// What is asked of the kernel about it (rtnetlink(7)), each a whole message that is acknowledged.
    pub requests: Vec<Vec<u8>>,
    /// How many of these must not be refused.
    pub required: usize,
}

/// A file below `/proc/self` and what is written to it.
#[derive(Debug)]
pub struct OwnFile {
    /// Path from the host's root.
    pub path: CString,
    /// The bytes written in one call.
    pub value: Vec<u8>,
}

/// Where the root file system comes from.
#[derive(Debug)]
pub enum RootSource {
    /// An overlay, mounted here.
    Overlay(Overlay),
    /// A tree that a server shows through FUSE, mounted here.
    Served(Served),
    /// A directory, bound on itself.
    Directory(CString),
}

/// A tree that a server shows. The child mounts it and sends the device, by which it is
/// shown, to the parent; who looks into it before it is served, waits.
#[derive(Debug)]
pub struct Served {
    /// Where it is attached until the pivot.
    pub place: CString,
    /// The overlay that it lies under, read-only; without one the server takes changes.
    pub under: Option<Overlay>,
}

/// What the kernel's overlay is given (Documentation/filesystems/overlayfs.rst).
#[derive(Debug)]
pub struct Overlay {
    /// Where it is attached until the pivot.
    pub place: CString,
    /// The layers, top first.
    pub lower: Vec<CString>,
    /// `upperdir`, `workdir` and flags as (key, value); a flag has an empty value.
    pub settings: Vec<(CString, CString)>,
    /// The same in the words of mount(2), for kernels before 6.5. Lower layers
    /// stand there as `/proc/self/fd/N`, N counting from [`Overlay::FIRST_LAYER_FD`].
    pub legacy: CString,
}

impl Overlay {
    /// The descriptor of the top layer where the layers have to be named by descriptor.
    pub const FIRST_LAYER_FD: i32 = 300;
}

/// A path inside the root, with all directories on its way.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Relative to the root, without leading slash; `.` is the root itself.
    pub path: CString,
    /// For each directory to make: the path up to it, and its own name.
    pub ancestors: Vec<(CString, CString)>,
    /// The last component.
    pub name: CString,
}

/// A mount inside the root.
#[derive(Debug)]
pub struct Mount {
    /// Where.
    pub target: Target,
    /// What.
    pub source: Source,
    /// Attributes of the mount.
    pub attributes: MountAttrFlags,
    /// Whether the attributes reach the mounts below.
    pub reach: Reach,
    /// Its propagation, if it is to be changed.
    pub propagation: Option<Propagation>,
}

/// A file that is in memory alone.
#[derive(Debug)]
pub struct Content {
    /// Where it is seen.
    pub target: Target,
    /// Its permission bits.
    pub mode: Mode,
    /// Whose it is: user and group.
    pub owner: (Uid, Gid),
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is mounted.
#[derive(Debug)]
pub enum Source {
    /// A new file system.
    New {
        /// Its type, as in /proc/filesystems.
        kind: CString,
        /// Its settings; a flag has an empty value.
        settings: Vec<(CString, CString)>,
    },
    /// A path of the host.
    Host {
        /// The path.
        path: CString,
        /// Whether mounts below it come along.
        reach: Reach,
        /// The device number it has to have, for a device node.
        device: Option<u64>,
    },
}

/// An entry of /dev.
#[derive(Debug)]
pub enum Node {
    /// A symbolic link: name, then what it says.
    Link(CString, CString),
    /// A device node of the host, bound: path in /dev, path on the host, device number.
    Device(Target, CString, u64),
}

/// A sysctl.
#[derive(Debug)]
pub struct Setting {
    /// Path below /proc, with slashes: `sys/net/ipv4/…`.
    pub path: CString,
    /// The value.
    pub value: CString,
}

/// The terminal to make.
#[derive(Debug)]
pub struct Terminal {
    /// Rows and columns, where known.
    pub size: Option<(u16, u16)>,
    /// The owner inside.
    pub uid: u32,
    /// Where it is shown beside /dev/pts: /dev/console, for the first process.
    pub console: Option<Target>,
}

/// A resource limit; none is unlimited.
#[derive(Debug)]
pub struct Limit {
    /// Which.
    pub resource: Resource,
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// Who the process is.
#[derive(Debug)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups; all others are dropped.
    pub groups: Vec<rustix::process::Gid>,
    /// Whether setgroups is possible in this user namespace.
    pub may_set_groups: bool,
    /// The bounding set: what stays.
    pub bounding: CapabilitySet,
    /// Effective.
    pub effective: CapabilitySet,
    /// Permitted.
    pub permitted: CapabilitySet,
    /// Inheritable.
    pub inheritable: CapabilitySet,
    /// Ambient.
    pub ambient: CapabilitySet,
    /// umask of the process.
    pub umask: u32,
}

/// A C string as people read it.
fn text(raw: &CStr) -> std::borrow::Cow<'_, str> {
    raw.to_string_lossy()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.to_bytes() {
            b"." => f.write_str("/"),
            _ => write!(f, "/{}", text(&self.path)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitMapped | Self::AwaitGo => f.write_str("wait for the parent process"),
            Self::BecomeRoot => f.write_str("become root of the user namespace"),
            Self::WriteOwn(file) => write!(f, "write {}", text(&file.path)),
            Self::Join(_) => f.write_str("join the container's namespaces"),
            Self::Rebirth => f.write_str("make a process in the container's namespaces"),
            Self::HideFromTracers => f.write_str("hide from tracers"),
            Self::NewSession => f.write_str("start a session"),
            Self::UnshareCgroup => f.write_str("enter a cgroup namespace"),
            Self::IsolateMounts(_) => f.write_str("isolate the mounts from the host's"),
            Self::MountRoot(RootSource::Overlay(overlay)) => {
                write!(f, "mount the overlay of {} layers on {}", overlay.lower.len(), text(&overlay.place))
            }
            Self::MountRoot(RootSource::Served(served)) => match served.under {
                Some(_) => write!(f, "mount an overlay over the served layers on {}", text(&served.place)),
                None => write!(f, "mount the served file system on {}", text(&served.place)),
            },
            Self::MountRoot(RootSource::Directory(path)) => write!(f, "bind the root file system {}", text(path)),
            Self::Mount(mount) => match &mount.source {
                Source::New { kind, .. } => write!(f, "mount {} on {}", text(kind), mount.target),
                Source::Host { path, .. } => write!(f, "bind {} on {}", text(path), mount.target),
            },
            Self::PopulateDev(_) => f.write_str("make the device nodes of /dev"),
            Self::MountMemory(content) => write!(f, "show a file of memory on {}", content.target),
            Self::Mask(target) => write!(f, "mask {target}"),
            Self::ReadOnly(target) => write!(f, "make {target} read-only"),
            Self::Sysctl(setting) => write!(f, "set {} to {:?}", sysctl_name(&setting.path), text(&setting.value)),
            Self::HostName(name) => write!(f, "set the host name {:?}", text(name)),
            Self::DomainName(name) => write!(f, "set the domain name {:?}", text(name)),
            Self::LoopbackUp => f.write_str("bring up the loopback interface"),
            Self::Interface(interface) => {
                write!(f, "make the interface {} with {}", text(&interface.name), text(tap::DEVICE))
            }
            Self::OpenRoot => f.write_str("open the container's root"),
            Self::OpenWorkdir(target) | Self::FindWorkdir(target) => write!(f, "open the working directory {target}"),
            Self::OpenTerminal(_) => f.write_str("make a terminal"),
            Self::SealRoot => f.write_str("make the root file system read-only"),
            Self::PivotRoot(_) => f.write_str("pivot to the root file system"),
            Self::EnterWorkdir => f.write_str("enter the working directory"),
            Self::TakeStdio => f.write_str("take standard input, output and error"),
            Self::TakeDescriptors => f.write_str("take the descriptors it inherits"),
            Self::Limit(limit) => write!(f, "set the limit {:?}", limit.resource),
            Self::JoinKeyring(_) => f.write_str("join a session keyring"),
            Self::Listen => f.write_str("have calls about ids answered"),
            Self::LoadFilter => f.write_str("load the system call filter"),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::Identity(identity) => write!(f, "become user {}:{}", identity.uid, identity.gid),
            Self::Reaper => f.write_str("start the reaper"),
            Self::TellReady => f.write_str("report to the parent process"),
        }
    }
}

/// `sys/net/ipv4/ip_forward` as `net.ipv4.ip_forward`.
fn sysctl_name(path: &CStr) -> String {
    let path = text(path);
    path.strip_prefix("sys/").unwrap_or(&path).replace('/', ".")
}
