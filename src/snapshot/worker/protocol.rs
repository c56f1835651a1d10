//! The words on the worker's socket: one JSON document a SEQPACKET message.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::view::{Looked, Stub, View};
use crate::model::digest::Digest;
use crate::snapshot::driver::Found;
use crate::snapshot::failure::Failure;
use crate::sys::message;

/// No message is longer; a longer one is an error of the sender.
const MAX_MESSAGE: usize = 64 << 10;

/// Descriptors that may ride on one message.
const MAX_FDS: usize = 3;

pub use crate::model::compression::Compression;

/// What one layer may cost. The defaults are those of the project's security baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the uncompressed archive, and bytes of any one file with its holes.
    pub total: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Uncompressed bytes for one compressed byte, looked at once
    /// [`Limits::ratio_from`] bytes have come out.
    pub ratio: u64,
    /// Uncompressed bytes before which no ratio is too high.
    pub ratio_from: u64,
    /// Bytes that must stay free on the file system; never more than 2 % of it.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 10 << 30, entries: 2_000_000, ratio: 1000, ratio_from: 64 << 20, reserve: 512 << 20 }
    }
}

/// Unpacks one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpack {
    /// How the input is compressed.
    pub compression: Compression,
    /// Digest of the uncompressed archive that the image's configuration names;
    /// `None` where there is none yet (import).
    pub diff_id: Option<Digest>,
    /// What it may cost.
    pub limits: Limits,
}

/// What a finished [`Unpack`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Entries of the archive, whiteouts among them.
    pub entries: u64,
    /// Bytes of file contents written.
    pub bytes: u64,
    /// What could not be kept as the archive has it.
    pub warnings: Vec<Warning>,
}

/// Something of a layer that was not kept, told once however often it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What was not kept.
    pub kind: WarningKind,
    /// How many entries it happened to.
    pub count: u64,
    /// The first of them, and what of it.
    pub example: String,
}

/// What of an archive may not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarningKind {
    /// Owner or group has no id in the user namespace: owned by 0 instead, the
    /// true owner noted in [`pybox_fuse_overlay::record::XATTR`] where the file can hold it.
    UnmappedOwner,
    /// A device is an empty file, what it should be noted in the same attribute.
    DevicePlaceholder,
    /// The file system took no such extended attribute.
    AttributeRefused,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Job {
    Unpack {
        /// What and how.
        job: Unpack,
        /// Whether owners are noted in the layer's side file instead of given.
        recorded: bool,
    },
    /// Removes all that is in the directory, not the directory.
    Empty,
    /// Counts the bytes of all files in the directory.
    Measure,
    /// Works in the root of a container.
    View(View),
    /// Finds out what root file systems can be had in a directory, and leaves it empty.
    Try {
        /// By name: a descriptor would belong to the caller's mounts.
        place: PathBuf,
    },
    /// Writes the index of these layers, the topmost first, into the file.
    Index { layers: Vec<PathBuf> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The namespaces exist; the maps may be written.
    Born,
    Unpacked(Unpacked),
    Emptied,
    Measured(u64),
    Done(u64),
    Looked(Looked),
    Prepared(Vec<Stub>),
    Tried(Found),
    Failed(Failure),
    /// Namespaces were refused, with this errno.
    NoNamespaces(i32),
}

/// Sends `message`, and `fds` with it.
pub(super) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    let slices = [IoSlice::new(&bytes)];
    let sent =
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &slices, &mut ancillary, SendFlags::NOSIGNAL))?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// The next message and the descriptors that came with it; `None` when the other side has gone.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut buffer = vec![0_u8; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received =
        message::retry(|| rustix::net::recvmsg(socket.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let bytes = buffer.get(..received.bytes).ok_or(Errno::MSGSIZE)?;
    let message = serde_json::from_slice(bytes).map_err(|_| Errno::PROTO)?;
    Ok(Some((message, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    #[test]
    fn messages_and_descriptors_arrive() {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("socketpair");
        let failure = Failure::Unsafe { entry: "../\u{fffd}".into(), reason: "climbs".into() };
        send(ours.as_fd(), &Answer::Failed(failure.clone()), &[ours.as_fd(), theirs.as_fd()]).expect("send");
        let (answer, fds) = receive::<Answer>(theirs.as_fd()).expect("receive").expect("a message");
        assert!(matches!(answer, Answer::Failed(found) if found == failure));
        assert_eq!(fds.len(), 2);
        drop((fds, ours));
        assert!(receive::<Answer>(theirs.as_fd()).expect("receive").is_none());
    }
}
