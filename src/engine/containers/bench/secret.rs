//! What a command of a build is given and no disk is to have.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use crate::engine::api::{Failure, FailureKind};
use crate::monitor::protocol::{Private, PrivatePlace};

/// A secret for one command.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Secret<'s> {
    /// Where the command finds it.
    pub(in crate::engine) place: PrivatePlace,
    /// What it is.
    pub(in crate::engine) value: &'s [u8],
}

/// The bytes of all in memory that a monitor reads, and what they are in its words; none if there are none.
///
/// # Errors
/// What memfd_create(2) and write(2) say.
pub(super) fn memory(secrets: &[Secret<'_>], told: &mut Vec<Private>) -> Result<Option<OwnedFd>, Failure> {
    if secrets.is_empty() {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Failure::say(FailureKind::Host, format!("keep secrets in memory: {error}"));
    let mut file = rustix::fs::memfd_create(c"private", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|error| failed(error.into()))?;
    for secret in secrets {
        file.write_all(secret.value).map_err(failed)?;
        let length = secret.value.len() as u64;
        told.push(Private { place: secret.place.clone(), length, bytes: Vec::new() });
    }
    Ok(Some(file.into()))
}
