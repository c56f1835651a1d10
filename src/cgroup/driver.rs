//! Who makes a container's cgroup. Looking is one function, choosing another.

use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::hierarchy::{self, MOUNT};
use crate::model::limits::CgroupDriver;

/// What gives users a controller that systemd keeps from them.
pub const DROP_IN: &str = "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo install -D -m 644 /dev/stdin \
    /etc/systemd/system/user@.service.d/delegate.conf, then sudo systemctl daemon-reload and log in anew";

/// What is known of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Our user.
    pub uid: u32,
    /// Whether the tree is the unified one.
    pub unified: bool,
    /// Whether we may make directories at its root, and that is the root of all.
    pub owns_tree: bool,
    /// Our own cgroup, if it was given to us to divide.
    pub given: Option<PathBuf>,
    /// The service that we are part of, if it keeps its cgroup to itself.
    pub service: Option<String>,
    /// Whether there is a bus that systemd may be on.
    pub bus: bool,
}

/// What the user has settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// The driver.
    pub driver: Option<CgroupDriver>,
    /// The directory below which cgroups are made.
    pub root: Option<&'a Path>,
    /// Whether the container speaks to systemd for the service that we are part of.
    pub speaks: bool,
}

/// Who makes it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// systemd is asked.
    Scope,
    /// It is made by ourselves.
    Below(Below),
    /// Nobody; why, and what to do about it.
    None {
        /// One half-sentence.
        why: String,
        /// What to type.
        hint: String,
    },
}

/// A directory that is ours to divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// By which right.
    pub driver: CgroupDriver,
    /// The directory.
    pub parent: PathBuf,
    /// Name of the directory in it where monitors are.
    pub monitors: &'static str,
    /// What the name of a container's directory begins with.
    pub prefix: &'static str,
}

/// Looks at this host. `bus` says whether there is one, `is_delegated` what systemd knows of the service of this name.
pub fn look(uid: u32, bus: impl FnOnce() -> bool, is_delegated: impl FnOnce(&str) -> bool) -> Facts {
    let mount = Path::new(MOUNT);
    if !hierarchy::is_unified(mount) {
        return Facts { uid, ..Facts::default() };
    }
    // Only the root of all cgroups has no type (Documentation/admin-guide/cgroup-v2.rst).
    let owns_tree = uid == 0 && !mount.join("cgroup.type").exists() && may_divide(mount);
    let own = hierarchy::of_process(mount, "self");
    let given = own.clone().filter(|own| is_given(own, mount, is_delegated));
    let service = own.filter(|_| given.is_none()).as_deref().and_then(service_of).map(str::to_owned);
    Facts { uid, unified: true, owns_tree, given, service, bus: bus() }
}

/// Whether a cgroup is there for us to divide: systemd has marked it as delegated, or it is the root of all that we see,
/// which is how containers come by theirs. The manager of a user leaves no mark, and has to be asked; whoever starts
/// containers from a session is in no service, and asks nobody. That its files can be written says nothing: a user can write all cgroups of
/// the user's manager, and they are the manager's.
fn is_given(own: &Path, mount: &Path, is_delegated: impl FnOnce(&str) -> bool) -> bool {
    let marked = || {
        let mut value = [0; 8];
        matches!(rustix::fs::getxattr(own, c"user.delegate", &mut value), Ok(1)) && value.first() == Some(&b'1')
    };
    let root_of_namespace = own == mount && mount.join("cgroup.type").exists();
    may_divide(own) && (root_of_namespace || marked() || service_of(own).is_some_and(is_delegated))
}

/// The service whose cgroup this is.
fn service_of(cgroup: &Path) -> Option<&str> {
    cgroup.file_name().and_then(std::ffi::OsStr::to_str).filter(|name| name.ends_with(".service"))
}

fn may_divide(directory: &Path) -> bool {
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    writable(directory) && writable(&directory.join("cgroup.procs"))
}

