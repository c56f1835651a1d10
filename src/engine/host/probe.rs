//! What `info` shows of this host: what a container needs, and whether it is here.
//!
//! Texts are judged by pure functions; reading them is one line each.

use std::path::Path;

use super::{ids, kernel_version, proc_is_whole, read_small};
use crate::engine::api::{Driver, DriverState};
use crate::model::subid::{self, Subids};

/// The oldest kernel that has all we rely on: `mount_setattr` is the youngest call.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// The first kernel that mounts an overlay in a user namespace.
const OVERLAY_KERNEL: (u32, u32) = (5, 11);

/// All that can be said without the store, in the order a container needs it. `cgroups` is for the engine to know.
pub fn drivers(cgroups: DriverState) -> Vec<Driver> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let rootless = !rustix::process::geteuid().is_root();
    let mut drivers = vec![
        driver("kernel", kernel(&release)),
        driver("user namespaces", if rootless { user_namespaces() } else { ready("not needed: we are root") }),
    ];
    if rootless {
        drivers.push(driver("id ranges", id_ranges()));
    }
    drivers.extend([
        driver("overlay", overlay(&read_small("/proc/filesystems"), kernel_version(&release))),
        driver("proc", proc(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())),
        driver("seccomp", seccomp(&read_small("/proc/sys/kernel/seccomp/actions_avail"))),
        driver("landlock", landlock(&read_small("/sys/kernel/security/lsm"))),
        driver("cgroups", cgroups),
        driver("network none", ready("a loopback interface only")),
        driver("network host", ready("the host's interfaces")),
    ]);
    drivers
}

/// A row of the table.
pub(in crate::engine) fn driver(name: &str, state: DriverState) -> Driver {
    Driver { name: name.to_owned(), state }
}

/// It can be used, with this.
pub(in crate::engine) fn ready(detail: impl Into<String>) -> DriverState {
    DriverState::Ready { detail: detail.into() }
}

/// It cannot, for this reason; `hint` may be empty.
pub(in crate::engine) fn unfit(why: impl Into<String>, hint: &str) -> DriverState {
    DriverState::Unfit { why: why.into(), hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()) }
}

fn kernel(release: &str) -> DriverState {
    if kernel_version(release) >= OLDEST_KERNEL {
        return ready(format!("Linux {release}"));
    }
    let (major, minor) = OLDEST_KERNEL;
    unfit(format!("Linux {release} is older than {major}.{minor}"), "upgrade the kernel")
}

/// Whether this kernel lets its users make user namespaces, by its switches.
/// Also the explanation when making one has failed.
pub fn user_namespaces() -> DriverState {
    let apparmor = super::apparmor_is_on() && read_small("/proc/self/attr/current").starts_with("unconfined");
    judge_user_namespaces(&Switches {
        compiled_in: Path::new("/proc/self/ns/user").exists(),
        most: &read_small("/proc/sys/user/max_user_namespaces"),
        debian: &read_small("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor: if apparmor {
            read_small("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        } else {
            String::new()
        },
    })
}

/// The switches of the kernel that concern user namespaces; empty where there is none.
struct Switches<'s> {
    compiled_in: bool,
    most: &'s str,
    debian: &'s str,
    apparmor: String,
}

