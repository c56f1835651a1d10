//! One layer: from the network (or its blob) to a blob and a directory.
//!
//! The bytes pass once: each chunk goes to the ingest file, where it is hashed,
//! and into the pipe of the worker, which decompresses, hashes and unpacks.
//! Nothing is read back. A worker that is slower than the network slows the
//! network down, so memory holds a chunk, the pipe and the worker's own buffers.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;

use super::interruption::Readable;
use super::{Job, Puller, Ticker};
use crate::engine::api::{Event, Failure, FailureKind, LayerProgress};
use crate::model::digest::Digest;
use crate::registry::document::Compression;
use crate::registry::{BlobStream, RegistryError, Step, Verifier};
use crate::snapshot::failure::{Failure as JobFailure, SnapshotError};
use crate::snapshot::worker::{self, Limits, Unpack, Unpacked, WarningKind, Worker};
use crate::store::layers::{LayerIngest, LayerStats, Settle};
use crate::store::{Ingest, Store, StoreError, Wait};

/// Bytes that a pipe is asked to hold: few, large turns between two processes on few processors.
const PIPE: usize = 1 << 20;
/// Bytes read at once of a blob that another process began.
const PREFIX_CHUNK: usize = 256 << 10;
/// How often a lock that another process has is looked at.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A layer that is being unpacked; given up unless it is committed.
struct Staging<'s, 'p> {
    puller: &'s Puller<'p>,
    ingest: Option<LayerIngest>,
}

impl Drop for Staging<'_, '_> {
    fn drop(&mut self) {
        if let Some(ingest) = self.ingest.take() {
            self.puller.leftovers.borrow_mut().extend(self.puller.store.abort_layer(ingest));
        }
    }
}

/// How a try at a layer ended without success.
enum Setback {
    /// For good.
    Failed(Failure),
    /// The beginning that another process left was of other bytes; it is gone now.
    BadBeginning,
}

impl<E: Into<Failure>> From<E> for Setback {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'p> Puller<'p> {
    /// Brings one layer, unless all of it is here.
    ///
    /// # Errors
    /// With what failed; what came of the blob stays if it can be gone on from.
    pub(super) async fn layer(&self, job: &Job) -> Result<(), Failure> {
        loop {
            let Some(staging) = self.begin(job).await? else {
                return self.blob_alone(job).await;
            };
            match self.unpack(staging, job).await {
                Ok(()) => return Ok(()),
                Err(Setback::Failed(failure)) => return Err(failure),
                Err(Setback::BadBeginning) => tracing::debug!(blob = %job.blob, "the beginning was wrong: once more"),
            }
        }
    }

    async fn begin(&self, job: &Job) -> Result<Option<Staging<'_, 'p>>, Failure> {
        let ingest = patiently(|| self.store.begin_layer(&job.diff_id, Wait::No)).await?;
        Ok(ingest.map(|ingest| {
            self.leftovers.borrow_mut().extend_from_slice(ingest.leftovers());
            Staging { puller: self, ingest: Some(ingest) }
        }))
    }

    /// The layer is unpacked; perhaps from a blob that was packed in another way.
    async fn blob_alone(&self, job: &Job) -> Result<(), Failure> {
        if self.remote.is_none() {
            return Ok(());
        }
        loop {
            let Some(ingest) = patiently(|| self.store.ingest(&job.blob, Wait::No)).await? else {
                self.tell(job, LayerProgress::Present);
                return Ok(());
            };
            match self.receive(job, ingest, None).await {
                Ok(()) => break,
                Err(Setback::Failed(failure)) => return Err(failure),
                Err(Setback::BadBeginning) => {}
            }
        }
        self.tell(job, LayerProgress::Done);
        Ok(())
    }

