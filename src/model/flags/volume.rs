//! `-v [source:]target[:options]`.

use std::path::{Component, Path, PathBuf};

use crate::model::container::{Mount, MountSource};

use super::options::{Kind, Options, refuse};
use super::{InvalidFlag, has_control, target};

const FLAG: &str = "--volume";

/// Reads a volume: `/host/dir:/data:ro`, `./here:/data`, `name:/data`, `/data`.
///
/// A source that starts with `/`, `.` or `~/` is a path of the host (`~` is left
/// to the shell, so `~/` is refused); anything else names a volume. A relative
/// path is taken from `cwd`, which is absolute.
///
/// # Errors
/// If a part is missing, the target is reserved, or a name or option is not valid.
pub fn parse(text: &str, cwd: &Path) -> Result<Mount, InvalidFlag> {
    let refuse = refuse(FLAG, text);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, words) = match parts.as_slice() {
        [path] => (None, *path, ""),
        [source, path] => (Some(*source), *path, ""),
        [source, path, words] => (Some(*source), *path, *words),
        _ => return Err(refuse("expected [source:]target[:options]".into())),
    };
    let target = target::parse(FLAG, path)?;
    let source = match source {
        None => MountSource::AnonymousVolume,
        Some(source) if is_path(source) => {
            MountSource::Bind { path: host_path(source, cwd).map_err(&refuse)?, create: true }
        }
        Some(name) => MountSource::Volume(volume_name(name).map_err(&refuse)?),
    };
    let kind = if matches!(source, MountSource::Bind { .. }) { Kind::Bind } else { Kind::Volume };
    let mut options = Options::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        options.take(kind, word).map_err(&refuse)?;
    }
    let read_only = options.read_only.unwrap_or(false);
    Ok(Mount { source, target, read_only, options: options.words })
}

fn is_path(source: &str) -> bool {
    source.starts_with(['/', '~'])
        || source == "."
        || source == ".."
        || source.starts_with("./")
        || source.starts_with("../")
}

/// An absolute path of the host without `.`; `..` climbs by name, as a shell's `cd` does.
pub(super) fn host_path(source: &str, cwd: &Path) -> Result<String, String> {
    if source.starts_with('~') {
        return Err("the shell did not expand \"~\"; write the whole path, or $HOME".into());
    }
    if has_control(source) {
        return Err("the source holds control characters".into());
    }
    let mut path = PathBuf::from("/");
    for part in cwd.join(source).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.into_os_string().into_string().map_err(|_| "the working directory is not UTF-8; give an absolute path".into())
}

/// A volume's name: as a container's name.
pub(super) fn volume_name(name: &str) -> Result<String, String> {
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.len() <= 128 && name.bytes().all(tail) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is neither an absolute path, a path that starts with ./, nor a volume's name"))
}
