//! Who a process in a container is: `user[:group]` and the image's files.
//!
//! One answer for run, exec and build. A number is a number (`model::flags::account`);
//! a name has to be in the image's files, which are read within limits.

use oci_spec::image::ImageConfiguration;

use crate::model::container::ContainerRequest;
use crate::model::flags::account::{Account, UserSpec, parse_group, parse_user};
use crate::model::host::{HostFacts, IdMap};

use super::accounts::{groups, people};
use super::error::SpecError;

/// The text of an image's account files; empty for one that does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountFiles<'a> {
    /// `/etc/passwd`.
    pub passwd: &'a str,
    /// `/etc/group`.
    pub group: &'a str,
}

/// A user of a container, in the container's own ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Groups that the image's files give the user; each one once, the own one first.
    pub groups: Vec<u32>,
    /// Groups of `--group-add`.
    pub asked_groups: Vec<u32>,
    /// Home directory, `/` where the files say nothing.
    pub home: String,
    /// The name, if the files have one.
    pub name: Option<String>,
}

/// Which user a container is for: `--user`, else the image's; empty is root.
pub fn wanted<'a>(request: &'a ContainerRequest, image: &'a ImageConfiguration) -> &'a str {
    let of_image = || image.config().as_ref().and_then(|config| config.user().as_deref());
    request.user.as_deref().or_else(of_image).unwrap_or_default()
}

/// Resolves `spec` (`user[:group]`; empty is root) and the groups of `--group-add`.
///
/// As docker has it: without a group, the user's own of `/etc/passwd` and all in
/// which `/etc/group` lists the name (root too); with one, that group alone. A
/// number that the files do not know has group 0 and home `/`.
///
/// # Errors
/// If the spec cannot be read, a name is in neither file, or a file breaks a limit.
pub fn resolve(spec: &str, files: AccountFiles<'_>, group_add: &[String]) -> Result<ResolvedUser, SpecError> {
    let spec = match spec {
        "" => UserSpec { user: Account::Id(0), group: None },
        text => parse_user(text)?,
    };
    let mut user = person(&spec.user, files)?;
    match &spec.group {
        Some(group) => {
            user.gid = group_id(group, files)?;
            user.groups = vec![user.gid];
        }
        None => {
            user.groups = vec![user.gid];
            let name = user.name.clone().unwrap_or_default();
            for group in groups(files.group)?.filter(|group| !name.is_empty() && group.has(&name)) {
                push_once(&mut user.groups, group.gid);
            }
        }
    }
    for group in group_add {
        let gid = group_id(&parse_group(group)?, files)?;
        push_once(&mut user.asked_groups, gid);
    }
    Ok(user)
}

impl ResolvedUser {
    /// The supplementary groups for a container on this host, and a warning for
    /// those that had to be left out.
    ///
    /// Groups of the image's files are left out where the namespace does not map
    /// them. With a single mapped id everybody can be had: whoever pretends to be
    /// somebody pretends to have groups.
    ///
    /// # Errors
    /// If the user, the group or a group of `--group-add` is not mapped.
    pub fn groups_on(&self, host: &HostFacts) -> Result<(Vec<u32>, Option<String>), SpecError> {
        self.groups_within(host.user_namespace.then_some(&host.id_map))
    }

    /// The same in a user namespace with this map, or in none of its own.
    ///
    /// # Errors
    /// As [`ResolvedUser::groups_on`].
    pub fn groups_within(&self, map: Option<&IdMap>) -> Result<(Vec<u32>, Option<String>), SpecError> {
        let Some(map) = map else {
            return Ok((join(&self.groups, &self.asked_groups), None));
        };
        if map.is_of_one() {
            // All ids but one are a matter of records there, and so are groups.
            return Ok((join(&self.groups, &self.asked_groups), None));
        }
        let (uids, gids) = (&map.uids, &map.gids);
        let mapped = |what, ranges: &[_], id| {
            let unmapped = || SpecError::Unmapped { what, id, highest: IdMap::highest(ranges) };
            IdMap::maps(ranges, id).then_some(()).ok_or_else(unmapped)
        };
        mapped("user id", uids, self.uid)?;
        mapped("group id", gids, self.gid)?;
        for gid in &self.asked_groups {
            mapped("group id", gids, *gid)?;
        }
        let (known, unknown): (Vec<u32>, Vec<u32>) = self.groups.iter().partition(|gid| IdMap::maps(gids, **gid));
        let warning = (!unknown.is_empty())
            .then(|| format!("groups {unknown:?} of the image are not mapped in the user namespace and left out"));
        Ok((join(&known, &self.asked_groups), warning))
    }
}

fn person(account: &Account, files: AccountFiles<'_>) -> Result<ResolvedUser, SpecError> {
    let found = people(files.passwd)?.find(|person| match account {
        Account::Id(id) => person.uid == *id,
        Account::Name(name) => person.name == name,
    });
    match (found, account) {
        (Some(person), _) => Ok(ResolvedUser {
            uid: person.uid,
            gid: person.gid,
            home: home(person.home),
            name: Some(person.name.into()),
            ..ResolvedUser::default()
        }),
        (None, Account::Id(uid)) => Ok(ResolvedUser { uid: *uid, home: "/".into(), ..ResolvedUser::default() }),
        (None, Account::Name(name)) => Err(SpecError::UnknownUser(name.clone())),
    }
}

/// A home that is no plain absolute path is none: it goes into the environment.
fn home(path: &str) -> String {
    let plain = path.starts_with('/') && !path.chars().any(char::is_control);
    if plain { path.into() } else { "/".into() }
}

fn group_id(group: &Account, files: AccountFiles<'_>) -> Result<u32, SpecError> {
    match group {
        Account::Id(id) => Ok(*id),
        Account::Name(name) => {
            let found = groups(files.group)?.find(|group| group.name == name);
            found.map(|group| group.gid).ok_or_else(|| SpecError::UnknownGroup(name.clone()))
        }
    }
}

fn push_once(ids: &mut Vec<u32>, id: u32) {
    if !ids.contains(&id) {
        ids.push(id);
    }
}

fn join(first: &[u32], second: &[u32]) -> Vec<u32> {
    let mut all = first.to_vec();
    second.iter().for_each(|id| push_once(&mut all, *id));
    all
}

#[cfg(test)]
mod tests;
