//! The user's id ranges, and the map of a container made of them.
//!
//! The files come first, because reading them is cheap. Users and ranges that
//! live elsewhere (LDAP, SSSD) are asked for by `getent` and `getsubids`: our
//! own program is static and loads no NSS modules.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{getegid, geteuid, getuid};

use super::failure::{HostError, Lacking, install_helpers};
use crate::model::container::UserNamespace;
use crate::model::host::{IdMap, IdRange};
use crate::model::subid::{self, Line, Subids};
use crate::sys::idmap::{self, Helpers};

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// The map of a container's user namespace; none if root runs it in our own. Who may map no
/// other ids than the own ones gets those, as root ([`one_id`] says why).
///
/// # Errors
/// If there are ranges that cannot be mapped, or the files with them cannot be read.
pub fn id_map(wanted: &UserNamespace) -> Result<Option<IdMap>, HostError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid == 0 {
        // Root's containers share its ids, as docker's do.
        return Ok(None);
    }
    let (inside_uid, inside_gid) = match wanted {
        UserNamespace::Default => (0, 0),
        UserNamespace::KeepId { uid: inside_uid, gid: inside_gid } => {
            (inside_uid.unwrap_or(uid), inside_gid.unwrap_or(gid))
        }
        UserNamespace::Host => return Err(HostError::NeedsRoot),
    };
    let own = match mappable() {
        Ok(ranges) => ranges,
        Err(lacking) if lacking.leaves_one_id() => return Ok(Some(IdMap::of_one(uid, gid))),
        Err(other) => return Err(other),
    };
    Ok(Some(IdMap { uids: subid::map(inside_uid, uid, &own.uids), gids: subid::map(inside_gid, gid, &own.gids) }))
}

/// What keeps the user from mapping more ids than one, where something does.
pub fn one_id() -> Option<HostError> {
    if geteuid().is_root() {
        return None;
    }
    mappable().err().filter(HostError::leaves_one_id)
}

/// The user's ranges, and programs that can map them.
pub(super) fn mappable() -> Result<Ranges, HostError> {
    if Helpers::find().is_none() {
        return Err(HostError::NoHelpers { install: install_helpers(&super::read_small("/etc/os-release")) });
    }
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return Err(HostError::NoNewPrivileges);
    }
    own_ranges()
}

/// The map of the namespace we are in, every id being itself: what root's
/// containers get. Inside another container it has fewer ids than there are.
pub(super) fn own_map() -> Result<IdMap, HostError> {
    Ok(IdMap { uids: identity("/proc/self/uid_map")?, gids: identity("/proc/self/gid_map")? })
}

fn identity(path: &str) -> Result<Vec<IdRange>, HostError> {
    let read = |error| HostError::Read(path.into(), error);
    let lines = idmap::parse(&fs::read_to_string(path).map_err(read)?);
    let lines = lines.ok_or_else(|| read(io::ErrorKind::InvalidData.into()))?;
    Ok(lines.into_iter().map(|(inside, _, count)| IdRange { inside, outside: inside, count }).collect())
}

/// What the user may map.
#[derive(Debug)]
pub(super) struct Ranges {
    pub(super) uids: Vec<Subids>,
    pub(super) gids: Vec<Subids>,
    /// Others whose ranges overlap with the user's.
    pub(super) shared_with: Vec<String>,
}

