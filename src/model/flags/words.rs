//! Flags that take one word of a short list: `--network`, `--pull`, `--platform`.

use crate::model::container::{NetworkMode, PullPolicy};
use crate::model::platform::Platform;

use super::InvalidFlag;

/// Reads `--network`.
///
/// # Errors
/// For every mode but those that exist.
pub fn network(text: &str) -> Result<NetworkMode, InvalidFlag> {
    match text {
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "pasta" => Ok(NetworkMode::Pasta),
        _ => Err(InvalidFlag::new("--network", text, "the networks that exist are pasta, none and host")),
    }
}

/// Reads `--pull`.
///
/// # Errors
/// If the word is no policy.
pub fn pull(text: &str) -> Result<PullPolicy, InvalidFlag> {
    match text {
        "always" | "true" => Ok(PullPolicy::Always),
        "missing" | "ifnotpresent" => Ok(PullPolicy::Missing),
        "never" | "false" => Ok(PullPolicy::Never),
        "newer" => Ok(PullPolicy::Newer),
        _ => Err(InvalidFlag::new("--pull", text, "expected always, missing, newer or never")),
    }
}

/// Reads `--platform`.
///
/// # Errors
/// If it is not of the form os/architecture[/variant].
pub fn platform(text: &str) -> Result<Platform, InvalidFlag> {
    text.parse()
        .map_err(|_| InvalidFlag::new("--platform", text, "expected os/architecture[/variant], as in linux/arm64"))
}
