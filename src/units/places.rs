//! Where files are looked for: pybox's own directories, then podman's.

use std::path::{Path, PathBuf};

/// For whom units are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'f> {
    /// The manager of the machine.
    System,
    /// The manager of a user.
    User {
        /// The user.
        uid: u32,
        /// `$XDG_CONFIG_HOME`, or what stands for it.
        config: Option<&'f Path>,
    },
}

/// The directories, the most important first.
///
/// `asked` is `QUADLET_UNIT_DIRS`, which hides all others. `podman` is whether podman's own
/// generator is there: it makes units of the files in podman's directories, and two services of one
/// name would be no help.
#[must_use]
pub fn directories(whom: For<'_>, asked: Option<&str>, podman: bool) -> Vec<PathBuf> {
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        let directories = asked.split(':').map(PathBuf::from).filter(|path| path.is_absolute());
        return directories.collect();
    }
    let mut directories = Vec::new();
    match whom {
        For::System => {
            directories.extend(["/run/pybox/units", "/etc/pybox/units", "/usr/share/pybox/units"].map(PathBuf::from));
            let podmans = ["/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"];
            directories.extend(podmans.into_iter().filter(|_| !podman).map(PathBuf::from));
        }
        For::User { uid, config } => {
            directories.extend(config.map(|config| config.join("pybox/units")));
            directories
                .extend([format!("/etc/pybox/units/users/{uid}"), "/etc/pybox/units/users".into()].map(PathBuf::from));
            if !podman {
                directories.extend(config.map(|config| config.join("containers/systemd")));
                let podmans = [format!("/etc/containers/systemd/users/{uid}"), "/etc/containers/systemd/users".into()];
                directories.extend(podmans.map(PathBuf::from));
            }
        }
    }
    directories
}

/// Where podman's generator is, if it is installed.
pub const PODMANS_GENERATORS: [&str; 4] = [
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/lib/systemd/user-generators/podman-user-generator",
    "/usr/local/lib/systemd/system-generators/podman-system-generator",
    "/usr/local/lib/systemd/user-generators/podman-user-generator",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_directories_come_first_and_podmans_may_be_podmans() {
        let shown = |whom, asked, podman| {
            let directories = directories(whom, asked, podman);
            directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let user = For::User { uid: 7, config: Some(Path::new("/h/.config")) };
        assert_eq!(
            shown(user, None, false),
            "/h/.config/pybox/units /etc/pybox/units/users/7 /etc/pybox/units/users \
             /h/.config/containers/systemd /etc/containers/systemd/users/7 /etc/containers/systemd/users"
        );
        assert_eq!(
            shown(For::User { uid: 7, config: None }, None, true),
            "/etc/pybox/units/users/7 /etc/pybox/units/users"
        );
        assert_eq!(
            shown(For::System, Some(""), false),
            "/run/pybox/units /etc/pybox/units /usr/share/pybox/units \
             /run/containers/systemd /etc/containers/systemd /usr/share/containers/systemd"
        );
        assert_eq!(shown(user, Some("/a:relative::/b"), false), "/a /b");
    }
}
