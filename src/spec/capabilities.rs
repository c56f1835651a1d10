//! The capability sets of a container's processes: one value for run, exec and build.

use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use crate::model::container::ContainerRequest;
use crate::model::flags::capability::NAMES;
use crate::model::host::HostFacts;

use super::error::{SpecError, wrong};

/// What a container has when nothing else is asked for: mask `800405fb`. Without
/// docker's `NET_RAW` (ping works by sysctl), `MKNOD` and `AUDIT_WRITE`.
pub const DEFAULT: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The sets for a process of `uid`.
///
/// Bounding is the default (or, privileged, all that the kernel has), with what is
/// added and without what is dropped; root has it permitted and effective, nobody
/// has it inheritable or ambient. Another user has no capability, but those that
/// `--cap-add` names, and these in all sets.
///
/// # Errors
/// If a name is not known to runtime-spec.
pub fn sets(request: &ContainerRequest, host: &HostFacts, uid: u32) -> Result<LinuxCapabilities, SpecError> {
    of_bounding(&bounding(request, host.kernel), request, uid)
}

/// The sets for one more process of `uid` in a container that has `bounding`; all that the
/// kernel has where it is privileged.
///
/// # Errors
/// If a name is not known to runtime-spec.
pub(super) fn joining(
    request: &ContainerRequest,
    bounding: Option<&Capabilities>,
    privileged: Option<(u32, u32)>,
    uid: u32,
) -> Result<LinuxCapabilities, SpecError> {
    let names = super::seccomp::capability_names(bounding.into_iter().flatten());
    let bounding = match privileged {
        Some(kernel) => existing(kernel).iter().copied().collect(),
        None => names.iter().map(String::as_str).collect(),
    };
    of_bounding(&bounding, request, uid)
}

fn of_bounding(
    bounding: &BTreeSet<&str>,
    request: &ContainerRequest,
    uid: u32,
) -> Result<LinuxCapabilities, SpecError> {
    let asked: BTreeSet<&str> = match uid {
        0 => bounding.clone(),
        _ => bounding.iter().copied().filter(|name| is_added(request, name)).collect(),
    };
    let raised = if uid == 0 { BTreeSet::new() } else { asked.clone() };
    LinuxCapabilitiesBuilder::default()
        .bounding(oci(bounding)?)
        .permitted(oci(&asked)?)
        .effective(oci(&asked)?)
        .inheritable(oci(&raised)?)
        .ambient(oci(&raised)?)
        .build()
        .map_err(wrong)
}

fn is_added(request: &ContainerRequest, name: &str) -> bool {
    request.cap_add.iter().any(|added| added == name || added == "ALL")
}

/// Docker's order: `ALL` first in either list, then the single names.
fn bounding(request: &ContainerRequest, kernel: (u32, u32)) -> BTreeSet<&'static str> {
    let existing = existing(kernel);
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let (add, drop) = (&request.cap_add, &request.cap_drop);
    existing
        .iter()
        .copied()
        .filter(|name| {
            let all = (request.privileged && !has(drop, "ALL")) || has(add, "ALL");
            let default = DEFAULT.contains(name) && !has(drop, "ALL");
            (all || default || has(add, name)) && !has(drop, name)
        })
        .collect()
}

/// The capabilities of this kernel; one that it does not know could not be set.
fn existing(kernel: (u32, u32)) -> &'static [&'static str] {
    let count = match kernel {
        version if version >= (5, 9) => 41,
        version if version >= (5, 8) => 40,
        _ => 38,
    };
    NAMES.get(..count).unwrap_or(&NAMES)
}

fn oci(names: &BTreeSet<&str>) -> Result<Capabilities, SpecError> {
    let one = |name: &&str| {
        let short = name.strip_prefix("CAP_").unwrap_or(name);
        short.parse::<Capability>().map_err(|_| SpecError::Document(format!("{name} is no capability")))
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fixtures;

    fn names(set: &Option<Capabilities>) -> Vec<String> {
        crate::spec::seccomp::capability_names(set.iter().flatten()).into_iter().collect()
    }

    fn of(add: &[&str], drop: &[&str], uid: u32) -> LinuxCapabilities {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let request = ContainerRequest { cap_add: list(add), cap_drop: list(drop), ..ContainerRequest::default() };
        sets(&request, &fixtures::host(), uid).unwrap()
    }

    #[test]
    fn default_is_the_eleven() {
        let sets = of(&[], &[], 0);
        for set in [sets.bounding(), sets.permitted(), sets.effective()] {
            assert_eq!(names(set), DEFAULT);
        }
        for set in [sets.inheritable(), sets.ambient()] {
            assert!(names(set).is_empty());
        }
        let mask: u64 = DEFAULT.iter().map(|name| 1 << NAMES.iter().position(|n| n == name).unwrap()).sum();
        assert_eq!(mask, 0x8004_05fb);
    }

    #[test]
    fn added_and_dropped() {
        assert_eq!(names(of(&["CAP_NET_RAW"], &["ALL"], 0).bounding()), ["CAP_NET_RAW"]);
        assert_eq!(names(of(&["ALL"], &["CAP_SYS_ADMIN"], 0).bounding()).len(), 40);
        assert_eq!(names(of(&["CAP_KILL"], &["CAP_KILL"], 0).bounding()).len(), 10);
        assert!(names(of(&[], &["ALL"], 0).effective()).is_empty());
    }

    #[test]
    fn other_users_have_what_is_added_only() {
        let sets = of(&[], &[], 1000);
        assert_eq!(names(sets.bounding()), DEFAULT);
        assert!(names(sets.permitted()).is_empty() && names(sets.effective()).is_empty());
        let sets = of(&["CAP_NET_RAW"], &[], 1000);
        assert_eq!(names(sets.bounding()).len(), 12);
        for set in [sets.permitted(), sets.effective(), sets.inheritable(), sets.ambient()] {
            assert_eq!(names(set), ["CAP_NET_RAW"]);
        }
    }

    #[test]
    fn privileged_has_all_that_exist() {
        for (kernel, count) in [((6, 18), 41), ((5, 8), 40), ((5, 6), 38)] {
            let request = ContainerRequest { privileged: true, ..ContainerRequest::default() };
            let host = HostFacts { kernel, ..fixtures::host() };
            assert_eq!(names(sets(&request, &host, 0).unwrap().effective()).len(), count);
        }
    }
}
