//! `--tmpfs path[:options]`.

use crate::model::container::{Mount, MountSource};

use super::options::{Kind, Options, refuse};
use super::{InvalidFlag, target};

/// Reads `/run`, `/tmp:size=64m,mode=1777,exec`.
///
/// # Errors
/// If the path is relative or reserved, or an option is unknown.
pub fn parse(text: &str) -> Result<Mount, InvalidFlag> {
    let refuse = refuse("--tmpfs", text);
    let (path, words) = text.split_once(':').unwrap_or((text, ""));
    let target = target::parse("--tmpfs", path)?;
    let mut options = Options::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        options.take(Kind::Tmpfs, word).map_err(&refuse)?;
    }
    let read_only = options.read_only.unwrap_or(false);
    Ok(Mount { source: MountSource::Tmpfs, target, read_only, options: options.words })
}
