//! `--restart`.

use super::InvalidFlag;
use crate::model::supervision::RestartPolicy;

/// Reads `no`, `on-failure[:N]`, `always` or `unless-stopped`.
///
/// # Errors
/// For any other word, and for a number that is none or where none belongs.
pub fn parse(text: &str) -> Result<RestartPolicy, InvalidFlag> {
    let refuse = || InvalidFlag::new("--restart", text, "expected no, on-failure[:N], always or unless-stopped");
    let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
    match (word, number) {
        ("no" | "", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure { most: None }),
        ("on-failure", Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            let most: u32 = number.parse().map_err(|_| refuse())?;
            // As docker: 0 is no bound.
            Ok(RestartPolicy::OnFailure { most: (most > 0).then_some(most) })
        }
        _ => Err(refuse()),
    }
}
