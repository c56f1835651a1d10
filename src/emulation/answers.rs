//! What each call is answered.
//!
//! Whatever goes wrong on the way to an answer lets the kernel go on with the call, and say what it has to say
//! of it: a path that is not there, memory that cannot be written, a descriptor that is none. That is safe for
//! calls that the filter would have let through anyway, which all of these are: what one process with one id may
//! do the kernel judges, and we only change what it hears.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::making::Maker;
use super::owners::Files;
use super::people::{Known, People};
use super::person::{Kind, Person};
use super::place::{EMPTY_PATH, POINT, Place};
use super::target::Target;
use crate::sys::notify::{self, Answer, Call};
use crate::sys::stat::{Plain, Stat, Statx};

/// Who has files in the eyes of those whose namespace does not have their owner (`overflowuid`), and the id that
/// leaves one as it is.
const NOBODY: u32 = 65_534;
const SAME: u32 = u32::MAX;
const NO_FOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;

/// All that is known of a container's processes and files.
#[derive(Debug)]
pub(super) struct Answers {
    proc: OwnedFd,
    people: People,
    files: Files,
}

/// Where a call's answer comes from.
pub(super) enum Outcome {
    /// It has to be sent.
    Answer(Answer),
    /// This file becomes a descriptor of who asks.
    File(OwnedFd, bool),
}

impl Answers {
    /// `proc` is a procfs that shows the threads that will ask.
    pub(super) fn new(proc: OwnedFd) -> Result<Self, Errno> {
        let descriptors = rustix::fs::openat(&proc, "self/fd", POINT | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { proc, people: People::default(), files: Files::new(descriptors) })
    }

    /// Answers `call` of somebody who begins as `first`. Who has been killed meanwhile needs no answer.
    pub(super) fn answer(&mut self, listener: BorrowedFd<'_>, call: &Call, first: &Person) {
        if let Some(threads) = parts_with_kin(call.number()) {
            self.people.settle(self.proc.as_fd(), call.pid, threads, first);
        }
        if call.number() == libc::SYS_exit_group {
            let _ = notify::answer(listener, call, Answer::Go);
            return;
        }
        let outcome = match self.people.find(self.proc.as_fd(), call.pid, first) {
            // The thread is the one that asks: its directory in /proc was opened while it waited.
            Ok(known) if notify::is_waiting(listener, call) => {
                judge(known, &mut self.files, call).unwrap_or(Outcome::Answer(Answer::Go))
            }
            _ => Outcome::Answer(Answer::Go),
        };
        let answer = match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::File(file, close) => match notify::answer_with_file(listener, call, file.as_fd(), close) {
                Ok(()) => return,
                Err(error) => Answer::Error(error),
            },
        };
        let _ = notify::answer(listener, call, answer);
    }
}

/// Whether who makes this call is nobody to take after any more, for its children; and for its threads, too.
fn parts_with_kin(call: libc::c_long) -> Option<bool> {
    match call {
        libc::SYS_exit_group => Some(false),
        libc::SYS_setuid
        | libc::SYS_setgid
        | libc::SYS_setreuid
        | libc::SYS_setregid
        | libc::SYS_setresuid
        | libc::SYS_setresgid
        | libc::SYS_setfsuid
        | libc::SYS_setfsgid
        | libc::SYS_setgroups => Some(true),
        _ => None,
    }
}

/// An argument that is an int.
fn int(argument: u64) -> i32 {
    argument as u32 as i32
}

fn id(argument: u64) -> u32 {
    argument as u32
}

fn value(id: u32) -> Outcome {
    Outcome::Answer(Answer::Value(i64::from(id)))
}

fn done(result: Result<(), Errno>) -> Outcome {
    Outcome::Answer(result.map_or_else(Answer::Error, |()| Answer::Value(0)))
}

