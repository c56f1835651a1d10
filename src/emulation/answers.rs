//! What each call is answered.
//!
//! Whatever goes wrong on the way to an answer lets the kernel go on with the call, and say what it has to say
//! of it: a path that is not there, memory that cannot be written, a descriptor that is none. That is safe for
//! calls that the filter would have let through anyway, which all of these are: what one process with one id may
//! do the kernel judges, and we only change what it hears.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pybox_fuse_overlay::record::{ENTRY, Record};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::owners::Files;
use super::people::{Known, People};
use super::person::{Kind, Person};
use super::target::Target;
use crate::sys::notify::{self, Answer, Call};
use crate::sys::stat::{Stat, Statx};

const POINT: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;
const NO_FOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;

/// All that is known of a container's processes and files.
#[derive(Debug)]
pub(super) struct Answers {
    proc: OwnedFd,
    people: People,
    files: Files,
}

/// Where a call's answer comes from.
enum Outcome {
    /// It has to be sent.
    Answer(Answer),
    /// This file becomes a descriptor of who asks.
    File(OwnedFd, bool),
}

/// A file that a call names: the directory that the path begins in, and the path; an empty one is the directory
/// itself.
struct Place {
    base: OwnedFd,
    path: CString,
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
    let here = libc::AT_FDCWD;
    let [a, b, c, d, e, _] = call.arguments;
    match call.number() {
        libc::SYS_fstat => stat(target, files, (int(a), 0), EMPTY_PATH, b),
        libc::SYS_newfstatat => stat(target, files, (int(a), b), int(d), c),
        libc::SYS_statx => statx(target, files, (int(a), b), (int(c), id(d)), e),
        libc::SYS_fchown => chown((target, person), files, (int(a), 0), (id(b), id(c)), EMPTY_PATH),
        libc::SYS_fchownat => chown((target, person), files, (int(a), b), (id(c), id(d)), int(e)),
        libc::SYS_openat => open((target, person), files, (int(a), b), (int(c), id(d))),
        libc::SYS_mkdirat => make_directory((target, person), files, (int(a), b), id(c)),
        libc::SYS_symlinkat => make_link((target, person), files, a, (int(b), c)),
        libc::SYS_mknodat => make_node((target, person), files, (int(a), b), (id(c), id(d))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat => stat(target, files, (here, a), 0, b),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat => stat(target, files, (here, a), NO_FOLLOW, b),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => chown((target, person), files, (here, a), (id(b), id(c)), 0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => chown((target, person), files, (here, a), (id(b), id(c)), NO_FOLLOW),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => open((target, person), files, (here, a), (int(b), id(c))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            open((target, person), files, (here, a), (flags, id(b)))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => make_directory((target, person), files, (here, a), id(b)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_symlink => make_link((target, person), files, a, (here, b)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mknod => make_node((target, person), files, (here, a), (id(b), id(c))),
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

/// What a directory's descriptor and the address of a path name. Makes the target's root ours.
fn locate(target: &Target, (number, address): (i32, u64), flags: i32) -> Result<Place, Errno> {
    let path = match address {
        0 if flags & EMPTY_PATH != 0 => Vec::new(),
        address => target.string(address)?,
    };
    if path.is_empty() {
        if flags & EMPTY_PATH == 0 {
            return Err(Errno::NOENT);
        }
        return Ok(Place { base: target.base(number)?, path: CString::default() });
    }
    target.share_root()?;
    let base = if path.starts_with(b"/") {
        rustix::fs::openat(CWD, "/", POINT, Mode::empty())?
    } else {
        target.base(number)?
    };
    Ok(Place { base, path: CString::new(path).map_err(|_| Errno::INVAL)? })
}

impl Place {
    /// A descriptor that points at the file.
    fn point(self, follow: bool) -> Result<OwnedFd, Errno> {
        if self.path.is_empty() {
            return Ok(self.base);
        }
        let flags = if follow { POINT } else { POINT | OFlags::NOFOLLOW };
        rustix::fs::openat(&self.base, self.path.as_c_str(), flags, Mode::empty())
    }

    /// The directory that the file lies in, and its own name.
    fn split(&self) -> Result<(OwnedFd, CString), Errno> {
        let path = self.path.as_bytes();
        let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = path.split_at(cut);
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EXIST);
        }
        let parent = if parent.is_empty() { b"." } else { parent };
        let directory = rustix::fs::openat(&self.base, parent, POINT | OFlags::DIRECTORY, Mode::empty())?;
        Ok((directory, CString::new(name).map_err(|_| Errno::INVAL)?))
    }
}

fn stat(target: &Target, files: &mut Files, named: (i32, u64), flags: i32, into: u64) -> Result<Outcome, Errno> {
    let place = locate(target, named, flags)?;
    let found = Stat::at(place.base.as_fd(), &place.path, flags | EMPTY_PATH)?;
    let owner = match files.remember(&found.plain()) {
        Some(owner) => owner,
        None => files.owner(place.point(flags & NO_FOLLOW == 0)?.as_fd(), &found.plain())?,
    };
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
    let place = locate(target, named, flags)?;
    let found = Statx::at(place.base.as_fd(), &place.path, flags | EMPTY_PATH, mask)?;
    let owner = match files.remember(&found.plain()) {
        Some(owner) => owner,
        None => files.owner(place.point(flags & NO_FOLLOW == 0)?.as_fd(), &found.plain())?,
    };
    target.write(into, &found.owned_by(owner))?;
    Ok(done(Ok(())))
}

fn chown(
    (target, person): (&Target, &Person),
    files: &mut Files,
    named: (i32, u64),
    (uid, gid): (u32, u32),
    flags: i32,
) -> Result<Outcome, Errno> {
    let file = locate(target, named, flags)?.point(flags & NO_FOLLOW == 0)?;
    let found = Stat::at(file.as_fd(), c"", EMPTY_PATH)?;
    let owner = files.owner(file.as_fd(), &found.plain())?;
    if !person.may_give(owner.0, uid, gid) {
        return Ok(done(Err(Errno::PERM)));
    }
    Ok(done(files.give(file.as_fd(), uid, gid)))
}

/// Gives something new to who has made it.
fn hand_on(person: &Person, files: &mut Files, file: BorrowedFd<'_>) -> Result<(), Errno> {
    let found = Stat::at(file, c"", EMPTY_PATH)?;
    // A directory may have handed its group on.
    let inherited = files.owner(file, &found.plain())?.1;
    let gid = if inherited == 0 { person.group.files } else { inherited };
    files.give(file, person.user.files, gid)
}

/// Whether what it makes belongs to root in any case.
fn makes_as_root(person: &Person) -> bool {
    (person.user.files, person.group.files) == (0, 0)
}

fn open(
    (target, person): (&Target, &Person),
    files: &mut Files,
    named: (i32, u64),
    (flags, mode): (i32, u32),
) -> Result<Outcome, Errno> {
    if makes_as_root(person) {
        return Ok(Outcome::Answer(Answer::Go));
    }
    let mode = Mode::from_raw_mode(mode & 0o7777 & !target.status()?.umask);
    let place = locate(target, named, 0)?;
    // Only what is new is ours to make: the kernel opens the rest.
    let wanted = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::openat(&place.base, place.path.as_c_str(), wanted, mode)?;
    hand_on(person, files, file.as_fd())?;
    Ok(Outcome::File(file, flags & libc::O_CLOEXEC != 0))
}

fn make_directory(
    (target, person): (&Target, &Person),
    files: &mut Files,
    named: (i32, u64),
    mode: u32,
) -> Result<Outcome, Errno> {
    if makes_as_root(person) {
        return Ok(Outcome::Answer(Answer::Go));
    }
    let mode = Mode::from_raw_mode(mode & 0o1777 & !target.status()?.umask);
    let place = locate(target, named, 0)?;
    rustix::fs::mkdirat(&place.base, place.path.as_c_str(), mode)?;
    hand_on(person, files, place.point(false)?.as_fd())?;
    Ok(done(Ok(())))
}

fn make_link(
    (target, person): (&Target, &Person),
    files: &mut Files,
    text: u64,
    named: (i32, u64),
) -> Result<Outcome, Errno> {
    if makes_as_root(person) {
        return Ok(Outcome::Answer(Answer::Go));
    }
    let text = target.string(text)?;
    let place = locate(target, named, 0)?;
    rustix::fs::symlinkat(text, &place.base, place.path.as_c_str())?;
    hand_on(person, files, place.point(false)?.as_fd())?;
    Ok(done(Ok(())))
}

/// Makes a device, which is one in its record alone: nobody can open it; or for somebody else than root, a pipe,
/// a socket or a file.
fn make_node(
    (target, person): (&Target, &Person),
    files: &mut Files,
    named: (i32, u64),
    (mode, rdev): (u32, u32),
) -> Result<Outcome, Errno> {
    let device = matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK);
    if makes_as_root(person) && !device {
        return Ok(Outcome::Answer(Answer::Go));
    }
    let mode = mode & libc::S_IFMT | mode & 0o7777 & !target.status()?.umask;
    if !device {
        let place = locate(target, named, 0)?;
        let (kind, mode) = (FileType::from_raw_mode(mode), Mode::from_raw_mode(mode));
        rustix::fs::mknodat(&place.base, place.path.as_c_str(), kind, mode, 0)?;
        hand_on(person, files, place.point(false)?.as_fd())?;
        return Ok(done(Ok(())));
    }
    if person.user.files != 0 {
        return Ok(done(Err(Errno::PERM)));
    }
    let (directory, name) = locate(target, named, 0)?.split()?;
    let record = Record { uid: person.user.files, gid: person.group.files, mode, rdev };
    let text = [record.text().as_bytes(), b" ", name.as_bytes()].concat();
    match files.set_text(directory.as_fd(), ENTRY, &text) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(done(Err(Errno::EXIST))),
        Err(error) => return Err(error),
    }
    // Refused, but so the kernel forgets that there was nothing.
    let _ = rustix::fs::mknodat(&directory, name.as_c_str(), FileType::RegularFile, Mode::empty(), 0);
    Ok(done(Ok(())))
}
