//! The system call filter of a container, compiled once and kept.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};

use crate::engine::api::{Event, Failure, FailureKind};
use crate::spec::seccomp::cache_key;
use crate::store::Store;
use crate::sys::seccomp;

/// The compiled filter of `spec`, open for reading; none where it has none.
///
/// # Errors
/// If it cannot be compiled, or not be kept.
pub(super) fn compiled(store: &Store, spec: &Spec, events: &mut dyn FnMut(Event)) -> Result<Option<OwnedFd>, Failure> {
    let Some(rules) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return Ok(None);
    };
    let directory = store.layout().cache().join("seccomp");
    let path = directory.join(format!("{}.bpf", cache_key(rules, &seccomp::compiler())));
    let open = || rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    if let Ok(kept) = open() {
        return Ok(Some(kept));
    }
    let compiled = seccomp::compile(rules)?;
    if !compiled.unknown.is_empty() {
        events(Event::Warning(format!(
            "the seccomp profile names unknown system calls: {}",
            compiled.unknown.join(", ")
        )));
    }
    let keep = |error: std::io::Error| Failure::say(FailureKind::Store, format!("write {}: {error}", path.display()));
    std::fs::create_dir_all(&directory).map_err(keep)?;
    let temporary = directory.join(format!(".{}", std::process::id()));
    std::fs::write(&temporary, &compiled.program).map_err(keep)?;
    std::fs::rename(&temporary, &path).map_err(keep)?;
    open().map(Some).map_err(|error| keep(error.into()))
}
