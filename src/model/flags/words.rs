//! Flags that take one word of a short list: `--pull`, `--platform`.

use crate::model::container::PullPolicy;
use crate::model::limits::CgroupNamespace;
use crate::model::platform::Platform;

use super::InvalidFlag;

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

/// Reads `--cgroupns`.
///
/// # Errors
/// If the word is neither of the two.
pub fn cgroupns(text: &str) -> Result<CgroupNamespace, InvalidFlag> {
    match text {
        "private" => Ok(CgroupNamespace::Private),
        "host" => Ok(CgroupNamespace::Host),
        _ => Err(InvalidFlag::new("--cgroupns", text, "expected private or host")),
    }
}

/// Reads `--cgroups`: whether there is to be one.
///
/// # Errors
/// If the word is neither of the two.
pub fn cgroups(text: &str) -> Result<bool, InvalidFlag> {
    match text {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        _ => Err(InvalidFlag::new("--cgroups", text, "expected enabled or disabled")),
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
