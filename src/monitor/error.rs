//! Why a monitor gives up, or could not do what it was asked to.

use super::protocol::{Event, WireError};
use crate::cgroup::CgroupError;
use crate::launch::LaunchError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The container could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Its cgroup is not to be had.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The engine cannot be talked to.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The bundle cannot be read.
    #[error("read config.json of the container")]
    Bundle(#[source] std::io::Error),
    /// It makes no sense.
    #[error("read config.json of the container")]
    Document(#[source] serde_json::Error),
    /// The process of an exec cannot be read.
    #[error("read the process to execute")]
    Process(#[source] std::io::Error),
    /// A control came without the descriptors that belong to it.
    #[error("take what came with a control: descriptors are missing")]
    NoCargo,
    /// There is nothing to join between an end and the next start.
    #[error("the container is between an end and its next start")]
    Between,
    /// It was started without a cgroup.
    #[error("the container was started without a cgroup of its own, so nothing holds it to limits")]
    NoCgroup,
    /// Nothing connects the container's network.
    #[error("connect the container's network: {0}")]
    Network(String),
    /// Something else the kernel refused.
    #[error("{0}")]
    System(&'static str, #[source] std::io::Error),
}

impl MonitorError {
    /// The error of a system call of ours.
    pub fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |error| Self::System(what, error.into())
    }

    /// The sentence with its causes.
    pub fn sentence(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        message
    }

    /// The exit code that users of docker expect of a start that failed so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(launch) => launch.exit_code(),
            _ => 125,
        }
    }

    /// The answer that tells of it.
    pub fn event(&self) -> Event {
        let hint = match self {
            Self::Launch(launch) => launch.hint(),
            Self::Cgroup(cgroup) => cgroup.hint(),
            Self::Bundle(_) | Self::Document(_) => {
                Some("remove the container and create it again: pybox rm -f CONTAINER".to_owned())
            }
            Self::System(_, error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Some("free space where PYBOX_ROOT is: pybox rm CONTAINER, pybox system prune".to_owned())
            }
            Self::System(_, error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                Some("more files have to be open at once: ulimit -n 1024".to_owned())
            }
            Self::Network(_) => Some("run it without one: --network none".to_owned()),
            Self::Between => Some("try again when it runs: pybox ps -a".to_owned()),
            _ => None,
        };
        Event::Failed { message: self.sentence(), hint, exit_code: self.exit_code() }
    }
}
