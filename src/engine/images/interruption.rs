//! Ctrl-C while a runtime of ours waits: futures are dropped, so that locks,
//! workers and half-made directories are let go of in order.
//!
//! The signals are blocked and read from a descriptor. tokio's own handlers
//! would stay for the rest of the process, and `run` passes the same signals
//! on to its container once the image is here.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::engine::api::{Failure, FailureKind};

/// Signals that end a pull or a push.
const DEADLY: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Tells when the user wants us to stop.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Interruption(Rc<AsyncFd<SignalFd>>);

impl Interruption {
    /// What `work` gives, unless the user stops it: then it is dropped where it stands.
    ///
    /// # Errors
    /// Those of `work`, or [`FailureKind::Interrupted`].
    pub(in crate::engine) async fn or<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.asked() => Err(Failure::say(FailureKind::Interrupted, "interrupted")),
            outcome = work => outcome,
        }
    }

    async fn asked(&self) {
        let read = |signals: &SignalFd| match signals.read_signal() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(std::io::ErrorKind::WouldBlock.into()),
            Err(errno) => Err(std::io::Error::from(errno)),
        };
        if self.0.async_io(Interest::READABLE, read).await.is_err() {
            // A descriptor that cannot be read would end all work: without it Ctrl-C waits for the end.
            std::future::pending::<()>().await;
        }
    }
}

/// Runs `work` on a runtime of this thread, the signals of [`DEADLY`] being what stops it.
///
/// # Errors
/// Those of `work`, or what keeps a runtime from being made.
pub(in crate::engine) fn unless_interrupted<T, W>(work: impl FnOnce(Interruption) -> W) -> Result<T, Failure>
where
    W: Future<Output = Result<T, Failure>>,
{
    let internal = |error: std::io::Error| Failure::say(FailureKind::Internal, format!("start the runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let signals = Blocked::new().map_err(internal)?;
    runtime.block_on(async {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals.set, flags).map_err(|errno| internal(errno.into()))?;
        let waiting = watched(descriptor).map_err(internal)?;
        work(Interruption(Rc::new(waiting))).await
    })
}

/// Signals that are blocked until this is dropped, if they were not before.
struct Blocked {
    set: SigSet,
    before: SigSet,
}

impl Blocked {
    fn new() -> std::io::Result<Self> {
        let set: SigSet = DEADLY.into_iter().collect();
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        Ok(Self { set, before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// A descriptor that tokio watches for being readable.
pub(in crate::engine) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Watches `descriptor`.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub(in crate::engine) fn new(descriptor: OwnedFd) -> std::io::Result<Self> {
        watched(descriptor).map(Self)
    }

    /// Returns when there is something to read, or the other end has gone.
    ///
    /// # Errors
    /// What the runtime says when it ends.
    pub(in crate::engine) async fn wait(&self) -> std::io::Result<()> {
        self.0.readable().await.map(|_| ())
    }
}

#[expect(
    deprecated,
    reason = "an owned descriptor never changes its number, which is all the newer door asks to promise"
)]
fn watched<T: AsRawFd>(descriptor: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
