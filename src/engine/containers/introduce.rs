//! The user's own name inside: under `--userns=keep-id` the program is a user whom the image does not know.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::changes::open_upper;
use super::copy::{finish, pipe};
use super::create::account_file;
use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind};
use crate::engine::host;
use crate::model::container::{ContainerRequest, UserNamespace};
use crate::model::host::{HostFacts, IdMap};
use crate::snapshot::pack;
use crate::snapshot::worker::view::{Owners, Stage, Task};
use crate::spec::user::{self, AccountFiles};
use crate::store::Store;
use crate::store::bundle::Bundle;
use crate::store::image::Image;

impl Engine {
    /// Adds the user to `/etc/passwd` and `/etc/group` of a new container, where the user keeps the own id and the image
    /// has nobody of it. The name is asked for here, in the host's name services, and not inside.
    ///
    /// # Errors
    /// If the container's files cannot be written.
    pub(super) fn introduce(
        &self,
        store: &Store,
        bundle: &Bundle,
        (request, facts): (&ContainerRequest, &HostFacts),
        image: &Image,
    ) -> Result<(), Failure> {
        let UserNamespace::KeepId { uid, gid } = &request.userns else { return Ok(()) };
        let (uid, gid) = (uid.unwrap_or(facts.uid), gid.unwrap_or(facts.gid));
        let layers = store.layer_dirs(image)?;
        let (passwd, group) = (account_file(&layers, "etc/passwd")?, account_file(&layers, "etc/group")?);
        // An image without these files looks nobody up in them.
        if passwd.is_empty() || knows(&passwd, &group, uid) {
            return Ok(());
        }
        let Some(name) = host::user_name(facts.uid).filter(|name| is_free(name, &passwd)) else { return Ok(()) };
        let passwd = line(&passwd, &format!("{name}:x:{uid}:{gid}::/:/bin/sh"));
        let has_group = group.lines().any(|line| line.split(':').nth(2) == Some(gid.to_string().as_str()));
        let group = (!has_group && is_free(&name, &group)).then(|| line(&group, &format!("{name}:x:{gid}:")));
        self.write_accounts(bundle, facts, &passwd, group.as_deref())
    }

    /// As root of the container, whose these files are.
    fn write_accounts(
        &self,
        bundle: &Bundle,
        facts: &HostFacts,
        passwd: &str,
        group: Option<&str>,
    ) -> Result<(), Failure> {
        let staged = bundle.path().join("accounts");
        let failed = |error: std::io::Error| {
            Failure::say(FailureKind::Store, format!("write the container's account files: {error}"))
        };
        stage(&staged, passwd, group).map_err(failed)?;
        let (upper, (reader, writer)) = (open_upper(&bundle.upper())?, pipe()?);
        let task = Task::Extract { path: "/".into(), owners: Owners::Archive, root: false };
        let worker = self.worker_for(facts);
        let worker = worker.view(Stage::Directory, task, &[upper.as_fd(), reader.as_fd()])?;
        drop(reader);
        let packed = pack::pack(&staged, Some(&IdMap::of_one(facts.uid, facts.gid)), fs::File::from(writer));
        let done = finish(packed.map(drop), worker);
        fs::remove_dir_all(&staged).map_err(failed)?;
        done
    }
}

fn stage(place: &Path, passwd: &str, group: Option<&str>) -> std::io::Result<()> {
    let etc = place.join("etc");
    fs::create_dir_all(&etc)?;
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o755))?;
    for (name, text) in [("passwd", Some(passwd)), ("group", group)] {
        if let Some(text) = text {
            fs::write(etc.join(name), text)?;
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

fn knows(passwd: &str, group: &str, uid: u32) -> bool {
    // What cannot be read is not to be added to.
    user::resolve(&uid.to_string(), AccountFiles { passwd, group }, &[]).is_ok_and(|user| user.name.is_some())
}

/// Whether it is a name, and nobody's yet.
fn is_free(name: &str, accounts: &str) -> bool {
    let plain = !name.is_empty() && !name.contains([':', '/']) && !name.chars().any(char::is_control);
    plain && !accounts.lines().any(|line| line.split(':').next() == Some(name))
}

fn line(text: &str, new: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{new}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_added() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:5:5::/:/bin/sh";
        for (name, free) in
            [("bob", true), ("ann", false), ("root", false), ("a:b", false), ("", false), ("a\nb", false)]
        {
            assert_eq!(is_free(name, passwd), free, "{name:?}");
        }
        assert!(knows(passwd, "", 5) && !knows(passwd, "", 6));
        assert_eq!(line("a", "b"), "a\nb\n");
        assert_eq!(line("", "b"), "b\n");
    }
}
