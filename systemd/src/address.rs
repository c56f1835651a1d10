//! Where a bus is.
//!
//! The environment is no witness: su(1), sudo(8) and cron(8) hand on the variables of another user, or none. The user's
//! own socket, found by uid, is the one that systemd's manager of that user listens on, so it goes first.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The addresses at which the manager of the user `uid` may be reached, the likeliest first; for root, that of the
/// system. `told` is what the environment says.
pub fn addresses(uid: u32, told: Option<&str>) -> Vec<String> {
    if uid == 0 {
        return vec!["unix:path=/run/dbus/system_bus_socket".to_owned()];
    }
    let own = format!("/run/user/{uid}/bus");
    candidates(uid, told, is_socket_of(Path::new(&own), uid))
}

fn candidates(uid: u32, told: Option<&str>, is_there: bool) -> Vec<String> {
    let own = format!("unix:path=/run/user/{uid}/bus");
    // A list of several is as good as its first: the others are for buses that are elsewhere.
    let told = told.and_then(|told| told.split(';').next()).filter(|told| !told.is_empty());
    let foreign = |address: &str| {
        let owner = address.split_once("/run/user/").and_then(|(_, rest)| rest.split('/').next());
        owner.is_some_and(|owner| owner != uid.to_string())
    };
    let told = told.filter(|told| !foreign(told) && told.split(',').next() != Some(own.as_str()));
    is_there.then_some(own).into_iter().chain(told.map(str::to_owned)).collect()
}

fn is_socket_of(path: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket() && data.uid() == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_bus_goes_before_what_the_environment_says() {
        let own = "unix:path=/run/user/1000/bus";
        let cases: [(Option<&str>, bool, &[&str]); 8] = [
            (None, true, &[own]),
            (None, false, &[]),
            (Some(own), true, &[own]),
            (Some("unix:path=/run/user/1000/bus,guid=12ab"), true, &[own]),
            (Some("unix:abstract=/tmp/dbus-x"), true, &[own, "unix:abstract=/tmp/dbus-x"]),
            (Some("unix:path=/tmp/one;unix:path=/tmp/two"), false, &["unix:path=/tmp/one"]),
            // What su and sudo leave behind.
            (Some("unix:path=/run/user/0/bus"), true, &[own]),
            (Some("unix:path=/run/user/10001/bus"), false, &[]),
        ];
        for (told, is_there, expected) in cases {
            assert_eq!(candidates(1000, told, is_there), expected, "{told:?} {is_there}");
        }
    }

    #[test]
    fn root_has_the_bus_of_the_system() {
        assert_eq!(addresses(0, Some("unix:path=/run/user/1000/bus")), ["unix:path=/run/dbus/system_bus_socket"]);
    }

    #[test]
    fn a_socket_of_somebody_else_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bus");
        assert!(!is_socket_of(&path, 0));
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let uid = std::fs::metadata(&path).expect("metadata").uid();
        assert!(is_socket_of(&path, uid));
        assert!(!is_socket_of(&path, uid + 1));
    }
}
