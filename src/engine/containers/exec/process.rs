//! The process of an `exec`: what `spec` makes of the bundle and the wishes.

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Process;

use crate::engine::api::{Event, Exec, Failure};
use crate::engine::containers::attach;
use crate::engine::containers::create::account_file;
use crate::engine::containers::made::Made;
use crate::engine::host;
use crate::spec::exec::{self, Home, NewUser, Wishes};
use crate::spec::user::{self, AccountFiles, ResolvedUser};
use crate::store::Store;
use crate::store::bundle::Bundle;
use crate::store::containers::Container;
use crate::store::image::CONFIG_LIMIT;

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
    let made = Made::read(container, bundle)?;
    let user = exec.user.as_deref().map(|user| resolve(&made, container, user)).transpose()?;
    let home = match &user {
        Some(_) if has_chosen_home(store, container)? => Home::Chosen,
        _ => Home::OfUser,
    };
    let map = made.map();
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

/// Who `-u` means, by the account files that the container has now.
fn resolve(made: &Made, container: &Container, user: &str) -> Result<ResolvedUser, Failure> {
    let layers = made.layers();
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
