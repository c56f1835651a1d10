//! A front end over the crate `fuse3`, to measure the default one against.
//!
//! The crate cannot be given a `/dev/fuse`: it mounts for itself, with
//! `mount(2)` or with what `fusermount3` hands back. So [`mount`] is called
//! where the mount is to be, and what it returns is served from anywhere.
//!
//! What it cannot do, since the crate cannot say it: nameless files, syncing of
//! the whole file system, the caller's mask (the kernel applies it, also where
//! a default access list should take its place), opening without a request
//! (the crate lets OPEN truncate, and then the kernel does not), taking
//! set-user-id bits away only where the kernel asks for it.

mod adapter;
mod listing;
mod words;

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::fuse3::MountOptions;
use ::fuse3::raw::{MountHandle, Session};
use tokio::runtime::{Builder, Runtime};

use self::adapter::Adapter;
use crate::filesystem::FileSystem;
use crate::mount::Access;

/// Bytes of the largest write.
const LARGEST: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();
/// How long a thread lives that did something on the side. One that the
/// mounting has started holds the namespaces of who mounted.
const IDLE: Duration = Duration::from_millis(1);

/// Who calls `mount(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounter {
    /// The crate itself. It then reads the device in a thread on the side.
    Itself,
    /// The program `fusermount3`. The crate then waits for the device without blocking.
    Fusermount,
}

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that answer requests.
    pub threads: usize,
    /// Who mounts.
    pub mounter: Mounter,
    /// Whether the mount takes changes.
    pub access: Access,
}

/// A mount that is being served.
#[derive(Debug)]
pub struct Mounted {
    handle: MountHandle,
    runtime: Runtime,
}

/// Mounts at `mountpoint`, a path without a symbolic link, in a thread of its
/// own that has called `enter` before: there it can join other namespaces,
/// which nothing is left in once this returns.
///
/// # Errors
/// What `enter` says, what mounting says.
pub fn mount<F: FileSystem + 'static>(
    filesystem: &Arc<F>,
    mountpoint: &Path,
    options: Options,
    enter: impl FnOnce() -> io::Result<()> + Send,
) -> io::Result<Mounted> {
    // The threads that answer are made here, outside of what is entered.
    let runtime =
        Builder::new_multi_thread().worker_threads(options.threads).thread_keep_alive(IDLE).enable_all().build()?;
    let session = Session::new(said(&options));
    let adapter = Adapter::new(Arc::clone(filesystem), LARGEST);
    let mounting = async {
        match options.mounter {
            Mounter::Itself => session.mount(adapter, mountpoint).await,
            Mounter::Fusermount => session.mount_with_unprivileged(adapter, mountpoint).await,
        }
    };
    let mounted = std::thread::scope(|scope| {
        let thread = scope.spawn(|| enter().and_then(|()| runtime.block_on(mounting)));
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that mounts has died")))
    });
    Ok(Mounted { handle: mounted?, runtime })
}

impl Mounted {
    /// Answers the kernel until the mount is gone.
    ///
    /// # Errors
    /// What the crate says.
    pub fn serve(self) -> io::Result<()> {
        self.runtime.block_on(self.handle)
    }
}

fn said(wanted: &Options) -> MountOptions {
    let mut options = MountOptions::default();
    options
        .fs_name("overlay")
        .uid(0)
        .gid(0)
        .allow_other(true)
        .default_permissions(true)
        .nonempty(true)
        .no_open_dir_support(true)
        .read_only(wanted.access == Access::ReadOnly);
    if wanted.mounter == Mounter::Fusermount {
        // It takes both away unless it is told not to.
        options.custom_options("suid,dev");
    }
    options
}
