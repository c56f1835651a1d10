//! Facts about the machine and the user, found by looking.
//!
//! `run` pays for what it uses: [`facts`] reads a handful of small files and
//! starts no program unless the user is not in `/etc/passwd` or has no range
//! in the files. [`probe`] is for `info`, and may take its time.
//!
//! Chooses nothing about a container beyond its id map.

mod failure;
mod ids;
pub mod probe;
mod routes;

use std::fs;

use rustix::process::{Resource, getegid, geteuid, getrlimit};

pub use failure::HostError;
pub use routes::subnets;

pub use ids::{home_directory, id_map, one_id, user_name};

use crate::model::container::{ContainerRequest, NetworkMode};
use crate::model::host::HostFacts;

/// What `spec` has to know of this machine to compose `request`.
///
/// # Errors
/// If the user's id ranges cannot be mapped.
pub fn facts(request: &ContainerRequest) -> Result<HostFacts, HostError> {
    let ids = id_map(&request.userns)?;
    let uname = rustix::system::uname();
    Ok(HostFacts {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        user_namespace: ids.is_some(),
        id_map: ids.map_or_else(ids::own_map, Ok)?,
        kernel: kernel_version(&uname.release().to_string_lossy()),
        hard_limits: if may_raise_limits() { Vec::new() } else { hard_limits() },
        resolv_conf: read_small("/etc/resolv.conf"),
        hosts: if request.network == NetworkMode::Host { read_small("/etc/hosts") } else { String::new() },
        gateway: None,
        hostname: uname.nodename().to_string_lossy().into_owned(),
        fresh_proc: proc_is_whole(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
        apparmor: apparmor_is_on(),
    })
}

/// The command that installs a package that is called the same everywhere.
pub fn install(package: &str) -> String {
    failure::install(&read_small("/etc/os-release"), package)
}

/// The command that installs newuidmap and newgidmap here.
pub fn install_helpers() -> String {
    failure::install_helpers(&read_small("/etc/os-release"))
}

/// `MemTotal` of /proc/meminfo in bytes.
pub fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

/// The kernel's version.
pub fn kernel() -> (u32, u32) {
    kernel_version(&rustix::system::uname().release().to_string_lossy())
}

/// A file of the host that may be missing, cut at 64 KiB.
fn read_small(path: &str) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    // A file that cannot be read says as little as one that is not there.
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(64 * 1024).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `6.12.3-arch1` as (6, 12); (0, 0) for what is no version.
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Root may have limits above its own, unless it is the root of a container or
/// lost the capability otherwise; what a new user namespace gives does not count.
fn may_raise_limits() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    geteuid().is_root() && capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

fn hard_limits() -> Vec<(String, u64)> {
    let names = [
        ("RLIMIT_AS", Resource::As),
        ("RLIMIT_CORE", Resource::Core),
        ("RLIMIT_CPU", Resource::Cpu),
        ("RLIMIT_DATA", Resource::Data),
        ("RLIMIT_FSIZE", Resource::Fsize),
        ("RLIMIT_LOCKS", Resource::Locks),
        ("RLIMIT_MEMLOCK", Resource::Memlock),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        ("RLIMIT_NICE", Resource::Nice),
        ("RLIMIT_NOFILE", Resource::Nofile),
        ("RLIMIT_NPROC", Resource::Nproc),
        ("RLIMIT_RSS", Resource::Rss),
        ("RLIMIT_RTPRIO", Resource::Rtprio),
        ("RLIMIT_RTTIME", Resource::Rttime),
        ("RLIMIT_SIGPENDING", Resource::Sigpending),
        ("RLIMIT_STACK", Resource::Stack),
    ];
    names.into_iter().map(|(name, which)| (name.to_owned(), getrlimit(which).maximum.unwrap_or(u64::MAX))).collect()
}

/// Whether nothing hides a part of /proc. The kernel lets a user namespace
/// mount a fresh procfs only where the one it can see is whole
/// (`mount_too_revealing`); mounts over directories made for mounts do not count.
fn proc_is_whole(mountinfo: &str) -> bool {
    let made_for_mounts = ["/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/openprom"];
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.starts_with("/proc/")).all(|point| made_for_mounts.contains(&point))
}

/// `2` for the unified hierarchy of cgroups, `1` for the old one, empty without any.
pub fn cgroup_version() -> &'static str {
    let mounted = std::path::Path::new("/sys/fs/cgroup");
    if mounted.join("cgroup.controllers").exists() {
        "2"
    } else if mounted.join("memory").exists() || mounted.join("cpu").exists() {
        "1"
    } else {
        ""
    }
}

/// A field of os-release(5), without its quotes; empty if there is none.
fn os_release(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

/// `PRETTY_NAME` of this system.
pub fn operating_system() -> String {
    os_release(&read_small("/etc/os-release"), "PRETTY_NAME")
}

fn apparmor_is_on() -> bool {
    read_small("/sys/module/apparmor/parameters/enabled").starts_with('Y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        for (release, version) in
            [("6.12.3-arch1", (6, 12)), ("5.4.0", (5, 4)), ("6.1-rc3", (6, 1)), ("4", (4, 0)), ("", (0, 0))]
        {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn a_covered_proc_is_seen() {
        let whole = "\
22 28 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:25 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
31 28 0:26 / /processes rw - tmpfs tmpfs rw
";
        assert!(proc_is_whole(whole));
        assert!(!proc_is_whole(&format!("{whole}99 22 0:9 / /proc/kcore rw - tmpfs tmpfs rw\n")));
        assert!(proc_is_whole(""));
    }

    #[test]
    fn facts_of_this_machine() {
        let limits = hard_limits();
        assert_eq!(limits.len(), 16);
        assert!(limits.iter().any(|(name, value)| name == "RLIMIT_NOFILE" && *value > 0));
        assert!(kernel_version(&rustix::system::uname().release().to_string_lossy()) > (5, 0));
    }
}
