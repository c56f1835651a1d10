//! `--device host[:container[:permissions]]`.

use crate::model::container::Device;

use super::{InvalidFlag, has_control};

const FLAG: &str = "--device";

/// Reads `/dev/fuse`, `/dev/sda:/dev/xvda`, `/dev/null:rw`, `/dev/a:/dev/b:r`.
///
/// # Errors
/// If a path is not absolute or climbs, or a permission is not of `rwm`.
pub fn parse(text: &str) -> Result<Device, InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new(FLAG, text, reason);
    let is_mode = |word: &str| !word.is_empty() && word.bytes().all(|b| b"rwm".contains(&b));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, container] => (*host, *container, "rwm"),
        [host, container, mode] => (*host, *container, *mode),
        _ => return Err(refuse("expected host[:container[:permissions]], as in /dev/fuse:/dev/fuse:rw")),
    };
    if !is_mode(permissions) || permissions.len() > 3 {
        return Err(refuse("permissions are some of the letters r, w and m"));
    }
    for path in [host, container] {
        let climbs = path.split('/').any(|part| part == "..");
        if !path.starts_with('/') || path.len() < 2 || climbs || has_control(path) || path.ends_with('/') {
            return Err(refuse("paths have to be absolute and without \"..\""));
        }
    }
    if super::target::is_reserved(container) {
        return Err(refuse("/proc, /sys and /dev are reserved"));
    }
    Ok(Device { host: host.into(), container: container.into(), permissions: permissions.into() })
}
