//! `--sdnotify`: who tells systemd that a container is up.

use std::path::PathBuf;

use crate::cli::error::{OURS, Problem};
use crate::cli::session::with_environment;
use crate::model::container::{Mount, MountSource};
use crate::model::supervision::{Notify, ReadyWhen};

/// Where a container finds the socket that it tells itself.
const INSIDE: &str = "/run/notify";

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::commands) enum Mode {
    /// Nobody.
    Ignore,
    /// The monitor.
    Monitor(ReadyWhen),
    /// The container itself.
    Container,
}

/// What a container gets to tell by.
pub(in crate::cli::commands) struct Shared {
    /// The socket.
    pub(in crate::cli::commands) mount: Mount,
    /// The variable that names it.
    pub(in crate::cli::commands) variable: (String, String),
}

impl Mode {
    /// Reads podman's words.
    ///
    /// # Errors
    /// For another one.
    pub(in crate::cli::commands) fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "ignore" => Ok(Self::Ignore),
            "conmon" | "monitor" => Ok(Self::Monitor(ReadyWhen::Started)),
            "healthy" => Ok(Self::Monitor(ReadyWhen::Healthy)),
            "container" => Ok(Self::Container),
            _ => {
                let sentence =
                    format!("invalid value {text:?} for --sdnotify: expected monitor, healthy, container or ignore");
                Err(Problem::user(sentence).hint("pybox run --sdnotify monitor …").code(OURS))
            }
        }
    }

    /// What the monitor has to do, where systemd wants to know.
    pub(in crate::cli::commands) fn notify(self) -> Option<Notify> {
        let when = match self {
            Self::Ignore => return None,
            Self::Monitor(when) => when,
            Self::Container => ReadyWhen::Told,
        };
        Some(Notify { socket: socket()?, when })
    }

    /// What the container gets to tell by: a mount and a variable. Neither where nobody wants to know.
    ///
    /// # Errors
    /// If the socket has no file, which a container could be shown.
    pub(in crate::cli::commands) fn share(self) -> Result<Option<Shared>, Problem> {
        let Some(socket) = socket().filter(|_| self == Self::Container) else { return Ok(None) };
        let shown = socket.to_str().filter(|path| path.starts_with('/'));
        let Some(path) = shown.map(str::to_owned) else {
            let sentence = format!("--sdnotify container: NOTIFY_SOCKET={} is no file", socket.display());
            return Err(Problem::user(sentence).hint("--sdnotify monitor tells from outside").code(OURS));
        };
        let source = MountSource::Bind { path, create: false };
        let mount = Mount { source, target: INSIDE.to_owned(), read_only: false, options: Vec::new() };
        Ok(Some(Shared { mount, variable: ("NOTIFY_SOCKET".to_owned(), INSIDE.to_owned()) }))
    }
}

/// Warns where systemd waits for a word of this very process and nobody was asked to say it: the service would be given up
/// after a while, or as soon as we are gone.
pub(in crate::cli::commands) fn warn_of_silence() {
    // Others inherit the socket as well; this is about the one that the unit has for its main process (systemd.exec(5)).
    let named = with_environment(|environment| environment.variable("SYSTEMD_EXEC_PID"));
    if named.is_some_and(|pid| pid == std::process::id().to_string()) && socket().is_some() {
        tracing::warn!(
            "systemd waits to be told that the service is up, and nobody will tell it: --sdnotify monitor does"
        );
    }
}

/// Where systemd listens: a path, or `@` and a name without a file.
fn socket() -> Option<PathBuf> {
    let socket = with_environment(|environment| environment.variable("NOTIFY_SOCKET"))?;
    Some(PathBuf::from(socket))
        .filter(|path| path.is_absolute() || path.as_os_str().as_encoded_bytes().starts_with(b"@"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_words_are_known() {
        for (word, mode) in [
            ("ignore", Mode::Ignore),
            ("conmon", Mode::Monitor(ReadyWhen::Started)),
            ("monitor", Mode::Monitor(ReadyWhen::Started)),
            ("healthy", Mode::Monitor(ReadyWhen::Healthy)),
            ("container", Mode::Container),
        ] {
            assert_eq!(Mode::parse(word).ok(), Some(mode), "{word}");
        }
        assert!(Mode::parse("yes").is_err());
        assert_eq!((Mode::Ignore.notify(), Mode::Container.notify()), (None, None));
    }
}
