//! What a host can lack, and how to get it: package names, lines and commands.

use std::path::PathBuf;

use crate::engine::api::{Failure, FailureKind};
use crate::model::subid::{InvalidSubids, Subids};

/// What this host lacks.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The user may map no ids but the own one.
    #[error("user {user} has no subordinate {}: no line for it in {}", .what.ids(), .what.file())]
    NoSubids {
        /// Login name, or the id where there is no name.
        user: String,
        /// Which file lacks the line.
        what: Lacking,
        /// Ids that nobody has yet.
        free: Subids,
    },
    /// The user has no account: newuidmap serves nobody without one.
    #[error("user id {0} has no account here, and newuidmap maps ids for accounts only")]
    NoAccount(u32),
    /// The ranges of the user cannot be mapped.
    #[error("the subordinate ids of user {user} in {file} cannot be mapped")]
    BadSubids {
        /// Login name, or the id where there is no name.
        user: String,
        /// The file with the ranges.
        file: &'static str,
        /// What is wrong with them.
        #[source]
        source: InvalidSubids,
    },
    /// shadow's helpers are not installed.
    #[error("newuidmap and newgidmap are not installed; a container needs them to map the user's subordinate ids")]
    NoHelpers {
        /// The command that installs them.
        install: String,
    },
    /// Nothing that this process starts can gain rights.
    #[error("newuidmap cannot map ids here: no_new_privs is set, so it has no more rights than the user")]
    NoNewPrivileges,
    /// `--userns host` without root.
    #[error("--userns=host needs root: a user's container always has a user namespace of its own")]
    NeedsRoot,
    /// A file of the host could not be read.
    #[error("read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
}

/// Which of the two files has no line for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// `/etc/subuid`.
    Uids,
    /// `/etc/subgid`.
    Gids,
    /// Both of them.
    Both,
}

impl Lacking {
    fn ids(self) -> &'static str {
        match self {
            Self::Uids => "user ids",
            Self::Gids => "group ids",
            Self::Both => "user and group ids",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Uids => "/etc/subuid",
            Self::Gids => "/etc/subgid",
            Self::Both => "/etc/subuid and /etc/subgid",
        }
    }

    fn options(self, free: Subids) -> String {
        let span = free.as_span();
        match self {
            Self::Uids => format!("--add-subuids {span}"),
            Self::Gids => format!("--add-subgids {span}"),
            Self::Both => format!("--add-subuids {span} --add-subgids {span}"),
        }
    }
}

impl HostError {
    /// Whether the user can still map the one id that is the own.
    pub fn leaves_one_id(&self) -> bool {
        match self {
            Self::NoSubids { .. } | Self::NoAccount(_) | Self::NoHelpers { .. } | Self::NoNewPrivileges => true,
            Self::BadSubids { .. } | Self::NeedsRoot | Self::Read(..) => false,
        }
    }

    /// What to do about it; begins with a command where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSubids { user, what, free } => Some(format!(
                "sudo usermod {} {user}   (adds the line {user}:{}:{} to {})",
                what.options(*free),
                free.start,
                free.count,
                what.file()
            )),
            Self::NoAccount(uid) => Some(format!(
                "sudo useradd --uid {uid} --create-home user{uid}   (`pybox info` then tells whether it has a range of ids)"
            )),
            Self::BadSubids { file, .. } => {
                Some(format!("sudoedit {file}   (ranges of one user may not overlap, nor hold ids that are in use)"))
            }
            Self::NoHelpers { install } => Some(install.clone()),
            Self::NoNewPrivileges => {
                Some("start pybox from a session that may gain rights (systemd: NoNewPrivileges=no)".to_owned())
            }
            Self::NeedsRoot => Some("leave --userns out, or map your own id with --userns keep-id".to_owned()),
            Self::Read(..) => None,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let kind = match &error {
            HostError::NeedsRoot => FailureKind::Invalid,
            _ => FailureKind::Host,
        };
        Self::new(kind, &error).hint(error.hint())
    }
}

/// The command that installs newuidmap, going by the text of os-release(5).
pub(super) fn install_helpers(os_release: &str) -> String {
    let value = |key| super::os_release(os_release, key);
    let family = format!("{} {}", value("ID"), value("ID_LIKE"));
    let command = family.split_whitespace().find_map(|id| match id {
        "debian" | "ubuntu" => Some("sudo apt install uidmap"),
        "fedora" | "rhel" | "centos" | "amzn" => Some("sudo dnf install shadow-utils"),
        "arch" => Some("sudo pacman -S shadow"),
        "alpine" => Some("sudo apk add shadow-uidmap"),
        "suse" | "opensuse" => Some("sudo zypper install shadow"),
        "gentoo" => Some("sudo emerge sys-apps/shadow"),
        _ => None,
    });
    command.unwrap_or("install the package of your distribution with newuidmap (uidmap, or shadow-utils)").to_owned()
}

/// The command that installs `package`, going by the text of os-release(5).
pub(super) fn install(os_release: &str, package: &str) -> String {
    let value = |key| super::os_release(os_release, key);
    let family = format!("{} {}", value("ID"), value("ID_LIKE"));
    let command = family.split_whitespace().find_map(|id| match id {
        "debian" | "ubuntu" => Some("sudo apt install"),
        "fedora" | "rhel" | "centos" | "amzn" => Some("sudo dnf install"),
        "arch" => Some("sudo pacman -S"),
        "alpine" => Some("sudo apk add"),
        "suse" | "opensuse" => Some("sudo zypper install"),
        _ => None,
    });
    command.map_or_else(|| format!("install the package {package}"), |command| format!("{command} {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_named_as_the_distribution_does() {
        for (os_release, command) in [
            ("ID=debian\n", "sudo apt install uidmap"),
            ("NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "sudo apt install uidmap"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "sudo dnf install shadow-utils"),
            ("ID=alpine\n", "sudo apk add shadow-uidmap"),
            ("", "install the package of your distribution with newuidmap (uidmap, or shadow-utils)"),
        ] {
            assert_eq!(install_helpers(os_release), command, "{os_release}");
        }
    }

    #[test]
    fn a_missing_range_says_which_line_and_which_command() {
        let free = Subids { start: 165_536, count: 65536 };
        let error = HostError::NoSubids { user: "ann".into(), what: Lacking::Both, free };
        let failure = Failure::from(error);
        assert_eq!(
            failure.message,
            "user ann has no subordinate user and group ids: no line for it in /etc/subuid and /etc/subgid"
        );
        assert_eq!(
            failure.hint.as_deref(),
            Some(
                "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann   \
                 (adds the line ann:165536:65536 to /etc/subuid and /etc/subgid)"
            )
        );
        let error = HostError::NoSubids { user: "ann".into(), what: Lacking::Gids, free };
        assert_eq!(error.to_string(), "user ann has no subordinate group ids: no line for it in /etc/subgid");
    }
}
