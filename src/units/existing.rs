//! A unit for a container that is there: one that starts that very container, or one that makes
//! another like it each time.

use super::quoting;
use super::service::Service;
use super::words::{Untellable, words};
use crate::model::container::ContainerRequest;

/// Seconds beyond a container's own before systemd loses patience.
const GRACE: u64 = 15;
/// Seconds that a container has to end, if nobody says.
const STOP_SECONDS: u64 = 10;

/// `Restart=` of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart(&'static str);

impl Restart {
    /// The words there are.
    pub const WORDS: [&'static str; 7] =
        ["no", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog", "always"];

    /// Reads one of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The container's own word, which means the same to systemd as always.
        let text = if text == "unless-stopped" { "always" } else { text };
        Self::WORDS.into_iter().find(|word| *word == text).map(Self)
    }
}

/// What the unit is to be.
pub struct Recipe<'r> {
    /// The program that it starts, by absolute path.
    pub program: &'r str,
    /// Where everything is kept, if it is no usual place.
    pub root: Option<&'r str>,
    /// Whether it is for the manager of a user.
    pub user: bool,
    /// The container's name.
    pub name: &'r str,
    /// What was asked for when it was made.
    pub request: &'r ContainerRequest,
    /// Whether a new one is made at each start.
    pub new: bool,
    /// When systemd starts it again.
    pub restart: Restart,
    /// How long systemd waits before that.
    pub restart_seconds: Option<u64>,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_seconds: Option<u64>,
}

/// The text of the unit.
///
/// # Errors
/// If a new container is wanted, and flags cannot say what this one is.
pub fn unit(recipe: &Recipe<'_>) -> Result<String, Untellable> {
    let mut service = Service::new();
    let name = recipe.name;
    service.add("Unit", "Description", format!("Container {name}"));
    let online = if recipe.user { "pybox-user-wait-network-online.service" } else { "network-online.target" };
    service.add("Unit", "Wants", online);
    service.add("Unit", "After", online);
    match recipe.root {
        Some(root) => service.add("Unit", "RequiresMountsFor", quoting::join(&[root.replace('%', "%%")])),
        None => service.add("Unit", "RequiresMountsFor", if recipe.user { "%h" } else { "/var/lib/pybox" }),
    }

    service.add("Service", "Environment", "PYBOX_SYSTEMD_UNIT=%n");
    service.add("Service", "Type", "notify");
    // What speaks is the container's monitor.
    service.add("Service", "NotifyAccess", "all");
    service.add("Service", "Restart", recipe.restart.0);
    if let Some(seconds) = recipe.restart_seconds {
        service.add("Service", "RestartSec", seconds.to_string());
    }
    let patience = recipe.stop_seconds.or(recipe.request.stop_timeout).unwrap_or(STOP_SECONDS);
    let patience = patience.checked_add(GRACE).map_or("infinity".to_owned(), |seconds| seconds.to_string());
    service.add("Service", "TimeoutStopSec", patience);
    let signal = recipe.request.stop_signal.unwrap_or(15);
    service.add("Service", "SuccessExitStatus", (128 + signal).to_string());
    service.add("Service", "KillMode", "mixed");
    service.add("Service", "Delegate", "yes");
    service.add("Service", "SyslogIdentifier", "%N");

    commands(recipe, &mut service)?;
    service.add("Install", "WantedBy", if recipe.user { "default.target" } else { "multi-user.target" });
    Ok(service.text("Made by pybox generate systemd"))
}

/// What the unit runs.
fn commands(recipe: &Recipe<'_>, service: &mut Service) -> Result<(), Untellable> {
    let name = recipe.name;
    // In the path of the program systemd replaces specifiers alone.
    let mut program = vec![recipe.program.replace('%', "%%")];
    program.extend(recipe.root.map(|root| ["--root".to_owned(), quoting::literal(root)]).into_iter().flatten());
    let with = |words: &[&str]| -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned());
        program.iter().cloned().chain(words).collect()
    };
    let seconds = recipe.stop_seconds.map(|seconds| seconds.to_string());
    let stop = match &seconds {
        Some(seconds) => with(&["stop", "--timeout", seconds, name]),
        None => with(&["stop", name]),
    };
    if recipe.new {
        let remove = with(&["rm", "--force", "--ignore", "--volumes", name]);
        let mut start = with(&["run", "--rm", "--sdnotify=conmon", "--name", name]);
        start.extend(words(recipe.request)?.iter().map(|word| quoting::literal(word)));
        service.add_careless("ExecStartPre", &remove);
        service.add_command("ExecStart", &start);
        service.add_careless("ExecStop", &stop);
        service.add_careless("ExecStopPost", &remove);
    } else {
        service.add_command("ExecStart", &with(&["start", "--attach", "--sdnotify=conmon", name]));
        service.add_careless("ExecStop", &stop);
        // If the main process was killed there was no stop.
        service.add_careless("ExecStopPost", &stop);
    }
    Ok(())
}