    async fn unpack(&self, mut staging: Staging<'_, 'p>, job: &Job) -> Result<(), Setback> {
        let Some(output) = staging.ingest.as_ref().map(LayerIngest::diff) else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let output = rustix::fs::open(&output, flags, Mode::empty())
            .map_err(|errno| Failure::say(FailureKind::Store, format!("open {}: {errno}", output.display())))?;
        let unpacked = match patiently(|| self.store.ingest(&job.blob, Wait::No)).await? {
            None => {
                let blob = self.store.open_blob(&job.blob)?;
                self.tell(job, LayerProgress::Unpacking);
                let worker = self.start(job, output, blob.into()).await?;
                self.answer(job, worker).await.map_err(|error| self.explain(job, &error))?
            }
            Some(ingest) => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| broken("make a pipe", errno))?;
                // A user may have used up the memory for pipes; a small one does, slower.
                let _ = fcntl_setpipe_size(&write, PIPE);
                let worker = self.start(job, output, read).await?;
                self.receive_and_unpack(job, ingest, worker, write).await?
            }
        };
        self.warn(&unpacked);
        let stats = LayerStats { bytes: unpacked.bytes, entries: unpacked.entries };
        if let Some(ingest) = staging.ingest.take() {
            // The kernel writes the files in its own time: until then the blob, which is synced, vouches for them.
            self.store.commit_layer(ingest, &stats, Settle::Later)?;
        }
        self.tell(job, LayerProgress::Done);
        Ok(())
    }

    async fn receive_and_unpack(
        &self,
        job: &Job,
        ingest: Ingest,
        worker: Worker,
        write: OwnedFd,
    ) -> Result<Unpacked, Setback> {
        let sender = Sender::from_owned_fd(write).map_err(|error| broken("watch a pipe", error))?;
        let mut feed = Feed { sender: Some(sender), worker: Some(worker), failure: None };
        self.receive(job, ingest, Some(&mut feed)).await?;
        match (feed.worker.take(), feed.failure.take()) {
            (_, Some(error)) => Err(self.explain(job, &error).into()),
            (Some(worker), None) => Ok(self.answer(job, worker).await.map_err(|error| self.explain(job, &error))?),
            (None, None) => Err(self.explain(job, &SnapshotError::Lost("it is gone".into())).into()),
        }
    }

    /// Downloads the rest of a blob into `ingest` and commits it; all of the
    /// blob goes to `feed` as well.
    async fn receive(&self, job: &Job, mut ingest: Ingest, mut feed: Option<&mut Feed>) -> Result<(), Setback> {
        let Some((client, source)) = &self.remote else {
            return Err(StoreError::MissingBlob(job.blob.clone()).into());
        };
        if ingest.offset() > job.size {
            ingest.restart()?;
        }
        let began_at = ingest.offset();
        if let (1.., Some(feed)) = (began_at, feed.as_deref_mut()) {
            feed.repeat(self.store, &job.blob, began_at).await.map_err(|error| broken("read a blob again", error))?;
        }
        // The ingest hashes what it keeps, so counting is enough here.
        let mut stream = client.blob(source, Verifier::counting(job.blob.clone(), job.size, began_at));
        let outcome = self.pump(job, &mut stream, &mut ingest, feed.as_deref_mut()).await;
        match outcome {
            Ok(()) => {}
            Err(Stop::Registry(error @ RegistryError::TooLarge { .. })) => {
                ingest.discard()?;
                return Err(error.into());
            }
            Err(Stop::Registry(error)) => return Err(error.into()),
            Err(Stop::Store(error)) => return Err(error.into()),
            Err(Stop::Worker(error)) => {
                ingest.discard()?;
                return Err(self.explain(job, &error).into());
            }
        }
        if let Some(feed) = feed {
            // The end of the stream lets the worker finish while the disk does.
            feed.sender = None;
            self.tell(job, LayerProgress::Unpacking);
        }
        let committed = blocking(move || ingest.commit()).await?;
        match committed {
            Err(StoreError::DigestMismatch { .. }) if began_at > 0 => Err(Setback::BadBeginning),
            Err(StoreError::DigestMismatch { expected, found }) => {
                let what = format!("blob {} of {}", job.blob.short(), self.image);
                Err(RegistryError::WrongDigest { what, expected, actual: found }.into())
            }
            other => Ok(other?),
        }
    }

    async fn pump(
        &self,
        job: &Job,
        stream: &mut BlobStream<'_>,
        ingest: &mut Ingest,
        mut feed: Option<&mut Feed>,
    ) -> Result<(), Stop> {
        let mut ticker = Ticker { last: None };
        while let Some(step) = stream.next().await.map_err(Stop::Registry)? {
            match step {
                Step::Bytes(bytes) => {
                    ingest.append(&bytes).map_err(Stop::Store)?;
                    if let Some(feed) = feed.as_deref_mut() {
                        feed.give(&bytes).await.map_err(Stop::Worker)?;
                    }
                    if ticker.is_due() {
                        self.tell(job, LayerProgress::Downloaded(stream.position()));
                    }
                }
                Step::Retrying { attempt, why } => {
                    let why = Failure::from(why).message;
                    self.tell(job, LayerProgress::Retrying { attempt, why });
                }
            }
        }
        self.tell(job, LayerProgress::Downloaded(stream.position()));
        Ok(())
    }

    async fn start(&self, job: &Job, output: OwnedFd, input: OwnedFd) -> Result<Worker, Failure> {
        let program = self.worker.clone();
        let unpack = Unpack {
            compression: match job.compression {
                Compression::None => worker::Compression::None,
                Compression::Gzip => worker::Compression::Gzip,
                Compression::Zstd => worker::Compression::Zstd,
            },
            diff_id: Some(job.diff_id.clone()),
            limits: Limits::default(),
        };
        // Our copies of both descriptors end with the closure: the worker has its own.
        let started = blocking(move || program.unpack(&unpack, output.as_fd(), input.as_fd())).await?;
        started.map_err(|error| self.explain(job, &error))
    }

    async fn answer(&self, _job: &Job, worker: Worker) -> Result<Unpacked, SnapshotError> {
        answered(&worker).await?;
        worker.wait()
    }

    fn explain(&self, job: &Job, error: &SnapshotError) -> Failure {
        let kind = match error {
            SnapshotError::Job(JobFailure::NoSpace { .. }) => FailureKind::NoSpace,
            SnapshotError::Job(JobFailure::Io { .. }) => FailureKind::Store,
            SnapshotError::Job(_) => FailureKind::Corrupt,
            SnapshotError::Spawn(_) | SnapshotError::Namespaces(_) | SnapshotError::Map(_) => FailureKind::Host,
            _ => FailureKind::Internal,
        };
        let cause = Failure::new(kind, error).message;
        Failure::say(kind, format!("unpack layer {} of {}: {cause}", job.blob.short(), self.image))
    }

    fn warn(&self, unpacked: &Unpacked) {
        for warning in &unpacked.warnings {
            let what = match warning.kind {
                WarningKind::UnmappedOwner => "belong to ids that are not mapped here, and to root instead",
                WarningKind::DevicePlaceholder => "are devices, and empty files instead",
                WarningKind::AttributeRefused => "have an extended attribute that the file system does not take",
            };
            let text = format!("{}: {} files {what} (as {})", self.image, warning.count, warning.example);
            (self.tell)(Event::Warning(text));
        }
    }
}