/// Chooses: what the user has settled, else a cgroup that was given to us, as a unit or a container that pybox runs in
/// wants to keep us in it; else the tree itself for root, and systemd for everybody else. Who speaks to systemd for a
/// service stays in its cgroup: what comes from elsewhere systemd takes for another unit's (sd_notify(3)).
///
/// # Errors
/// With why the driver that is wanted cannot be had, and what to do.
pub fn choose(facts: &Facts, wishes: Wishes<'_>) -> Result<Choice, (String, String)> {
    let none = |why: &str, hint: &str| Choice::None { why: why.to_owned(), hint: hint.to_owned() };
    let nothing =
        || none("this host has no cgroup v2", "boot with systemd.unified_cgroup_hierarchy=1, or leave the limits out");
    let chosen = match (wishes.driver, wishes.root) {
        (Some(CgroupDriver::None), _) => none("--cgroup-driver none makes none", "choose another --cgroup-driver"),
        _ if !facts.unified => nothing(),
        (Some(CgroupDriver::Scope), _) if facts.bus => Choice::Scope,
        (Some(CgroupDriver::Scope), _) => no_bus(facts.uid),
        (wanted, Some(root)) => Choice::Below(Below { driver: wanted.unwrap_or(by_right(facts.uid)), ..rooted(root) }),
        (None | Some(CgroupDriver::Delegated), None) if facts.given.is_some() => {
            let parent = facts.given.clone().unwrap_or_default();
            Choice::Below(Below { driver: CgroupDriver::Delegated, parent, monitors: SUPERVISOR, prefix: "pybox-" })
        }
        (Some(CgroupDriver::Delegated), None) => none(
            "no cgroup was delegated to us",
            "systemd-run --user --scope -p Delegate=yes pybox run …, or set PYBOX_CGROUP_ROOT",
        ),
        (None, None) if wishes.speaks && facts.service.is_some() => {
            let service = facts.service.as_deref().unwrap_or_default();
            let why =
                format!("{service} keeps its cgroup to itself, and systemd would not hear of a container elsewhere");
            Choice::None { why, hint: format!("Delegate=yes in [Service] of {service}") }
        }
        (None | Some(CgroupDriver::Direct), None) if facts.owns_tree => Choice::Below(rooted(Path::new("pybox"))),
        (Some(CgroupDriver::Direct), None) => {
            none("only root can make cgroups at the root of the tree", "sudo pybox run …")
        }
        (None, None) if facts.bus => Choice::Scope,
        (None, None) => no_bus(facts.uid),
    };
    match chosen {
        Choice::None { why, hint } if wishes.driver.is_some_and(|driver| driver != CgroupDriver::None) => {
            Err((why, hint))
        }
        chosen => Ok(chosen),
    }
}

/// Name of the directory for us and monitors in a cgroup that holds us: where controllers are handed on, no process stays.
pub const SUPERVISOR: &str = "supervisor";

fn by_right(uid: u32) -> CgroupDriver {
    if uid == 0 { CgroupDriver::Direct } else { CgroupDriver::Delegated }
}

fn rooted(root: &Path) -> Below {
    // An absolute path that lacks the mount point is meant as /proc/PID/cgroup has it.
    let mount = Path::new(MOUNT);
    let relative = root.strip_prefix(mount).or_else(|_| root.strip_prefix("/")).unwrap_or(root);
    Below { driver: CgroupDriver::Direct, parent: mount.join(relative), monitors: "monitors", prefix: "" }
}

fn no_bus(uid: u32) -> Choice {
    let why = "no bus of systemd was found, which makes cgroups for users".to_owned();
    Choice::None { why, hint: format!("sudo loginctl enable-linger {uid} starts one, and keeps it at logout") }
}

impl Below {
    /// The same below `parent` as `--cgroup-parent` names it.
    #[must_use]
    pub fn with_parent(self, parent: &str) -> Self {
        Self { driver: self.driver, ..rooted(Path::new(parent)) }
    }

