//! A word about containers that are to run on: with the last session of a user systemd ends the user's manager,
//! and what it has started, unless the user lingers (loginctl(1)).

use std::path::Path;

use super::session::with_environment;
use crate::engine::host;

/// Beside other files of the session; gone with it.
const MARK: &str = "pybox-linger-told";

/// Warns, once in a session, if the container that was just started will not outlive it.
pub(crate) fn warn() {
    let uid = rustix::process::geteuid();
    // Only where systemd is the first process is there anything to linger with.
    if uid.is_root() || !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if is_of_a_service(&cgroup) || !Path::new("/var/lib/systemd").is_dir() {
        return;
    }
    let Some(user) = host::user_name(uid.as_raw()) else { return };
    if Path::new("/var/lib/systemd/linger").join(&user).exists() {
        return;
    }
    let Some(runtime) = with_environment(|environment| environment.runtime_dir()) else { return };
    // Whoever makes the mark is the one who speaks.
    if std::fs::File::create_new(runtime.join(MARK)).is_ok() {
        tracing::warn!(
            "containers end when user {user} logs out, and are not started at boot: loginctl enable-linger lets them run on"
        );
    }
}

/// Whether systemd runs us as a part of a service, by `/proc/self/cgroup`: then the unit says how long we live.
fn is_of_a_service(cgroup: &str) -> bool {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let mut units = path.split('/').filter(|name| name.ends_with(".service") || name.ends_with(".scope"));
    // The manager of a user is a service itself, and everything of the user is below it.
    units.next_back().is_some_and(|unit| unit.ends_with(".service") && !unit.starts_with("user@"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_from_sessions() {
        for (cgroup, of_a_service) in [
            ("0::/user.slice/user-1000.slice/session-2.scope\n", false),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n", true),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n", false),
            ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", false),
            ("0::/user.slice/user-1000.slice/user@1000.service\n", false),
            ("0::/system.slice/ci.service/payload\n", true),
            ("1:name=systemd:/system.slice/ci.service\n0::/\n", false),
            ("", false),
        ] {
            assert_eq!(is_of_a_service(cgroup), of_a_service, "{cgroup}");
        }
    }
}
