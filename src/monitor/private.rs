//! What a program is given and no file of the bundle has: secrets of a build.
//!
//! The engine hands it over in memory, and it stays in ours; the child puts it into memory of the container's own.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use super::error::MonitorError;
use super::incarnation::{LARGEST, whole};
use super::protocol::{Private, PrivatePlace};
use crate::launch::document::Process;
use crate::launch::plan::MemoryFile;

/// Takes the bytes of `all` out of `file`, where they stand one after another.
///
/// # Errors
/// If there are more or fewer, or what reading says.
pub(super) fn take(all: &mut [Private], file: &OwnedFd) -> Result<(), MonitorError> {
    const WHAT: &str = "take what is private";
    let mut bytes = whole(file.as_fd(), LARGEST).map_err(|error| MonitorError::System(WHAT, error))?;
    for one in all {
        let length = usize::try_from(one.length).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(MonitorError::system(WHAT)(Errno::NODATA));
        }
        let rest = bytes.split_off(length);
        one.bytes = std::mem::replace(&mut bytes, rest);
    }
    if bytes.is_empty() { Ok(()) } else { Err(MonitorError::system(WHAT)(Errno::MSGSIZE)) }
}

/// Gives `process` the variables among `all`, and returns the files.
///
/// # Errors
/// If a variable's bytes are no text.
pub(super) fn give(all: &[Private], process: Option<&mut Process>) -> Result<Vec<MemoryFile>, MonitorError> {
    let (mut files, mut variables) = (Vec::new(), Vec::new());
    for one in all {
        match &one.place {
            PrivatePlace::File { target, mode, owner } => {
                let (target, bytes) = (target.clone(), one.bytes.clone());
                files.push(MemoryFile { target, mode: *mode, owner: *owner, bytes });
            }
            PrivatePlace::Variable(name) => {
                let value = String::from_utf8(one.bytes.clone());
                let value = value.map_err(|_| MonitorError::system("give a variable")(Errno::ILSEQ))?;
                variables.push((format!("{name}="), value));
            }
        }
    }
    if let Some(process) = process {
        // The first one of a name is what most programs find.
        process.env.retain(|known| !variables.iter().any(|(name, _)| known.starts_with(name)));
        process.env.extend(variables.into_iter().map(|(name, value)| name + &value));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(place: PrivatePlace, length: u64) -> Private {
        Private { place, length, bytes: Vec::new() }
    }

    fn memory(bytes: &[u8]) -> OwnedFd {
        let file = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
        rustix::io::write(&file, bytes).expect("write");
        file
    }

    #[test]
    fn each_gets_its_own_bytes() {
        let file = || PrivatePlace::File { target: "/run/secrets/s".into(), mode: 0o400, owner: (0, 0) };
        let mut all = [private(file(), 3), private(PrivatePlace::Variable("K".into()), 5), private(file(), 0)];
        take(&mut all, &memory(b"onetwo!!")).expect("as many as there are");
        let mut process = Process { env: vec!["A=1".into(), "K=old".into(), "KK=2".into()], ..Process::default() };
        let files = give(&all, Some(&mut process)).expect("text");
        assert_eq!(process.env, ["A=1", "KK=2", "K=two!!"]);
        assert_eq!(files.iter().map(|file| file.bytes.as_slice()).collect::<Vec<_>>(), [&b"one"[..], b""]);
        for bytes in [&b"onetwo!"[..], b"onetwo!!!"] {
            assert!(take(&mut all.clone(), &memory(bytes)).is_err());
        }
        all[1].bytes = vec![0xff];
        assert!(give(&all, None).is_err());
        assert!(!format!("{all:?}").contains("111"), "the bytes are for nobody's log");
    }
}
