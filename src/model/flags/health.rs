//! `--health-*` and `--no-healthcheck`, and what an image says of its health check.

use super::{InvalidFlag, duration};
use crate::model::supervision::{HealthCheck, HealthRequest};

/// As docker's, in milliseconds.
const INTERVAL: u64 = 30_000;
const TIMEOUT: u64 = 30_000;
const RETRIES: u32 = 3;

/// `--health-cmd`: a command for the shell, a JSON list of words, or `none`.
///
/// # Errors
/// For an empty command, and a list that is none.
pub fn command(text: &str, request: &mut HealthRequest) -> Result<(), InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--health-cmd", text, reason);
    match text.trim() {
        "" => return Err(refuse("expected a command, or none")),
        "none" => request.disabled = true,
        list if list.starts_with('[') => {
            let words: Vec<String> = serde_json::from_str(list)
                .map_err(|_| refuse("expected a command, or a JSON list as in [\"CMD\", \"true\"]"))?;
            request.command = Some(program(&words).ok_or_else(|| refuse("the list names no command"))?);
        }
        line => request.command = Some(shell(line)),
    }
    Ok(())
}

/// `--health-interval`, `--health-timeout`: more than nothing, as docker wants at least a millisecond.
///
/// # Errors
/// As [`duration::parse`], and for zero.
pub fn time(flag: &'static str, text: &str) -> Result<u64, InvalidFlag> {
    match duration::parse(flag, text)? {
        0 => Err(InvalidFlag::new(flag, text, "expected at least 1ms")),
        milliseconds => Ok(milliseconds),
    }
}

/// `--health-retries`.
///
/// # Errors
/// If it is no number above zero.
pub fn retries(text: &str) -> Result<u32, InvalidFlag> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| InvalidFlag::new("--health-retries", text, "expected a number above 0"))
}

/// The check that holds: what the user says, over what the image says.
///
/// `image` is the `Healthcheck` of the image's configuration in docker's format; what cannot be understood of it
/// counts as not said.
pub fn effective(request: &HealthRequest, image: Option<&serde_json::Value>) -> Option<HealthCheck> {
    if request.disabled {
        return None;
    }
    let of_image = |key: &str| image.and_then(|image| image.get(key));
    let words = of_image("Test").and_then(|test| serde_json::from_value::<Vec<String>>(test.clone()).ok());
    let command = request.command.clone().or_else(|| words.as_deref().and_then(program))?;
    // Nanoseconds in the image; 0 stands for "not said".
    let time = |key: &str| of_image(key).and_then(serde_json::Value::as_u64).map(|nanos| nanos / 1_000_000);
    let time = |key: &str| time(key).filter(|milliseconds| *milliseconds > 0);
    let retries = of_image("Retries").and_then(serde_json::Value::as_u64);
    let retries = retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0);
    Some(HealthCheck {
        command,
        interval: request.interval.or_else(|| time("Interval")).unwrap_or(INTERVAL),
        timeout: request.timeout.or_else(|| time("Timeout")).unwrap_or(TIMEOUT),
        start_period: request.start_period.or_else(|| time("StartPeriod")).unwrap_or(0),
        retries: request.retries.or(retries).unwrap_or(RETRIES),
    })
}

/// Docker's list: `CMD` and the words, or `CMD-SHELL` and a line; any other list is the command itself.
fn program(words: &[String]) -> Option<Vec<String>> {
    match words.split_first() {
        Some((first, rest)) if first == "CMD" => (!rest.is_empty()).then(|| rest.to_vec()),
        Some((first, rest)) if first == "CMD-SHELL" => rest.first().map(|line| shell(line)),
        Some((first, _)) if first == "NONE" => None,
        Some(_) => Some(words.to_vec()),
        None => None,
    }
}

fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(ToOwned::to_owned).to_vec()
}