/// Why bytes stopped to flow.
enum Stop {
    Registry(RegistryError),
    Store(StoreError),
    Worker(SnapshotError),
}

/// The way into the worker.
struct Feed {
    /// None once the worker takes no more.
    sender: Option<Sender>,
    worker: Option<Worker>,
    /// What the worker said of the bytes, where the blob may be to blame: the rest
    /// of it is awaited then, because its digest says whose fault it is.
    failure: Option<SnapshotError>,
}

impl Feed {
    /// Hands on bytes, as fast as the worker takes them.
    async fn give(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Some(sender) = &mut self.sender else { return Ok(()) };
        match sender.write_all(bytes).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(SnapshotError::Wire(error)),
        }
        self.sender = None;
        let Some(worker) = self.worker.take() else { return Ok(()) };
        answered(&worker).await?;
        match worker.wait() {
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
    async fn repeat(&mut self, store: &Store, blob: &Digest, length: u64) -> std::io::Result<()> {
        let mut file = std::fs::File::open(store.layout().ingest(blob))?.take(length);
        let mut buffer = vec![0; PREFIX_CHUNK];
        loop {
            let count = file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            self.give(bytes).await.map_err(std::io::Error::other)?;
        }
    }
}

/// Returns when the worker has answered or ended.
async fn answered(worker: &Worker) -> Result<(), SnapshotError> {
    let descriptor = worker.as_fd().try_clone_to_owned().map_err(SnapshotError::Wire)?;
    let readable = Readable::new(descriptor).map_err(SnapshotError::Wire)?;
    readable.wait().await.map_err(SnapshotError::Wire)
}

/// Tries until no other process has the lock: it may take as long as a
/// download, and the user can stop us meanwhile.
async fn patiently<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    loop {
        match attempt() {
            Err(StoreError::Busy { .. }) => tokio::time::sleep(LOCK_PAUSE).await,
            other => return other,
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| broken("wait for a thread", error))
}

fn broken(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::say(FailureKind::Internal, format!("{what}: {error}"))
}
