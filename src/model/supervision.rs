//! What a monitor does for its container beyond starting it: restarts, health,
//! logs, time limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `--restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it fails, so often at most.
    OnFailure {
        /// How often; none for any number of times.
        most: Option<u32>,
    },
    /// Whenever it ends, and after the machine was restarted.
    Always,
    /// As `always`, unless the user had stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a container that ended by itself with `exit_code`, after `restarts` restarts, starts again.
    pub fn restarts(self, exit_code: i32, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => exit_code != 0 && most.is_none_or(|most| restarts < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Whether `pybox start --all-due` starts a container that is not running.
    pub fn is_due(self, stopped_by_user: bool) -> bool {
        match self {
            Self::No | Self::OnFailure { .. } => false,
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_user,
        }
    }

    /// The word that `--restart` takes and `inspect` shows, without the number.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }
}

/// `--health-*`: what the user says, over what the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthRequest {
    /// `--no-healthcheck`, or `--health-cmd none`.
    pub disabled: bool,
    /// `--health-cmd`: program and arguments.
    pub command: Option<Vec<String>>,
    /// `--health-interval` in milliseconds.
    pub interval: Option<u64>,
    /// `--health-timeout` in milliseconds.
    pub timeout: Option<u64>,
    /// `--health-start-period` in milliseconds.
    pub start_period: Option<u64>,
    /// `--health-retries`.
    pub retries: Option<u32>,
}

/// A health check, complete. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Between the end of one check and the start of the next.
    pub interval: u64,
    /// How long a check may take.
    pub timeout: u64,
    /// How long after the start failures do not count.
    pub start_period: u64,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

/// How a container fares by its health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not known yet.
    Starting,
    /// The last check was good.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

impl Health {
    /// The word that `ps` and `inspect` show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Descriptors that a container's program inherits, from 3 on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Descriptors {
    /// The first so many are sockets that systemd has opened (`LISTEN_FDS`).
    pub listening: u32,
    /// What these are called (`LISTEN_FDNAMES`).
    pub names: Option<String>,
    /// So many come after them (`--preserve-fds`).
    pub more: u32,
}

impl Descriptors {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.listening.saturating_add(self.more)
    }
}

/// What a monitor tells systemd of its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Where systemd listens (`NOTIFY_SOCKET`): a path, or `@` and a name without a file.
    pub socket: PathBuf,
    /// When the service counts as up.
    pub when: ReadyWhen,
}

/// When a service counts as up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyWhen {
    /// When the container's program has been executed.
    Started,
    /// When its health check was good.
    Healthy,
    /// When it says so itself.
    Told,
}

/// `--log-driver` and `--log-opt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRequest {
    /// Where output is kept.
    pub driver: LogDriver,
    /// `max-size`: a log file is rotated when it has so many bytes; none for no limit.
    pub max_size: Option<u64>,
    /// `max-file`: how many files are kept, the current one included.
    pub max_file: Option<u32>,
    /// `tag`: what entries of the journal are called, with words like `{{.Name}}`; none for the container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `labels`: of those that the container has, the ones that are fields of each entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// `env`: the same of variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

/// Where output is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// In files of the bundle.
    #[default]
    File,
    /// In the journal of systemd; what that does not take is in files of the bundle.
    Journald,
    /// Nowhere.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        for (policy, code, restarts, again) in [
            (No, 1, 0, false),
            (Always, 0, 99, true),
            (UnlessStopped, 0, 99, true),
            (OnFailure { most: None }, 0, 0, false),
            (OnFailure { most: None }, 1, 99, true),
            (OnFailure { most: Some(3) }, 1, 2, true),
            (OnFailure { most: Some(3) }, 1, 3, false),
        ] {
            assert_eq!(policy.restarts(code, restarts), again, "{policy:?} {code} {restarts}");
        }
        assert!(Always.is_due(true) && UnlessStopped.is_due(false));
        assert!(!UnlessStopped.is_due(true) && !OnFailure { most: None }.is_due(false));
    }
}
