//! The last look at a composed document, before it is written.
//!
//! Every value has been checked where it came in; this asks whether the whole
//! holds together, so that a mistake of ours ends here and not in a mount.

use std::path::{Component, Path};

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Mount, Process, Spec};

use super::error::{SpecError, wrong};

/// Most mounts of one container.
const MOST_MOUNTS: usize = 1024;
/// Most bytes of arguments and environment together; execve(2) allows 6 MiB at most.
const MOST_STRINGS: usize = 4 << 20;

/// Checks that paths are absolute and plain, that no string holds NUL, that ids are
/// mapped and that numbers are within limits.
///
/// # Errors
/// With the first thing that does not hold.
pub fn check(spec: &Spec) -> Result<(), SpecError> {
    let process = spec.process().as_ref().ok_or_else(|| wrong("it has no process"))?;
    let linux = spec.linux().as_ref().ok_or_else(|| wrong("it has no linux section"))?;
    check_process(process)?;
    check_ids(process, linux)?;
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    if mounts.len() > MOST_MOUNTS {
        return Err(wrong("it has more than 1024 mounts"));
    }
    mounts.iter().try_for_each(check_mount)?;
    for path in [linux.masked_paths(), linux.readonly_paths()].into_iter().flatten().flatten() {
        plain("masked path", Path::new(path))?;
    }
    for (key, value) in spec.annotations().iter().flatten() {
        if !key.starts_with("dev.pybox.") || value.contains('\0') {
            return Err(wrong(format!("the annotation {key:?} is not ours")));
        }
    }
    match spec.hostname() {
        Some(name) if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c == '/') => {
            Err(wrong(format!("the host name {name:?} is not valid")))
        }
        _ => Ok(()),
    }
}

fn check_process(process: &Process) -> Result<(), SpecError> {
    let args = process.args().as_deref().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    let strings = || args.iter().chain(env);
    if strings().any(|text| text.contains('\0')) {
        return Err(wrong("an argument or variable holds a NUL byte"));
    }
    if strings().map(|text| text.len() + 1).sum::<usize>() > MOST_STRINGS {
        return Err(wrong("arguments and environment are larger than 4 MiB"));
    }
    if !process.cwd().is_absolute() {
        return Err(wrong("the working directory is not absolute"));
    }
    let rlimits = process.rlimits().as_deref().unwrap_or_default();
    if rlimits.iter().any(|limit| limit.soft() > limit.hard()) {
        return Err(wrong("a soft limit is above its hard limit"));
    }
    Ok(())
}

fn check_ids(process: &Process, linux: &Linux) -> Result<(), SpecError> {
    let own = linux.namespaces().iter().flatten().any(|namespace| namespace.typ() == LinuxNamespaceType::User);
    let user = process.user();
    let (uids, gids) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
    if !own {
        return if uids.or(gids).is_none() { Ok(()) } else { Err(wrong("it maps ids without a user namespace")) };
    }
    let maps = |mappings: Option<&[LinuxIdMapping]>, id: u32| {
        mappings
            .unwrap_or_default()
            .iter()
            .any(|line| id.checked_sub(line.container_id()).is_some_and(|offset| offset < line.size()))
    };
    let one = |mappings: Option<&[LinuxIdMapping]>| matches!(mappings, Some([line]) if line.size() == 1);
    if one(uids) && one(gids) && maps(uids, 0) && maps(gids, 0) {
        // Root is real, all others are pretended.
        return Ok(());
    }
    let groups = user.additional_gids().iter().flatten().chain([&0]);
    if !maps(uids, user.uid()) || !maps(gids, user.gid()) || !maps(uids, 0) || !groups.copied().all(|id| maps(gids, id))
    {
        return Err(wrong("an id that the container needs is not mapped"));
    }
    Ok(())
}

fn check_mount(mount: &Mount) -> Result<(), SpecError> {
    plain("mount target", mount.destination())?;
    let options = mount.options().as_deref().unwrap_or_default();
    let odd = |option: &String| option.is_empty() || option.chars().any(|c| c.is_control() || c == ',');
    if options.iter().any(odd) {
        return Err(wrong(format!("a mount option of {} is not plain", mount.destination().display())));
    }
    if options.iter().any(|option| option == "bind" || option == "rbind") {
        plain("mount source", mount.source().as_deref().unwrap_or(Path::new("")))?;
    }
    Ok(())
}

fn plain(what: &'static str, path: &Path) -> Result<(), SpecError> {
    let text = path.to_string_lossy();
    let refuse =
        |reason: &str| Err(SpecError::Path { what, path: text.chars().take(200).collect(), reason: reason.into() });
    if !path.is_absolute() {
        return refuse("it is not absolute");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return refuse("it holds \"..\"");
    }
    if text.len() > 4095 || text.chars().any(char::is_control) {
        return refuse("it is too long or holds control characters");
    }
    Ok(())
}
