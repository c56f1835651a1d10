//! Places in a container where something may be mounted.

use super::{InvalidFlag, has_control};

/// Checks the target of a mount and brings it into its one written form:
/// absolute, no `.`, no `..`, no doubled or trailing slash.
///
/// `/`, `/proc`, `/sys`, `/dev` and what is below `/proc`, `/sys` and `/dev/pts`
/// belong to the runtime: a mount there could stand in for what is masked.
/// Other places below `/dev`, such as `/dev/shm`, stay possible.
///
/// # Errors
/// If the target is relative, climbs, is reserved or holds control characters.
pub fn parse(flag: &'static str, text: &str) -> Result<String, InvalidFlag> {
    let refuse = |reason: &str| Err(InvalidFlag::new(flag, text, reason));
    if !text.starts_with('/') {
        return refuse("the path in the container has to be absolute");
    }
    if has_control(text) || text.len() > 4095 {
        return refuse("the path in the container is too long or holds control characters");
    }
    let mut path = String::with_capacity(text.len());
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return refuse("the path in the container must not hold \"..\""),
            part if part.len() > 255 => return refuse("a name in the path is longer than 255 bytes"),
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    if path.is_empty() {
        return refuse("the root of the container cannot be mounted over");
    }
    if is_reserved(&path) {
        return refuse("/proc, /sys and /dev are reserved");
    }
    Ok(path)
}

/// Whether a clean absolute path is one that only the runtime mounts.
pub fn is_reserved(path: &str) -> bool {
    let within = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path == "/" || path == "/dev" || within("/proc") || within("/sys") || within("/dev/pts")
}