fn judge(known: &mut Known, files: &mut Files, call: &Call) -> Result<Outcome, Errno> {
    if let Some(outcome) = identity(known, call)? {
        return Ok(outcome);
    }
    let Known { target, person } = known;
    let (target, person) = (&*target, &*person);
    let here = libc::AT_FDCWD;
    let [a, b, c, d, e, _] = call.arguments;
    let chown = |place, files, ids, flags| chown(place, (person, files), ids, flags);
    let mut maker = Maker { target, person, files: &mut *files };
    match call.number() {
        libc::SYS_fstat => stat(Place::open(target, int(a))?, files, EMPTY_PATH, (b, target)),
        libc::SYS_newfstatat => stat(Place::locate(target, (int(a), b), int(d))?, files, int(d), (c, target)),
        libc::SYS_statx => statx(target, files, (int(a), b), (int(c), id(d)), e),
        // What only points at a file cannot be given away by this call; nor can flags be ignored. The kernel says so.
        libc::SYS_fchown if target.only_points(int(a)) => Ok(Outcome::Answer(Answer::Go)),
        libc::SYS_fchownat if int(e) & !(EMPTY_PATH | NO_FOLLOW) != 0 => Ok(Outcome::Answer(Answer::Go)),
        libc::SYS_fchown => chown(Place::open(target, int(a))?, files, (id(b), id(c)), EMPTY_PATH),
        libc::SYS_fchownat => chown(Place::locate(target, (int(a), b), int(e))?, files, (id(c), id(d)), int(e)),
        libc::SYS_openat => maker.open((int(a), b), (int(c), id(d))),
        libc::SYS_mkdirat => maker.directory((int(a), b), id(c)),
        libc::SYS_symlinkat => maker.link(a, (int(b), c)),
        libc::SYS_mknodat => maker.node((int(a), b), (id(c), id(d))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat => stat(Place::locate(target, (here, a), 0)?, files, 0, (b, target)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat => stat(Place::locate(target, (here, a), 0)?, files, NO_FOLLOW, (b, target)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => chown(Place::locate(target, (here, a), 0)?, files, (id(b), id(c)), 0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => chown(Place::locate(target, (here, a), 0)?, files, (id(b), id(c)), NO_FOLLOW),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => maker.open((here, a), (int(b), id(c))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => maker.open((here, a), (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, id(b))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => maker.directory((here, a), id(b)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_symlink => maker.link(a, (here, b)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mknod => maker.node((here, a), (id(b), id(c))),
        _ => Ok(Outcome::Answer(Answer::Go)),
    }
}

/// Calls about who one is; none for the others.
fn identity(Known { target, person }: &mut Known, call: &Call) -> Result<Option<Outcome>, Errno> {
    let [a, b, c, ..] = call.arguments;
    let three = [id(a), id(b), id(c)];
    Ok(Some(match call.number() {
        libc::SYS_getuid => value(person.user.real),
        libc::SYS_geteuid => value(person.user.effective),
        libc::SYS_getgid => value(person.group.real),
        libc::SYS_getegid => value(person.group.effective),
        libc::SYS_setuid => done(person.set(Kind::User, id(a))),
        libc::SYS_setgid => done(person.set(Kind::Group, id(a))),
        libc::SYS_setreuid => done(person.set_two(Kind::User, id(a), id(b))),
        libc::SYS_setregid => done(person.set_two(Kind::Group, id(a), id(b))),
        libc::SYS_setresuid => done(person.set_three(Kind::User, three)),
        libc::SYS_setresgid => done(person.set_three(Kind::Group, three)),
        libc::SYS_setfsuid => value(person.set_files(Kind::User, id(a))),
        libc::SYS_setfsgid => value(person.set_files(Kind::Group, id(a))),
        libc::SYS_getresuid => tell_three(target, [a, b, c], &person.user)?,
        libc::SYS_getresgid => tell_three(target, [a, b, c], &person.group)?,
        libc::SYS_getgroups => tell_groups(target, person, int(a), b)?,
        libc::SYS_setgroups => {
            // More than the kernel takes are refused before they are read.
            let Some(count) = usize::try_from(id(a)).ok().filter(|count| *count <= 65_536) else {
                return Ok(Some(done(Err(Errno::INVAL))));
            };
            let mut bytes = vec![0; count * size_of::<u32>()];
            target.read(b, &mut bytes)?;
            let groups = bytes.as_chunks().0.iter().map(|group| u32::from_ne_bytes(*group)).collect();
            done(person.set_groups(groups))
        }
        _ => return Ok(None),
    }))
}

fn tell_three(target: &Target, places: [u64; 3], ids: &super::person::Ids) -> Result<Outcome, Errno> {
    for (place, id) in places.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        target.write(place, &id.to_ne_bytes())?;
    }
    Ok(done(Ok(())))
}

fn tell_groups(target: &Target, person: &Person, room: i32, place: u64) -> Result<Outcome, Errno> {
    let count = u32::try_from(person.groups.len()).unwrap_or(u32::MAX);
    if room == 0 {
        return Ok(value(count));
    }
    if u32::try_from(room).is_ok_and(|room| room < count) || room < 0 {
        return Ok(done(Err(Errno::INVAL)));
    }
    let bytes: Vec<u8> = person.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    if !bytes.is_empty() {
        target.write(place, &bytes)?;
    }
    Ok(value(count))
}

fn stat(place: Place<'_>, files: &mut Files, flags: i32, (into, target): (u64, &Target)) -> Result<Outcome, Errno> {
    let at = |base: BorrowedFd<'_>, path: &CStr| Stat::at(base, path, flags | EMPTY_PATH);
    let (found, owner) = look(place, files, flags, (at, Stat::plain))?;
    target.write(into, &found.owned_by(owner))?;
    Ok(done(Ok(())))
}

fn statx(
    target: &Target,
    files: &mut Files,
    named: (i32, u64),
    (flags, mask): (i32, u32),
    into: u64,
) -> Result<Outcome, Errno> {
    let at = |base: BorrowedFd<'_>, path: &CStr| Statx::at(base, path, flags | EMPTY_PATH, mask);
    let (found, owner) = look(Place::locate(target, named, flags)?, files, flags, (at, Statx::plain))?;
    target.write(into, &found.owned_by(owner))?;
    Ok(done(Ok(())))
}

/// What `at` finds at a place, and whose it is.
fn look<S>(
    place: Place<'_>,
    files: &mut Files,
    flags: i32,
    (at, plain): (impl Fn(BorrowedFd<'_>, &CStr) -> Result<S, Errno>, impl Fn(&S) -> Plain),
) -> Result<(S, (u32, u32)), Errno> {
    let follow = flags & NO_FOLLOW == 0;
    let (_, seen) = place.reach(follow, |place| {
        let found = at(place.base.as_fd(), &place.path)?;
        if let Some(owner) = files.remember(&plain(&found)) {
            return Ok((found, owner));
        }
        // Both of one file: the name may mean another one by now.
        let file = place.point(follow)?;
        let found = at(file.as_fd(), c"")?;
        let owner = files.owner(file.as_fd(), &plain(&found))?;
        Ok((found, owner))
    })?;
    Ok(seen)
}

fn chown(
    place: Place<'_>,
    (person, files): (&Person, &mut Files),
    (uid, gid): (u32, u32),
    flags: i32,
) -> Result<Outcome, Errno> {
    let follow = flags & NO_FOLLOW == 0;
    let (_, file) = place.reach(follow, |place| place.point(follow))?;
    let found = Stat::at(file.as_fd(), c"", EMPTY_PATH)?;
    let owner = files.owner(file.as_fd(), &found.plain())?;
    // Root gives away what belongs to somebody in the container, and nobody else's.
    let foreign = found.plain().owner.0 == NOBODY && owner == found.plain().owner && (uid, gid) != (SAME, SAME);
    if foreign && rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(done(Err(Errno::ROFS)));
    }
    if foreign || !person.may_give(owner, uid, gid) {
        return Ok(done(Err(Errno::PERM)));
    }
    Ok(done(files.give(file.as_fd(), uid, gid)))
}