    /// Makes the directory, and has its ancestors hand on what they have.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn prepare(&self) -> Result<(), super::CgroupError> {
        std::fs::create_dir_all(&self.parent).map_err(super::CgroupError::tree("make", &self.parent))?;
        let mount = Path::new(MOUNT);
        let between: Vec<_> = self.parent.ancestors().skip(1).take_while(|path| path.starts_with(mount)).collect();
        for directory in between.into_iter().rev() {
            super::group::hand_on(directory);
        }
        Ok(())
    }

    /// Moves us out of the directory, if we are in it, into the one for monitors: only a cgroup without processes of its
    /// own may hand controllers on. Of others, those go along who are in a container with us; in a unit that somebody else
    /// shares we leave things as they are.
    pub fn vacate(&self, monitor: u32, limited: bool) {
        let own = [std::process::id(), monitor];
        let is_root = limited && self.parent == Path::new(MOUNT);
        let text = std::fs::read_to_string(self.parent.join("cgroup.procs")).unwrap_or_default();
        let there: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let all_ours = there.iter().all(|pid| own.contains(pid));
        if there.is_empty() || !(all_ours || is_root) {
            return;
        }
        let leaf = self.parent.join(self.monitors);
        // What cannot be moved is told by the limit that cannot be kept then.
        let _ = std::fs::create_dir(&leaf);
        for pid in there {
            let _ = std::fs::write(leaf.join("cgroup.procs"), pid.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(facts: &Facts, driver: Option<CgroupDriver>, root: Option<&str>) -> String {
        match choose(facts, Wishes { driver, root: root.map(Path::new), speaks: false }) {
            Ok(Choice::Scope) => "scope".to_owned(),
            Ok(Choice::Below(below)) => format!("{} {}", below.driver, below.parent.display()),
            Ok(Choice::None { .. }) => "none".to_owned(),
            Err((why, _)) => format!("refused: {why}"),
        }
    }

    #[test]
    fn the_driver_is_what_the_host_allows() {
        use CgroupDriver::{Delegated, Direct, None as Nobody, Scope};
        let user = Facts { uid: 1000, unified: true, bus: true, ..Facts::default() };
        let root = Facts { uid: 0, owns_tree: true, ..user.clone() };
        let unit = Facts { given: Some("/sys/fs/cgroup/a.service".into()), ..user.clone() };
        let old = Facts { unified: false, ..user.clone() };
        let alone = Facts { bus: false, ..user.clone() };
        let cases: [(&Facts, Option<CgroupDriver>, Option<&str>, &str); 16] = [
            (&user, None, None, "scope"),
            (&root, None, None, "direct /sys/fs/cgroup/pybox"),
            (&root, Some(Scope), None, "scope"),
            (&unit, None, None, "delegated /sys/fs/cgroup/a.service"),
            (&unit, Some(Scope), None, "scope"),
            (&alone, None, None, "none"),
            (&alone, Some(Scope), None, "refused: no bus of systemd was found, which makes cgroups for users"),
            (&alone, None, Some("/sys/fs/cgroup/mine"), "delegated /sys/fs/cgroup/mine"),
            (&alone, None, Some("mine/too"), "delegated /sys/fs/cgroup/mine/too"),
            (&root, None, Some("/mine"), "direct /sys/fs/cgroup/mine"),
            (&user, Some(Delegated), None, "refused: no cgroup was delegated to us"),
            (&user, Some(Direct), None, "refused: only root can make cgroups at the root of the tree"),
            (&user, Some(Nobody), None, "none"),
            (&old, None, None, "none"),
            (&old, Some(Scope), None, "refused: this host has no cgroup v2"),
            (&old, None, Some("/mine"), "none"),
        ];
        for (facts, driver, root, expected) in cases {
            assert_eq!(name(facts, driver, root), expected, "{facts:?} {driver:?} {root:?}");
        }
    }

    #[test]
    fn who_speaks_for_a_service_stays_in_it() {
        let service = Some("web.service".to_owned());
        let user = Facts { uid: 1000, unified: true, bus: true, service, ..Facts::default() };
        let root = Facts { uid: 0, owns_tree: true, ..user.clone() };
        let given = Facts { given: Some("/sys/fs/cgroup/web.service".into()), service: None, ..user.clone() };
        let wishes = Wishes { speaks: true, ..Wishes::default() };
        for facts in [&user, &root] {
            let Ok(Choice::None { why, hint }) = choose(facts, wishes) else { panic!("{facts:?}") };
            assert!(why.starts_with("web.service keeps its cgroup to itself"), "{why}");
            assert_eq!(hint, "Delegate=yes in [Service] of web.service");
        }
        assert!(matches!(choose(&given, wishes), Ok(Choice::Below(_))));
        assert_eq!(choose(&user, Wishes::default()), Ok(Choice::Scope));
        let asked = Wishes { driver: Some(CgroupDriver::Scope), ..wishes };
        assert_eq!(choose(&user, asked), Ok(Choice::Scope));
    }

    #[test]
    fn a_parent_keeps_the_right() {
        let below = Below { driver: CgroupDriver::Delegated, ..rooted(Path::new("x")) }.with_parent("/y/z");
        assert_eq!((below.driver, below.parent), (CgroupDriver::Delegated, PathBuf::from("/sys/fs/cgroup/y/z")));
    }
}
