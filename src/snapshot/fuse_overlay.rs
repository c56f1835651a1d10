//! The process that shows a container's layers through FUSE: the persona `__overlay`.
//!
//! # Theory of operation
//!
//! Whoever starts the container starts this process too, from the sealed program, with one
//! end of a socket, and tells it the [`Recipe`]. It opens index and layers, as the user,
//! while the container's first process is made. That one mounts inside its own namespaces,
//! and the device comes over the socket, with its user namespace. Then this process
//!
//! 1. joins the container's *user* namespace, so that it may do to files of the container's
//!    ids what root inside may; never its mount namespace: no path of the container leads
//!    it anywhere;
//! 2. gives up all rights but those over files, and all files but the layers'
//!    ([`confine`]);
//! 3. answers the kernel until the mount is gone, which is when the container's mount
//!    namespace is.
//!
//! What goes wrong before that is said on the socket, in words.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use pybox_fuse_overlay::{Config, Durability, Ids, Overlay, Upper};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};

use super::layers::{Layers, Owners};
use super::recipe::Recipe;
use crate::sys::{call_filter, exec, message};

/// First argument of the program that makes it a server.
pub const PERSONA: &str = "__overlay";

/// The word that comes with the device, and with the user namespace to serve it in if that is not ours.
pub const DEVICE: u8 = b'D';

/// How long the last server of the same directories may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest recipe: 127 paths.
const LONGEST: usize = 128 << 10;

/// The persona `__overlay NUMBER`: NUMBER is the inherited socket. Returns the exit code.
pub fn main(number: Option<&OsStr>) -> u8 {
    let number = number.and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let Some(socket) = number.and_then(exec::inherited) else { return 125 };
    match serve(&socket) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = message::send(socket.as_fd(), failure.as_bytes(), &[]);
            125
        }
    }
}

fn serve(socket: &OwnedFd) -> Result<(), String> {
    let _ = rustix::thread::set_name(c"pybox-overlay");
    let failed = |what: &'static str| move |error: Errno| format!("{what}: {error}");
    let mut text = vec![0; LONGEST];
    let received = message::receive(socket.as_fd(), &mut text).map_err(failed("hear what to serve"))?;
    let text = text.get(..received.len).filter(|text| !text.is_empty());
    // Whoever started us went away before saying what for.
    let Some(text) = text else { return Ok(()) };
    let recipe = serde_json::from_slice(text).map_err(|error| format!("read the recipe: {error}"))?;
    let (layered, writable) = match &recipe {
        Recipe::Hybrid(layered) => (layered, false),
        Recipe::Fuse(layered) => (layered, true),
        Recipe::Overlay(_) | Recipe::Bind { .. } => return Err("the recipe has nothing to serve".to_owned()),
    };
    let writable = writable.then_some((layered.upper.as_path(), layered.work.as_path()));
    let mut config = open(&layered.layers, writable)?;
    if layered.volatile {
        config.durability = Durability::Volatile;
    }

    let mut word = [0; 1];
    let received = message::receive(socket.as_fd(), &mut word).map_err(failed("wait for the device"))?;
    let [device, user, ..] = received.fds;
    let Some(device) = device.filter(|_| word == [DEVICE]) else { return Ok(()) };
    if let Some(user) = user {
        nix::sched::setns(user, CloneFlags::CLONE_NEWUSER)
            .map_err(|error| format!("enter the container's user namespace: {error}"))?;
        become_root().map_err(failed("become root of the container"))?;
    }
    serve_as_we_are(device, config)
}

/// Serves `config` in a process that has forked for it, and whose rights are the right ones, as
/// long as its parent lives. Returns the exit code.
pub(super) fn serve_below(device: OwnedFd, config: Config) -> u8 {
    let parent = rustix::process::Signal::KILL;
    let served = rustix::process::set_parent_process_death_signal(Some(parent))
        .map_err(|error| error.to_string())
        .and_then(|()| serve_as_we_are(device, config));
    if served.is_ok() { 0 } else { 125 }
}

/// Waits for the one who has served these directories before, and is about to end: an upper directory has one server.
fn await_turn(config: &Config) {
    let Some(upper) = &config.upper else { return };
    let begun = Instant::now();
    let lock = |operation| rustix::fs::flock(&upper.work, operation);
    while lock(FlockOperation::NonBlockingLockExclusive).is_err() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
    // The overlay takes it by a descriptor of its own.
    let _ = lock(FlockOperation::Unlock);
}

fn serve_as_we_are(device: OwnedFd, config: Config) -> Result<(), String> {
    await_turn(&config);
    confine(&config)?;
    let overlay = Overlay::open(config).map_err(|error| format!("put the layers together: {error}"))?;
    pybox_fuse_overlay::serve(device, &overlay).map_err(|error| format!("serve the file system: {error}"))
}

/// The parts of the overlay, opened with our own rights: layers, and the directories that take changes
/// and that are worked in.
pub(super) fn open(layers: &Layers, writable: Option<(&Path, &Path)>) -> Result<Config, String> {
    let directory = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| format!("open {}: {error}", path.display()))
    };
    let lower = layers.lower.iter().map(|path| directory(path)).collect::<Result<_, _>>()?;
    // One that is not there is made in memory.
    let index = layers.index.as_ref().and_then(|path| File::open(path).ok());
    let upper = |(upper, work)| Ok::<_, String>(Upper { directory: directory(upper)?, work: directory(work)? });
    Ok(Config {
        lower,
        index,
        upper: writable.map(upper).transpose()?,
        ids: match layers.owners {
            Owners::Real => Ids::Real,
            Owners::Recorded => Ids::Recorded,
            Owners::Hidden => Ids::Hidden,
        },
        durability: Durability::Synced,
    })
}

fn become_root() -> Result<(), Errno> {
    match rustix::thread::set_thread_groups(&[]) {
        // Denied where only the user's own ids are mapped: then there is none to lose.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Keeps of our rights what serving needs: files of the layers, and nothing else of the host.
pub(super) fn confine(config: &Config) -> Result<(), String> {
    let failed = |error: Errno| format!("confine the file system's server: {error}");
    // Every file that is open inside may cost one here.
    let most = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most.maximum, ..most }).map_err(failed)?;
    rustix::process::umask(Mode::empty());
    pybox_fuse_overlay::confine(config).map_err(|error| format!("confine the file system's server: {error}"))?;
    call_filter::serve_files_only().map_err(failed)
}
