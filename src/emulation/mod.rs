//! Root with one id: the persona `__emulation`.
//!
//! Who has no range of ids can have one: a namespace in which root is that user and nobody else exists.
//! There the kernel refuses to give files away, to become anybody, and to make devices, before a file system
//! is asked; and shows every owner but root as nobody. So the calls about these things are stopped by a filter
//! ([`crate::sys::notify`]) and answered here: what a process believes to be is kept by thread ([`people`]),
//! whose a file is by the file system ([`owners`]), and what comes of a call stands in [`answers`] and, where it makes
//! a file, in [`making`].
//!
//! It makes root inside behave like root. It is no border: what keeps the container in is what keeps every other
//! container in, and the one id on disk is the user's. A process that has become somebody else here is not kept
//! from the files of others.
//!
//! # Theory of operation
//!
//! The monitor starts this process with one end of a socket. Over it come the listeners, one for the
//! container's first process and one for each that joins, with who that begins as; the first brings the container's
//! user namespace too. This process enters it, to have over the container's processes what root inside would; makes
//! the root directory of whoever asks its own for the time of the answer, so that paths mean the same; and gives up the
//! rest ([`confine`]). It ends with the last listener, which is when the container does. Should it end before, the
//! monitor ends the container.

mod answers;
mod making;
mod owners;
mod people;
pub mod person;
mod place;
mod target;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::CloneFlags;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use self::answers::Answers;
use self::person::Person;
use crate::sys::mount::Reach;
use crate::sys::{call_filter, exec, message, mount, notify};

/// First argument of the program that makes it this process.
pub const PERSONA: &str = "__emulation";

/// What comes with a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// User id of the process.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

/// The longest [`Beginning`]: 65,536 groups of ten digits.
const LONGEST: usize = 1 << 20;

/// What entering the directories of others, reading their memory and recording owners takes.
const CAPABILITIES: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// The persona `__emulation NUMBER`: NUMBER is the inherited socket. Returns the exit code.
pub fn main(number: Option<&OsStr>) -> u8 {
    let number = number.and_then(OsStr::to_str).and_then(|number| number.parse().ok());
    let Some(socket) = number.and_then(exec::inherited) else { return 125 };
    let _ = rustix::thread::set_name(c"pybox-emulation");
    // Each thread that has asked costs one.
    let most = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most.maximum, ..most });
    match serve(&socket) {
        Ok(()) => 0,
        Err(_) => 125,
    }
}

/// A filter that asks.
struct Listener {
    asks: OwnedFd,
    /// Who its first process begins as.
    first: Person,
}

fn serve(socket: &OwnedFd) -> Result<(), Errno> {
    let mut text = vec![0; LONGEST];
    let Some((first, user)) = hear(socket.as_fd(), &mut text)? else { return Ok(()) };
    let mut answers = Answers::new(confine(user)?)?;
    let mut listeners = vec![first];
    let mut connected = true;
    while !listeners.is_empty() {
        let (words, asking) = wait(connected.then_some(socket), &listeners)?;
        for (listener, events) in listeners.iter().zip(&asking) {
            if events.contains(PollFlags::IN)
                && let Ok(call) = notify::receive(listener.asks.as_fd())
            {
                answers.answer(listener.asks.as_fd(), &call, &listener.first);
            }
        }
        let mut ended = asking.iter().map(|events| events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN));
        listeners.retain(|_| !ended.next().unwrap_or(false));
        if words {
            match hear(socket.as_fd(), &mut text)? {
                Some((listener, _)) => listeners.push(listener),
                // The monitor has gone; whoever is left is about to follow.
                None => connected = false,
            }
        }
    }
    Ok(())
}

/// Waits until there is something to hear on the socket, and which listeners have something to ask.
fn wait(socket: Option<&OwnedFd>, listeners: &[Listener]) -> Result<(bool, Vec<PollFlags>), Errno> {
    let mut polled: Vec<_> = listeners.iter().map(|listener| PollFd::new(&listener.asks, PollFlags::IN)).collect();
    polled.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let mut events: Vec<_> = polled.iter().map(PollFd::revents).collect();
    let words = socket.and_then(|_| events.pop()).is_some_and(|events| !events.is_empty());
    Ok((words, events))
}

/// The next listener, and the user namespace that comes with the first; none at the end.
fn hear(socket: BorrowedFd<'_>, text: &mut [u8]) -> Result<Option<(Listener, Option<OwnedFd>)>, Errno> {
    let received = message::receive(socket, text)?;
    let text = text.get(..received.len).filter(|text| !text.is_empty());
    let [asks, user, ..] = received.fds;
    let (Some(text), Some(asks)) = (text, asks) else { return Ok(None) };
    let Beginning { uid, gid, groups } = serde_json::from_slice(text).map_err(|_| Errno::BADMSG)?;
    notify::take_turns(asks.as_fd());
    Ok(Some((Listener { asks, first: Person::of(uid, gid, groups) }, user)))
}

/// Enters the container's user namespace and gives up what answering does not take. What is left of the host is
/// its procfs, from which no path leads back.
fn confine(user: Option<OwnedFd>) -> Result<OwnedFd, Errno> {
    let kernel = |error: nix::Error| Errno::from_raw_os_error(error as i32);
    if let Some(user) = user {
        nix::sched::setns(user, CloneFlags::CLONE_NEWUSER).map_err(kernel)?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(kernel)?;
    let proc = mount::copy_tree(mount::here(), c"/proc", Reach::Recursive)?;
    rustix::process::umask(Mode::empty());
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    let held = rustix::thread::capabilities(None)?.permitted & CAPABILITIES;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    call_filter::answer_calls_only()?;
    Ok(proc)
}
