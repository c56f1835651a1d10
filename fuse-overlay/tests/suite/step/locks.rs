//! Locks of whole files and of ranges, and what inotify tells.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, flock as flock_file, inotify};

use super::{Command, Failure, Outcome, Words, World, flags, ok};
use crate::text;

pub(super) const TABLE: &[(&str, Command)] = &[
    ("flock", flock),
    ("lock", lock),
    ("ofdlock", ofd_lock),
    ("getlock", get_lock),
    ("watch", watch),
    ("events", events),
];

/// `flock @A sh|ex|un`, without waiting.
fn flock(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let operation = match words.text()?.as_str() {
        "sh" => FlockOperation::NonBlockingLockShared,
        "ex" => FlockOperation::NonBlockingLockExclusive,
        _ => FlockOperation::NonBlockingUnlock,
    };
    flock_file(file, operation)?;
    ok()
}

fn range(words: &mut Words<'_>) -> Result<libc::flock, Failure> {
    let kind = match words.text()?.as_str() {
        "rd" => libc::F_RDLCK,
        "wr" => libc::F_WRLCK,
        _ => libc::F_UNLCK,
    };
    let kind = libc::c_short::try_from(kind).map_err(|error| error.to_string())?;
    let whence = libc::c_short::try_from(libc::SEEK_SET).map_err(|error| error.to_string())?;
    Ok(libc::flock { l_type: kind, l_whence: whence, l_start: words.number()?, l_len: words.number()?, l_pid: 0 })
}

/// `lock @A rd|wr|un START LENGTH`: of this process.
fn lock(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    fcntl(file, FcntlArg::F_SETLK(&range(words)?))?;
    ok()
}

/// The same, of the open file.
fn ofd_lock(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(words)?))?;
    ok()
}

/// `getlock @A rd|wr START LENGTH`: who is in the way.
fn get_lock(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let file = world.open_file(words.next()?)?;
    let mut asked = range(words)?;
    fcntl(file, FcntlArg::F_GETLK(&mut asked))?;
    let kind = match i32::from(asked.l_type) {
        libc::F_UNLCK => return Ok("free".into()),
        libc::F_RDLCK => "rd",
        _ => "wr",
    };
    Ok(format!("{kind} {} {}", asked.l_start, asked.l_len))
}

const EVENTS: &[(&str, u32)] = &[
    ("access", 0x1),
    ("modify", 0x2),
    ("attrib", 0x4),
    ("close_write", 0x8),
    ("open", 0x20),
    ("moved_from", 0x40),
    ("moved_to", 0x80),
    ("create", 0x100),
    ("delete", 0x200),
    ("delete_self", 0x400),
    ("move_self", 0x800),
    ("ignored", 0x8000),
];

/// `watch NAME PATH EVENT|EVENT…`
fn watch(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let path = words.next()?;
    let mask = flags(&words.text()?, EVENTS)?.into_iter().fold(0, |all, one| all | one);
    let watcher = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watcher, path, inotify::WatchFlags::from_bits_retain(mask))?;
    world.files.insert(name, watcher);
    ok()
}

/// `events NAME`: what has happened since.
fn events(world: &mut World, words: &mut Words<'_>) -> Outcome {
    let name = words.text()?;
    let watcher = world.file(&name)?;
    debug_assert!(watcher.as_raw_fd() >= 0);
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut reader = inotify::Reader::new(watcher, &mut buffer);
    let mut told = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => {
                let bits = event.events().bits();
                let known = EVENTS.iter().find(|(_, bit)| bits & bit != 0).map_or("other", |(name, _)| name);
                let of = event.file_name().map(|name| format!(":{}", text::name(name.to_bytes())));
                told.push(format!("{known}{}", of.unwrap_or_default()));
            }
            Err(rustix::io::Errno::AGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(if told.is_empty() { "none".into() } else { told.join(" ") })
}
