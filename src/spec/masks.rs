//! Paths of /proc and /sys that a container does not see, or cannot write.

use crate::model::container::ContainerRequest;
use crate::model::host::HostFacts;

/// Hidden: what docker and podman hide.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Read-only.
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// Without root it cannot be written anyway, so nothing is lost by hiding it; with
/// root, docker's way is kept.
const SYSRQ: &str = "/proc/sysrq-trigger";

/// The machine of most processors that pays for a mask each.
const MOST_PROCESSORS: u32 = 512;

/// Masked and read-only paths. Those that do not exist are skipped by the launcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) masked: Vec<String>,
    pub(super) read_only: Vec<String>,
}

/// The default masks without what `--privileged` and `unmask=` take away, and with
/// `mask=`. `processors` is how many there are: each has a thermal directory that
/// tells of its neighbours' load.
pub(super) fn compose(request: &ContainerRequest, host: &HostFacts, processors: u32) -> Masks {
    let thermal = |cpu: u32| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    let own = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut masks = Masks { masked: own(&MASKED), read_only: own(&READ_ONLY) };
    masks.masked.extend((0..processors.min(MOST_PROCESSORS)).map(thermal));
    if host.user_namespace {
        masks.masked.push(SYSRQ.into());
    } else {
        masks.read_only.push(SYSRQ.into());
    }
    for list in [&mut masks.masked, &mut masks.read_only] {
        list.retain(|path| !request.privileged && !is_unmasked(path, &request.security.unmask));
    }
    masks.masked.extend(request.security.mask.iter().cloned());
    masks
}

/// `ALL`, the path itself, or a directory above it written as `/proc/*`.
fn is_unmasked(path: &str, unmask: &[String]) -> bool {
    unmask.iter().any(|entry| {
        let below = entry.strip_suffix('*').is_some_and(|dir| dir.ends_with('/') && path.starts_with(dir));
        entry == "ALL" || entry == path || below
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fixtures;

    #[test]
    fn defaults() {
        let masks = compose(&ContainerRequest::default(), &fixtures::host(), 2);
        assert_eq!(masks.masked.len(), 16);
        for path in ["/proc/kcore", "/proc/sysrq-trigger", "/sys/devices/system/cpu/cpu1/thermal_throttle"] {
            assert!(masks.masked.iter().any(|masked| masked == path), "{path}");
        }
        assert_eq!(masks.read_only, READ_ONLY);
        let rootful = HostFacts { user_namespace: false, ..fixtures::host() };
        let masks = compose(&ContainerRequest::default(), &rootful, 0);
        assert_eq!((masks.masked.len(), masks.read_only.last().map(String::as_str)), (13, Some(SYSRQ)));
    }

    #[test]
    fn unmasked() {
        let mut request = ContainerRequest::default();
        request.security.unmask = vec!["/proc/*".into(), "/sys/firmware".into()];
        let masks = compose(&request, &fixtures::host(), 0);
        assert_eq!(masks.masked, ["/sys/devices/virtual/powercap", "/sys/fs/selinux"]);
        assert!(masks.read_only.is_empty());
        request.security.unmask = vec!["ALL".into()];
        request.security.mask = vec!["/etc/secret".into()];
        let masks = compose(&request, &fixtures::host(), 4);
        assert_eq!((masks.masked, masks.read_only), (vec!["/etc/secret".to_owned()], vec![]));
        let privileged = ContainerRequest { privileged: true, ..ContainerRequest::default() };
        assert_eq!(compose(&privileged, &fixtures::host(), 4), Masks::default());
    }
}
