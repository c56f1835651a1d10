//! Bytes on their way into a worker, and what keeps them from getting there.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;

use crate::engine::images::interruption::Readable;
use crate::engine::images::unpack::by_magic;
use crate::model::digest::Digest;
use crate::registry::RegistryError;
use crate::snapshot::failure::{Failure as JobFailure, SnapshotError};
use crate::snapshot::worker::{Compression, Unpacked, Worker};
use crate::store::{Store, StoreError};

/// Bytes read at once of a blob that another process began.
const PREFIX_CHUNK: usize = 256 << 10;

/// Why bytes stopped to flow.
pub(super) enum Stop {
    Registry(RegistryError),
    Store(StoreError),
    Worker(SnapshotError),
    Packed(Compression),
    Read(std::io::Error),
}

impl Stop {
    /// Whether what came of the blob is worth nothing to the next try.
    pub(super) fn spoils(&self) -> bool {
        matches!(self, Self::Worker(_) | Self::Registry(RegistryError::TooLarge { .. }))
    }
}

/// The way into the worker.
pub(super) struct Feed {
    /// None once the worker takes no more.
    sender: Option<Sender>,
    worker: Option<Worker>,
    /// What the worker was told to expect; none once the first bytes were seen to agree.
    expected: Option<Compression>,
    /// What the worker said of the bytes, where the blob may be to blame: the rest
    /// of it is awaited then, because its digest says whose fault it is.
    failure: Option<SnapshotError>,
}

impl Feed {
    /// The way into `worker`, which reads from the other end of the pipe `write`.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub(super) fn new(worker: Worker, write: OwnedFd, expected: Compression) -> std::io::Result<Self> {
        let sender = Sender::from_owned_fd(write)?;
        Ok(Self { sender: Some(sender), worker: Some(worker), expected: Some(expected), failure: None })
    }

    /// There are no more bytes.
    pub(super) fn end(&mut self) {
        self.sender = None;
    }

    /// What the worker makes of it all.
    ///
    /// # Errors
    /// Its own, that of an early end included.
    pub(super) async fn result(self) -> Result<Unpacked, SnapshotError> {
        match (self.failure, self.worker) {
            (Some(error), _) => Err(error),
            (None, Some(worker)) => answer(worker).await,
            (None, None) => Err(SnapshotError::Lost("it is gone".into())),
        }
    }

    /// Hands on bytes, as fast as the worker takes them.
    pub(super) async fn give(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if let Some(expected) = self.expected.take() {
            // A first piece too short to tell is left to the worker.
            let found = bytes.get(..4).map_or(expected, by_magic);
            if found != expected {
                return Err(Stop::Packed(found));
            }
        }
        let Some(sender) = &mut self.sender else { return Ok(()) };
        match sender.write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.sender = None;
                self.ended_early().await.map_err(Stop::Worker)
            }
            Err(error) => Err(Stop::Worker(SnapshotError::Wire(error))),
        }
    }

    /// Why the worker takes no more: an error, or nothing where the rest of the blob has to come first.
    async fn ended_early(&mut self) -> Result<(), SnapshotError> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        match answer(worker).await {
            Err(error @ SnapshotError::Job(JobFailure::Corrupt { .. })) => {
                self.failure = Some(error);
                Ok(())
            }
            Err(error) => Err(error),
            // It has all it wants, and there is more: the archive's end came before the blob's.
            Ok(_) => Err(JobFailure::Corrupt { reason: "there is data after its end".into() }.into()),
        }
    }

    /// Hands on the first `length` bytes of a blob that another process began.
    pub(super) async fn repeat(&mut self, store: &Store, blob: &Digest, length: u64) -> Result<(), Stop> {
        let mut file = std::fs::File::open(store.layout().ingest(blob)).map_err(Stop::Read)?.take(length);
        let mut buffer = vec![0; PREFIX_CHUNK];
        loop {
            let count = file.read(&mut buffer).map_err(Stop::Read)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            self.give(bytes).await?;
        }
    }
}

/// What the worker answers, waited for without holding up the other layers.
///
/// # Errors
/// The worker's, or that it ended without an answer.
pub(super) async fn answer(worker: Worker) -> Result<Unpacked, SnapshotError> {
    let descriptor = worker.as_fd().try_clone_to_owned().map_err(SnapshotError::Wire)?;
    let readable = Readable::new(descriptor).map_err(SnapshotError::Wire)?;
    readable.wait().await.map_err(SnapshotError::Wire)?;
    worker.wait()
}
