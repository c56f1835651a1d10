//! The process of an `exec`: what `spec` makes of the bundle and the wishes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Process;
use serde::Deserialize;

use crate::engine::api::{Event, Exec, Failure, FailureKind};
use crate::engine::containers::attach;
use crate::engine::containers::create::account_file;
use crate::engine::host;
use crate::launch::plan::ROOTFS_ANNOTATION;
use crate::model::host::{IdMap, IdRange};
use crate::snapshot::recipe::Recipe;
use crate::spec::exec::{self, Home, NewUser, Wishes};
use crate::spec::user::{self, AccountFiles, ResolvedUser};
use crate::store::Store;
use crate::store::bundle::{Bundle, BundleFile};
use crate::store::containers::Container;
use crate::store::image::CONFIG_LIMIT;

/// What of `config.json` counts here: the rest, a system call profile most of all, is passed over.
#[derive(Debug, Deserialize)]
struct Made {
    process: Process,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    inside: u32,
    #[serde(rename = "hostID")]
    outside: u32,
    size: u32,
}

impl Linux {
    /// The map of the user namespace; none if the container has none of its own.
    fn map(&self) -> Option<IdMap> {
        let ranges = |lines: &[Mapping]| {
            lines.iter().map(|line| IdRange { inside: line.inside, outside: line.outside, count: line.size }).collect()
        };
        let map = IdMap { uids: ranges(&self.uid_mappings), gids: ranges(&self.gid_mappings) };
        (!map.uids.is_empty()).then_some(map)
    }
}

/// Composes the process.
///
/// # Errors
/// If the bundle is damaged, there is no such user, or a wish cannot be.
pub(super) fn compose(
    store: &Store,
    (container, bundle): (&Container, &Bundle),
    exec: &Exec,
    events: &mut dyn FnMut(Event),
) -> Result<Process, Failure> {
    let made = read(container, bundle)?;
    let user = exec.user.as_deref().map(|user| resolve(&made, container, user)).transpose()?;
    let home = match &user {
        Some(_) if has_chosen_home(store, container)? => Home::Chosen,
        _ => Home::OfUser,
    };
    let map = made.linux.map();
    let here = exec::Container { process: &made.process, request: &container.request, map: map.as_ref() };
    let wishes = Wishes {
        command: &exec.command,
        env: &exec.env,
        workdir: exec.workdir.as_deref(),
        user: user.as_ref().map(|user| NewUser { user, home }),
        privileged: exec.privileged.then(host::kernel),
        terminal: exec.tty.then(attach::terminal_size),
    };
    let (process, warning) = exec::compose(&here, &wishes)?;
    warning.into_iter().for_each(|warning| events(Event::Warning(warning)));
    Ok(process)
}

fn read(container: &Container, bundle: &Bundle) -> Result<Made, Failure> {
    let path = bundle.file(BundleFile::Config);
    let damaged = |error: String| {
        Failure::say(FailureKind::Corrupt, format!("read {}: {error}", path.display()))
            .hint(format!("remove the container and create it again: pybox rm -f {}", container.name))
    };
    let text = std::fs::read(&path).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

/// Who `-u` means, by the account files that the container has now.
fn resolve(made: &Made, container: &Container, user: &str) -> Result<ResolvedUser, Failure> {
    let recipe = made.annotations.get(ROOTFS_ANNOTATION).map(|text| serde_json::from_str::<Recipe>(text));
    let layers: Vec<PathBuf> = match recipe {
        Some(Ok(Recipe::Overlay { lower, upper, .. })) => [upper].into_iter().chain(lower).collect(),
        Some(Ok(Recipe::Bind { path })) => vec![path],
        Some(Err(_)) | None => Vec::new(),
    };
    let (passwd, group) = (account_file(&layers, "etc/passwd")?, account_file(&layers, "etc/group")?);
    let files = AccountFiles { passwd: &passwd, group: &group };
    Ok(user::resolve(user, files, &container.request.groups)?)
}

/// Whether the container's request or its image says where home is, whoever it is.
fn has_chosen_home(store: &Store, container: &Container) -> Result<bool, Failure> {
    if container.request.env.iter().any(|(name, _)| name == "HOME") {
        return Ok(true);
    }
    let text = store.read_blob(&container.image, CONFIG_LIMIT)?;
    let Ok(image) = serde_json::from_slice::<ImageConfiguration>(&text) else { return Ok(false) };
    let env = image.config().as_ref().and_then(|config| config.env().as_ref());
    Ok(env.into_iter().flatten().any(|entry| entry.starts_with("HOME=")))
}
