//! `--security-opt`, gathered into one [`Security`].

use crate::model::container::{Seccomp, Security};

use super::{InvalidFlag, has_control};

const FLAG: &str = "--security-opt";

/// Adds one option: `no-new-privileges`, `seccomp=default|unconfined|FILE`,
/// `apparmor=PROFILE`, `label=…`, `mask=PATH[:PATH]`, `unmask=ALL|PATH[:PATH]`,
/// `systempaths=unconfined`. `read` gives the text of a seccomp profile.
///
/// # Errors
/// If the option is unknown, its value is not valid, or `read` fails.
pub fn apply(
    security: &mut Security,
    text: &str,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Result<(), InvalidFlag> {
    let refuse = |reason: String| InvalidFlag::new(FLAG, text, reason);
    // Docker took "key:value" long before "key=value".
    let (key, value) = match text.split_once(['=', ':']) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    match (key, value) {
        ("no-new-privileges", None | Some("true")) => security.no_new_privileges = true,
        ("no-new-privileges", Some("false")) => security.no_new_privileges = false,
        ("seccomp", Some("default" | "builtin")) => security.seccomp = Seccomp::Default,
        ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
        ("seccomp", Some(file)) if !file.is_empty() => {
            security.seccomp = Seccomp::Profile(read(file).map_err(refuse)?);
        }
        ("apparmor", Some(profile)) if is_profile(profile) => security.apparmor = Some(profile.into()),
        ("label", Some(label)) if !label.is_empty() && !has_control(label) => security.labels.push(label.into()),
        ("mask", Some(paths)) => security.mask.extend(list(paths).map_err(refuse)?),
        ("unmask", Some("ALL" | "all")) | ("systempaths", Some("unconfined")) => security.unmask.push("ALL".into()),
        ("unmask", Some(paths)) => security.unmask.extend(list(paths).map_err(refuse)?),
        _ => {
            return Err(refuse(
                "expected no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask= or systempaths=unconfined"
                    .into(),
            ));
        }
    }
    Ok(())
}

fn is_profile(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !has_control(name) && !name.contains(' ')
}

fn list(paths: &str) -> Result<Vec<String>, String> {
    let one = |path: &str| {
        let clean = path.len() > 1
            && !path.ends_with('/')
            && !path.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
        (path.starts_with('/') && clean && !has_control(path))
            .then(|| path.to_owned())
            .ok_or_else(|| format!("{path:?} is no absolute path without \"..\""))
    };
    paths.split(':').map(one).collect()
}
