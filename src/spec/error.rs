//! Why a request cannot become a specification.

use crate::model::flags::InvalidFlag;

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request, or the image it names: another request would do.
    User,
    /// Something that this host or this version cannot do.
    Unsupported,
}

/// A request that cannot be kept, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither the request nor the image says what to run.
    #[error("no command to run: the image names none")]
    NoCommand,
    /// A command whose program is the empty word.
    #[error("no command to run: its first word is empty")]
    EmptyCommand,
    /// An `exec` without a command.
    #[error("no command to execute")]
    NothingToExecute,
    /// A flag or a word of the image's config that cannot be read.
    #[error(transparent)]
    Flag(#[from] InvalidFlag),
    /// No such user in the image.
    #[error("no user {0:?} in the image's /etc/passwd")]
    UnknownUser(String),
    /// No such group in the image.
    #[error("no group {0:?} in the image's /etc/group")]
    UnknownGroup(String),
    /// `/etc/passwd` or `/etc/group` of the image is beyond every sane size.
    #[error("read {file} of the image: {reason}")]
    AccountFile {
        /// The file's path in the image.
        file: &'static str,
        /// Which limit it breaks.
        reason: &'static str,
    },
    /// An id that the user namespace does not have.
    #[error("{what} {id} is not mapped in the container's user namespace, which has 0 to {highest}")]
    Unmapped {
        /// `user id` or `group id`.
        what: &'static str,
        /// The id.
        id: u32,
        /// The highest id that is mapped.
        highest: u32,
    },
    /// A path in the request or image that cannot be used.
    #[error("{what} {path:?}: {reason}")]
    Path {
        /// What the path is for, as in `working directory`.
        what: &'static str,
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A resource limit above what this process may give.
    #[error("set ulimit {} to {}: your own hard limit is {limit}", short(name), number(*asked))]
    Ulimit {
        /// As in `RLIMIT_NOFILE`.
        name: String,
        /// What was asked for.
        asked: u64,
        /// What there is.
        limit: u64,
    },
    /// A seccomp profile that cannot be read.
    #[error("read the seccomp profile: {0}")]
    Profile(String),
    /// `host-gateway` where there is no way to the host.
    #[error("--add-host {alias}:host-gateway: a container without a network has no way to the host")]
    NoGateway {
        /// The name that it was to have.
        alias: String,
    },
    /// A part of the request that this host cannot keep.
    #[error("{what}: {reason}")]
    Unsupported {
        /// The part, as in `--sysctl net.ipv4.ip_forward`.
        what: String,
        /// Why it cannot be kept.
        reason: String,
    },
    /// A composed document that does not hold together.
    #[error("check the container's specification: {0}")]
    Document(String),
}

impl SpecError {
    /// Who can do something about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } | Self::Ulimit { .. } | Self::Unmapped { .. } | Self::NoGateway { .. } => {
                Kind::Unsupported
            }
            _ => Kind::User,
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand => Some("name a command after the image, as in: pybox run IMAGE -- sh".into()),
            Self::NothingToExecute => Some("name one, as in: pybox exec CONTAINER -- sh".into()),
            Self::UnknownUser(name) | Self::UnknownGroup(name) => {
                Some(format!("use a number instead of {name:?}, or add the account to the image"))
            }
            Self::Unmapped { what, .. } => Some(format!(
                "use a smaller {what}, or add a second range of your user's: sudoedit /etc/subuid /etc/subgid   \
                 (`pybox info` shows those there are)"
            )),
            Self::EmptyCommand => Some("leave the empty word out, or name a program: pybox run IMAGE -- sh".into()),
            Self::Profile(_) => Some("--security-opt seccomp=FILE takes a profile in docker's JSON format".into()),
            Self::NoGateway { .. } => Some("--network host has one".into()),
            Self::Ulimit { name, .. } => {
                let short = short(name);
                Some(format!(
                    "ask for no more than that, or have the limit raised: a line \"$USER hard {short} VALUE\" in \
                     /etc/security/limits.conf holds from the next login"
                ))
            }
            _ => None,
        }
    }
}

/// A limit as `--ulimit` names it.
fn short(name: &str) -> String {
    name.strip_prefix("RLIMIT_").unwrap_or(name).to_ascii_lowercase()
}

fn number(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// The error of a document that does not hold together.
pub(super) fn wrong(reason: impl std::fmt::Display) -> SpecError {
    SpecError::Document(reason.to_string())
}