/// Looks up the ranges of the user who runs us.
fn own_ranges() -> Result<Ranges, HostError> {
    let uid = getuid().as_raw();
    let name = user_name(uid);
    let name = name.as_deref();
    let (uid_lines, gid_lines) = (read_lines(SUBUID)?, read_lines(SUBGID)?);
    let elsewhere = asks_elsewhere(&super::read_small("/etc/nsswitch.conf"));
    let find = |lines: &[Line], option: &[&str]| {
        let owned = if elsewhere { Vec::new() } else { subid::owned_by(lines, name, uid) };
        // Without a name service for ranges the program would only read the same file again.
        if owned.is_empty() && elsewhere { ask_getsubids(option, name, uid) } else { owned }
    };
    let uids = find(&uid_lines, &[]);
    let gids = find(&gid_lines, &["-g"]);
    let user = name.map_or_else(|| uid.to_string(), ToOwned::to_owned);
    let lacking = match (uids.is_empty(), gids.is_empty()) {
        (true, true) => Some(Lacking::Both),
        (true, false) => Some(Lacking::Uids),
        (false, true) => Some(Lacking::Gids),
        (false, false) => None,
    };
    if let Some(what) = lacking {
        if name.is_none() {
            return Err(HostError::NoAccount(uid));
        }
        let taken: Vec<Line> = uid_lines.into_iter().chain(gid_lines).collect();
        return Err(HostError::NoSubids { user, what, free: subid::first_free(&taken) });
    }
    let bad = |file| {
        let user = user.clone();
        move |source| HostError::BadSubids { user, file, source }
    };
    subid::check(uid, &uids).map_err(bad(SUBUID))?;
    subid::check(getegid().as_raw(), &gids).map_err(bad(SUBGID))?;
    let shared_with = subid::shared_with(&uid_lines, &uids, name, uid).into_iter().map(ToOwned::to_owned).collect();
    Ok(Ranges { uids, gids, shared_with })
}

/// A missing file is an empty one: there are no ranges in it either way.
fn read_lines(path: &'static str) -> Result<Vec<Line>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(subid::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(HostError::Read(path.into(), error)),
    }
}

/// Whether nsswitch.conf(5) names another source of ranges than the files.
fn asks_elsewhere(nsswitch: &str) -> bool {
    let sources = nsswitch.lines().find_map(|line| line.trim().strip_prefix("subid:"));
    sources.is_some_and(|sources| sources.split_whitespace().any(|source| source != "files"))
}

fn ask_getsubids(option: &[&str], name: Option<&str>, uid: u32) -> Vec<Subids> {
    let user = name.map_or_else(|| uid.to_string(), ToOwned::to_owned);
    let arguments: Vec<&str> = option.iter().copied().chain([user.as_str()]).collect();
    ask("getsubids", &arguments).map(|text| subid::parse_getsubids(&text)).unwrap_or_default()
}

/// The login name of `uid`, if it has one.
pub fn user_name(uid: u32) -> Option<String> {
    passwd_field(uid, 0)
}

/// The home directory of `uid`, if it has an absolute one.
pub fn home_directory(uid: u32) -> Option<PathBuf> {
    passwd_field(uid, 5).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn passwd_field(uid: u32, field: usize) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find_field(&passwd, uid, field).or_else(|| find_field(&ask("getent", &["passwd", &uid.to_string()])?, uid, field))
}

fn find_field(passwd: &str, uid: u32, field: usize) -> Option<String> {
    let matches = |line: &&str| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid);
    let text = passwd.lines().find(matches)?.split(':').nth(field)?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// What a program of the system prints; none if it is missing or finds nothing.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/run/current-system/sw/bin"];
    let path: PathBuf = dirs.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists())?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_id() {
        let passwd = "root:x:0:0::/root:/bin/sh\n+nis\nann:x:1000:1000::/home/ann:/bin/sh\nalias:x:1000:1::/:/\n";
        assert_eq!(find_field(passwd, 1000, 0).as_deref(), Some("ann"));
        assert_eq!(find_field(passwd, 0, 0).as_deref(), Some("root"));
        assert_eq!(find_field(passwd, 7, 0), None);
        assert_eq!(find_field(passwd, 1000, 5).as_deref(), Some("/home/ann"));
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(home_directory(4_123_456_789), None);
        assert_eq!(user_name(4_123_456_789), None);
    }

    #[test]
    fn nsswitch_says_where_ranges_come_from() {
        for (text, elsewhere) in [
            ("passwd: files\n", false),
            ("subid: files\n", false),
            ("passwd: files\n subid:  sss\n", true),
            ("# subid: sss\n", false),
            ("subid: files sss\n", true),
        ] {
            assert_eq!(asks_elsewhere(text), elsewhere, "{text:?}");
        }
    }

    #[test]
    fn root_keeps_its_ids() {
        let map = own_map().expect("our own map");
        assert!(IdMap::maps(&map.uids, geteuid().as_raw()));
        assert!(map.uids.iter().all(|line| line.inside == line.outside));
    }
}
