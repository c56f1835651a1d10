//! The tree of cgroups, as this process sees it.

use std::path::{Component, Path, PathBuf};

/// Where the unified tree is mounted.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// What a container may be given, in the order in which a directory lists them.
pub const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];

/// Whether the tree at `mount` is the unified one (cgroup v2).
pub fn is_unified(mount: &Path) -> bool {
    mount.join("cgroup.controllers").exists()
}

/// The cgroup of a process as a directory below `mount`; none if that is outside of what we see.
pub fn of_process(mount: &Path, pid: &str) -> Option<PathBuf> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?).map(|path| mount.join(path))
}

/// The path in a file of the form of /proc/PID/cgroup (cgroups(7)), without its first slash.
fn parse(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // A cgroup that was removed has processes that are about to end; one above our namespace is none of ours.
    let path = Path::new(path.strip_suffix(" (deleted)").map_or(path, |_| ".."));
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| path.to_owned())
}

/// The controllers that a directory has to give.
pub fn controllers(directory: &Path) -> Vec<String> {
    words(&std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default())
}

/// The words of a file of one line, as far as they are for containers.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().filter(|word| CONTROLLERS.contains(word)).map(str::to_owned).collect()
}

/// The number behind `key` in a file of keys and numbers.
pub fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_unified_tree() {
        let cases = [
            ("0::/\n", Some("")),
            ("0::/user.slice/user-1000.slice/session-1.scope\n", Some("user.slice/user-1000.slice/session-1.scope")),
            ("2:cpu:/x\n1:name=systemd:/y\n0::/z\n", Some("z")),
            ("2:cpu:/x\n", None),
            ("0::/../other\n", None),
            ("0::/gone (deleted)\n", None),
            ("", None),
        ];
        for (text, path) in cases {
            assert_eq!(parse(text), path.map(PathBuf::from), "{text:?}");
        }
    }

    #[test]
    fn keys_are_whole_words() {
        let text = "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n";
        assert_eq!((number(text, "oom"), number(text, "oom_kill"), number(text, "none")), (Some(3), Some(4), None));
        assert_eq!(words("cpuset cpu io memory hugetlb pids rdma misc\n"), CONTROLLERS);
    }
}