fn judge_user_namespaces(switches: &Switches) -> DriverState {
    if !switches.compiled_in {
        return unfit(
            "this kernel has no user namespaces (CONFIG_USER_NS)",
            "boot a kernel that has them, or run as root",
        );
    }
    if switches.most.trim() == "0" {
        return unfit("user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000");
    }
    if switches.debian.trim() == "0" {
        return unfit("kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1");
    }
    if switches.apparmor.trim() == "1" {
        return unfit(
            "AppArmor lets only programs with a profile make them (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    ready(format!("up to {}", switches.most.trim()))
}

/// The ranges of the user and the programs that map them.
fn id_ranges() -> DriverState {
    let ranges = match ids::mappable() {
        Ok(ranges) => ranges,
        Err(error) => {
            let instead = if error.leaves_one_id() { "; containers have one id, and owners are recorded" } else { "" };
            return unfit(format!("{error}{instead}"), &error.hint().unwrap_or_default());
        }
    };
    let spans = |ranges: &[Subids]| ranges.iter().map(|range| range.as_span()).collect::<Vec<_>>().join(", ");
    let mut detail = format!("uids {}; gids {}", spans(&ranges.uids), spans(&ranges.gids));
    let count = |ranges: &[Subids]| ranges.iter().map(|range| u64::from(range.count)).sum::<u64>();
    if count(&ranges.uids).min(count(&ranges.gids)) < u64::from(subid::ENOUGH) {
        detail.push_str("; warning: fewer than 65536, files of other ids in an image cannot be unpacked");
    }
    if !ranges.shared_with.is_empty() {
        let others = ranges.shared_with.join(", ");
        detail.push_str(&format!("; warning: shared with {others}, whose containers can reach the files of yours"));
    }
    ready(detail)
}

fn overlay(filesystems: &str, kernel: (u32, u32)) -> DriverState {
    if kernel < OVERLAY_KERNEL {
        return unfit("this kernel mounts no overlay in a user namespace (Linux 5.11 does)", "upgrade the kernel");
    }
    if filesystems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        return ready("the kernel's, mounted in the container's user namespace");
    }
    unfit("the kernel has not loaded overlay", "sudo modprobe overlay")
}

fn proc(mountinfo: &str) -> DriverState {
    if proc_is_whole(mountinfo) {
        return ready("a fresh one for each container");
    }
    ready("the host's is over-mounted in places, so containers see a bind mount of it")
}

fn seccomp(actions: &str) -> DriverState {
    if actions.split_whitespace().any(|action| action == "errno") {
        return ready("filters");
    }
    unfit("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", "boot a kernel that has them")
}

fn landlock(modules: &str) -> DriverState {
    if modules.trim().split(',').any(|module| module == "landlock") {
        return ready("confines the unpacking of images");
    }
    unfit("this kernel has no landlock; images are unpacked without that confinement", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(state: &DriverState) -> &str {
        match state {
            DriverState::Ready { .. } => "",
            DriverState::Unfit { why, .. } => why,
        }
    }

    #[test]
    fn switches_are_judged_in_order() {
        let judge = |compiled_in, most, debian, apparmor: &str| {
            let state = judge_user_namespaces(&Switches { compiled_in, most, debian, apparmor: apparmor.to_owned() });
            why(&state).split(' ').next().unwrap_or_default().to_owned()
        };
        assert_eq!(judge(true, "63000\n", "", ""), "");
        assert_eq!(judge(true, "63000\n", "1\n", "0\n"), "");
        assert_eq!(judge(false, "", "", ""), "this");
        assert_eq!(judge(true, "0\n", "0\n", ""), "user.max_user_namespaces");
        assert_eq!(judge(true, "5\n", "0\n", "1\n"), "kernel.unprivileged_userns_clone");
        assert_eq!(judge(true, "5\n", "1\n", "1\n"), "AppArmor");
    }

    #[test]
    fn texts_are_judged() {
        assert_eq!(why(&kernel("6.1.0-13-amd64")), "");
        assert_eq!(why(&kernel("5.10.0")), "Linux 5.10.0 is older than 5.12");
        assert_eq!(why(&overlay("nodev\tsysfs\nnodev\toverlay\n\text4\n", (6, 1))), "");
        assert_eq!(why(&overlay("nodev\tmyoverlay\n", (6, 1))), "the kernel has not loaded overlay");
        assert!(!why(&overlay("nodev\toverlay\n", (5, 10))).is_empty());
        assert_eq!(why(&seccomp("kill_process trap errno user_notif\n")), "");
        assert!(!why(&seccomp("")).is_empty());
        assert_eq!(why(&landlock("lockdown,capability,landlock,yama")), "");
        assert!(!why(&landlock("capability,yama\n")).is_empty());
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let drivers = drivers(ready("none"));
        let mut names: Vec<&str> = drivers.iter().map(|driver| driver.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), drivers.len());
        assert!(drivers.len() >= 9);
    }
}
