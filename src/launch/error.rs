//! Why a container did not start, as a sentence with its object.

use rustix::io::Errno;

use super::plan::PlanError;
use crate::sys::idmap::MapError;

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The document cannot be launched.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel made no process with the namespaces asked for.
    #[error("make the container's namespaces")]
    Namespaces(#[source] std::io::Error),
    /// The id maps could not be written.
    #[error("map the container's user and group ids")]
    Map(#[from] MapError),
    /// It could not be made below the user namespace of its networks, or put on these.
    #[error("{0}")]
    Below(String),
    /// A step of the child failed.
    #[error("{operation}")]
    Step {
        /// The step, in words.
        operation: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
        /// What to do about it, where the step was at fault.
        hint: Option<&'static str>,
    },
    /// The program is not there.
    #[error("execute {program:?}: no such file or directory in the container")]
    NotFound {
        /// As the user named it.
        program: String,
    },
    /// The program is there, and cannot be executed.
    #[error("execute {program:?}")]
    NotExecutable {
        /// As the user named it.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The working directory of one more process is not there, or is none.
    #[error("enter the working directory {directory}")]
    Workdir {
        /// As the user named it.
        directory: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// No process could be made to join a container.
    #[error("make a process for the container")]
    Fork(#[source] std::io::Error),
    /// Not all processes of a container got a signal.
    #[error("signal the container's processes")]
    Signal(#[source] std::io::Error),
    /// The container that was to be joined has ended.
    #[error("the container is not running any more")]
    Ended,
    /// The child ended without a word.
    #[error("the container's process ended with code {0} before it executed its program")]
    Died(i32),
    /// The server of the file system has failed.
    #[error("serve the container's files: {0}")]
    Served(String),
    /// The file system's server could not be told what to serve.
    #[error("hand the file system to its server")]
    Serve(#[source] std::io::Error),
    /// The talk with the child failed.
    #[error("talk to the container's first process")]
    Wire(#[source] std::io::Error),
}

impl LaunchError {
    /// The exit code that users of docker expect: 127 for a program that is not
    /// there, 126 for one that cannot be executed, 125 for all else. A working
    /// directory is as a program in this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::Workdir { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 127,
            Self::Workdir { .. } => 126,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }

    /// The command or change that mends it, where one is known.
    pub fn hint(&self) -> Option<String> {
        let errno = |error: &std::io::Error| error.raw_os_error().map(Errno::from_raw_os_error);
        match self {
            Self::Namespaces(error) => match errno(error) {
                Some(Errno::NOSPC) => Some("raise the limit: sudo sysctl user.max_user_namespaces=28633".into()),
                Some(Errno::PERM | Errno::ACCESS) => Some(
                    "allow user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu \
                     sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
                        .into(),
                ),
                Some(Errno::INVAL | Errno::NOSYS) => Some(
                    "this kernel lacks user namespaces: boot one with CONFIG_USER_NS=y, Linux 5.11 or newer".into(),
                ),
                _ => None,
            },
            Self::Map(MapError::Refused(..)) => {
                Some("compare /etc/subuid and /etc/subgid with the ranges that `pybox info` shows".into())
            }
            Self::NotFound { .. } => Some(
                "check the name and the PATH that `pybox inspect IMAGE` shows, or choose another --entrypoint".into(),
            ),
            Self::NotExecutable { .. } => Some(
                "the file needs a mode with x, this machine's architecture or a #! line that names a program".into(),
            ),
            Self::Served(_) => Some("pybox check --repair".into()),
            Self::Step { hint, .. } => hint.map(ToOwned::to_owned),
            Self::Workdir { .. } => Some("choose another directory with -w, or make it first".into()),
            Self::Ended => Some("pybox ps -a".into()),
            Self::Map(MapError::Start(..)) => Some("install the helpers: sudo apt install uidmap".into()),
            _ => None,
        }
    }
}
