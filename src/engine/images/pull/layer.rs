//! One layer: from the network (or its blob) to a blob and a directory.
//!
//! The bytes pass once: each chunk goes to the ingest file, where it is hashed,
//! and into the pipe of the worker, which decompresses, hashes and unpacks.
//! Nothing is read back. A worker that is slower than the network slows the
//! network down, so memory holds a chunk, the pipe and the worker's own buffers.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::feed::{Feed, Stop, answer};
use super::{Job, Puller, Ticker};
use crate::engine::api::{Event, Failure, FailureKind, LayerProgress};
use crate::engine::foreign;
use crate::engine::images::unpack::{compression, sentence};
use crate::registry::{BlobStream, RegistryError, Step, Verifier};
use crate::snapshot::failure::{Failure as JobFailure, SnapshotError};
use crate::snapshot::worker::{Compression, Limits, Unpack, Unpacked, Worker};
use crate::store::layers::{LayerIngest, LayerStats, Settle};
use crate::store::{Ingest, StoreError, Wait};
use crate::sys::failpoint;

/// Bytes that a pipe is asked to hold: few, large turns between two processes on few processors.
const PIPE: usize = 1 << 20;
/// How often a layer is begun: a beginning that was wrong and a media type that
/// lies take one more each, a registry that goes on changing its mind is given up.
const TRIES: u32 = 4;
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
    /// The blob is packed in another way than its media type says. That is no
    /// attack (what comes out has a digest of its own) but an old habit of some builders.
    Packed(Compression),
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
        let mut job = job.clone();
        for _ in 0..TRIES {
            let Some(staging) = self.begin(&job).await? else {
                return self.blob_alone(&job).await;
            };
            match self.unpack(staging, &job).await {
                Ok(()) => return Ok(()),
                Err(Setback::Failed(failure)) => return Err(failure),
                Err(Setback::BadBeginning) => tracing::debug!(blob = %job.blob, "the beginning was wrong: once more"),
                Err(Setback::Packed(compression)) => {
                    tracing::debug!(blob = %job.blob, ?compression, "packed in another way than its media type says");
                    job.compression = compression;
                }
            }
        }
        let text =
            format!("download layer {} of {}: each try brings other bytes", job.blob.short(), self.resolved.reference);
        Err(Failure::say(FailureKind::Corrupt, text))
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
        loop {
            let Some(ingest) = patiently(|| self.store.ingest(&job.blob, Wait::No)).await? else {
                self.tell(job, LayerProgress::Present);
                return Ok(());
            };
            match self.receive(job, ingest, None).await {
                Ok(()) => break,
                Err(Setback::Failed(failure)) => return Err(failure),
                Err(_) => {}
            }
        }
        self.tell(job, LayerProgress::Done);
        Ok(())
    }

    async fn unpack(&self, mut staging: Staging<'_, 'p>, job: &Job) -> Result<(), Setback> {
        let Some(ingest) = &staging.ingest else { return Ok(()) };
        let output = ingest.open_diff()?;
        let unpacked = match patiently(|| self.store.ingest(&job.blob, Wait::No)).await? {
            None => {
                let blob = self.store.open_blob(&job.blob)?;
                let compression = compression(&blob).map_err(|error| broken("read a blob", error))?;
                self.tell(job, LayerProgress::Unpacking);
                let worker = self.start(&Job { compression, ..job.clone() }, output, blob.into()).await?;
                answer(worker).await.map_err(|error| self.explain(job, &error))?
            }
            Some(ingest) => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| broken("make a pipe", errno))?;
                // A user may have used up the memory for pipes; a small one does, slower.
                let _ = fcntl_setpipe_size(&write, PIPE);
                let worker = self.start(job, output, read).await?;
                self.receive_and_unpack(job, ingest, worker, write).await?
            }
        };
        unpacked.warnings.iter().for_each(|warning| (self.tell)(Event::Warning(sentence(&job.blob, warning))));
        failpoint::reach!("pull.unpacked");
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
        let mut feed = Feed::new(worker, write, job.compression).map_err(|error| broken("watch a pipe", error))?;
        self.receive(job, ingest, Some(&mut feed)).await?;
        Ok(feed.result().await.map_err(|error| self.explain(job, &error))?)
    }

    /// Downloads the rest of a blob into `ingest` and commits it; all of the
    /// blob goes to `feed` as well.
    async fn receive(&self, job: &Job, mut ingest: Ingest, mut feed: Option<&mut Feed>) -> Result<(), Setback> {
        if ingest.offset() > job.size {
            ingest.restart()?;
        }
        let began_at = ingest.offset();
        if let (1.., Some(feed)) = (began_at, feed.as_deref_mut()) {
            feed.repeat(self.store, &job.blob, began_at).await.or_else(|stop| self.stopped(job, stop))?;
        }
        // The ingest hashes what it keeps, so counting is enough here.
        let mut stream =
            self.client.blob(&self.resolved.source, Verifier::counting(job.blob.clone(), job.size, began_at));
        let outcome = self.pump(job, &mut stream, &mut ingest, feed.as_deref_mut()).await;
        if let Err(stop) = outcome {
            if stop.spoils() {
                ingest.discard()?;
            }
            return self.stopped(job, stop);
        }
        if let Some(feed) = feed {
            // The end of the stream lets the worker finish while the disk does.
            feed.end();
            self.tell(job, LayerProgress::Unpacking);
        }
        let committed = blocking(move || ingest.commit()).await?;
        match committed {
            Err(StoreError::DigestMismatch { .. }) if began_at > 0 => Err(Setback::BadBeginning),
            Err(StoreError::DigestMismatch { expected, found }) => {
                let what = format!("blob {} of {}", job.blob.short(), self.resolved.reference);
                Err(RegistryError::WrongDigest { what, expected, actual: found }.into())
            }
            other => {
                other?;
                let (cache, digest) = (self.client.cache().clone(), job.blob.clone());
                let kept = self.store.layout().blob(&job.blob);
                Ok(blocking(move || cache.keep(&digest, &kept)).await?)
            }
        }
    }

    fn stopped(&self, job: &Job, stop: Stop) -> Result<(), Setback> {
        Err(match stop {
            Stop::Registry(error) => error.into(),
            Stop::Store(error) => error.into(),
            Stop::Worker(error) => self.explain(job, &error).into(),
            Stop::Packed(compression) => Setback::Packed(compression),
            Stop::Read(error) => broken("read the beginning of a blob", error).into(),
        })
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
                    failpoint::reach!("pull.bytes_appended");
                    if let Some(feed) = feed.as_deref_mut() {
                        feed.give(&bytes).await?;
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
        let unpack =
            Unpack { compression: job.compression, diff_id: Some(job.diff_id.clone()), limits: Limits::default() };
        // Our copies of both descriptors end with the closure: the worker has its own.
        let started = blocking(move || program.unpack(&unpack, output.as_fd(), input.as_fd())).await?;
        started.map_err(|error| self.explain(job, &error))
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
        let said = format!("unpack layer {} of {}: {cause}", job.blob.short(), self.resolved.reference);
        Failure::say(kind, said).hint(match kind {
            FailureKind::Corrupt => Some(UNSOUND.to_owned()),
            _ => foreign::remedy(error),
        })
    }
}

/// What to do about an image with such a layer.
const UNSOUND: &str = "do not use this image; ask its publisher for one whose layers are sound";

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
