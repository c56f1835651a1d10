//! `--log-driver` and `--log-opt`.

use super::{InvalidFlag, size};
use crate::model::supervision::{LogDriver, LogRequest};

/// Reads a driver; docker's and podman's names for files are taken too.
///
/// # Errors
/// For a driver that does not exist here.
pub fn driver(text: &str) -> Result<LogDriver, InvalidFlag> {
    match text {
        "file" | "json-file" | "k8s-file" | "local" => Ok(LogDriver::File),
        "journald" => Ok(LogDriver::Journald),
        "none" => Ok(LogDriver::None),
        _ => Err(InvalidFlag::new("--log-driver", text, "expected file, journald or none")),
    }
}

/// Takes `max-size=SIZE` or `max-file=N` into `request`.
///
/// # Errors
/// For another option, and a value that is none.
pub fn option(text: &str, request: &mut LogRequest) -> Result<(), InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--log-opt", text, reason);
    match text.split_once('=') {
        Some(("max-size", "-1")) => request.max_size = None,
        Some(("max-size", value)) => match size::parse("--log-opt", value)? {
            0..4096 => return Err(refuse("expected a size of 4k or more")),
            bytes => request.max_size = Some(bytes),
        },
        Some(("max-file", value)) => {
            let number = value.parse().ok().filter(|number| (1..=1000).contains(number));
            request.max_file = Some(number.ok_or_else(|| refuse("expected a number from 1 to 1000"))?);
        }
        _ => return Err(refuse("expected max-size=SIZE or max-file=N")),
    }
    Ok(())
}
