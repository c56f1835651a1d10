//! One layer, from compressed bytes to files: two threads and a few buffers.
//!
//! A thread reads, decompresses and hashes; the caller's applies the entries.
//! The buffers go round between the two, so memory stays bounded whichever of
//! the two is slower.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};

use super::apply::Layer;
use super::decompress::Decompressor;
use super::failure::Failure;
use super::tar::reader::Archive;
use super::tar::stream::Supply;
use super::worker::{Unpack, Unpacked};
use crate::model::digest::Digest;

/// Size of a buffer, and how many go round.
const BUFFER: usize = 1 << 20;
const BUFFERS: usize = 4;

/// Unpacks the layer that `input` gives into the empty directory `output`.
///
/// The process must be alone with `output` and have a umask of 0; see
/// [`super::worker`] for what else it should have given up.
///
/// If `recorded`, owners and devices are noted in a side file of the layer ([`Owners`]).
///
/// [`Owners`]: pybox_fuse_overlay::record::Owners
pub(crate) fn unpack(job: &Unpack, recorded: bool, output: &OwnedFd, input: OwnedFd) -> Result<Unpacked, Failure> {
    let input = Decompressor::new(Box::new(File::from(input)), job.compression, job.limits)?;
    let mut archive = Archive::new(Pipeline::start(input)?);
    let mut layer = Layer::begin(output.as_fd(), job.limits)?;
    if recorded {
        layer.record_owners();
    }
    while let Some(entry) = archive.next_entry()? {
        layer.apply(entry, &mut archive).map_err(|failure| failure.on(output.as_fd()))?;
    }
    let diff_id = archive.into_supply().digest.ok_or_else(|| Failure::corrupt("archive has no end"))?;
    if let Some(expected) = job.diff_id.as_ref().filter(|expected| **expected != diff_id) {
        return Err(Failure::DiffIdMismatch { expected: expected.clone(), found: diff_id });
    }
    let done = layer.finish()?;
    Ok(Unpacked { diff_id, entries: done.entries, bytes: done.bytes, warnings: done.warnings })
}

enum Produced {
    Chunk(Vec<u8>),
    /// The end, and the digest of all chunks.
    End(Digest),
}

/// The receiving end of the decompressing thread.
pub(crate) struct Pipeline {
    full: Receiver<Result<Produced, Failure>>,
    empty: SyncSender<Vec<u8>>,
    digest: Option<Digest>,
}

impl Pipeline {
    /// Begins to decompress `input`.
    pub(crate) fn start(input: Decompressor) -> Result<Self, Failure> {
        let (full_sender, full) = sync_channel(BUFFERS);
        let (empty, empty_receiver) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all of them.
            let _ = empty.send(Vec::new());
        }
        std::thread::Builder::new()
            .name("decompress".to_owned())
            .spawn(move || produce(input, &empty_receiver, &full_sender))
            .map_err(|error| Failure::io("start a thread", &error))?;
        Ok(Self { full, empty, digest: None })
    }
}

/// Runs until the input ends, fails, or nobody wants more of it.
fn produce(mut input: Decompressor, empty: &Receiver<Vec<u8>>, full: &SyncSender<Result<Produced, Failure>>) {
    let mut hasher = Sha256::new();
    while let Ok(mut buffer) = empty.recv() {
        buffer.resize(BUFFER, 0);
        let produced = input.fill(&mut buffer).map(|length| {
            buffer.truncate(length);
            if length == 0 {
                return Produced::End(Digest::sha256(&std::mem::take(&mut hasher).finalize().into()));
            }
            hasher.update(&buffer);
            Produced::Chunk(buffer)
        });
        let last = !matches!(produced, Ok(Produced::Chunk(_)));
        if full.send(produced).is_err() || last {
            return;
        }
    }
}

impl Supply for Pipeline {
    fn next(&mut self, spent: Vec<u8>) -> Result<Option<Vec<u8>>, Failure> {
        if self.digest.is_some() {
            return Ok(None);
        }
        if spent.capacity() > 0 {
            // The thread has gone if nobody takes it: it has said why by then.
            let _ = self.empty.send(spent);
        }
        match self.full.recv() {
            Ok(Ok(Produced::Chunk(chunk))) => Ok(Some(chunk)),
            Ok(Ok(Produced::End(digest))) => {
                self.digest = Some(digest);
                Ok(None)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::corrupt("decompression ended without a result")),
        }
    }
}
