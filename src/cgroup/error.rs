//! What can go wrong with a cgroup.

use std::path::PathBuf;

use super::settings::Setting;

/// Why a cgroup is not as it was to be.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A directory or a file of the tree.
    #[error("{operation} {}", path.display())]
    Tree {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A controller that a limit needs.
    #[error("the {controller} controller cannot be had in {}", directory.display())]
    Controller {
        /// `memory`, `cpu`, …
        controller: String,
        /// Where it was to be enabled.
        directory: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// A limit.
    #[error("write {:?} to {}", setting.value, setting.file)]
    Setting {
        /// Which.
        setting: Setting,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Something that the kernel should have done by now.
    #[error("{0} took longer than {1} s")]
    Late(&'static str, u64),
}

impl CgroupError {
    /// A failure at `path`.
    pub(super) fn tree(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Tree { operation, path, source }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Controller { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                Some("other processes live in that cgroup; give pybox one of its own: systemd-run --user --scope -p Delegate=yes pybox run …".to_owned())
            }
            Self::Controller { .. } => Some(super::driver::DROP_IN.to_owned()),
            Self::Setting { setting, .. } if setting.file.starts_with("cpuset.") => {
                Some("cat /sys/fs/cgroup/cpuset.cpus.effective shows which processors there are".to_owned())
            }
            _ => None,
        }
    }
}
