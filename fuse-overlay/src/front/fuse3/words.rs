//! Our words in those of the crate, and back.

use std::time::Duration;

use ::fuse3::raw::Request;
use ::fuse3::raw::reply::{FileAttr, ReplyAttr, ReplyEntry, ReplyXAttr};
use ::fuse3::{Errno, FileType, Result, SetAttr, Timestamp};
use rustix::io::Errno as Failure;

use crate::filesystem::{Attributes, Caller, Change, SetTime, Time, kind};

/// How long names and attributes hold: until the kernel changes them itself.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 40);

pub(super) fn failed(error: Failure) -> Errno {
    // "Not implemented" would be the last that is heard of the operation.
    Errno::from(if error == Failure::NOSYS { Failure::OPNOTSUPP } else { error }.raw_os_error())
}

pub(super) fn errno(error: Failure) -> Errno {
    Errno::from(error.raw_os_error())
}

pub(super) fn caller(request: Request) -> Caller {
    Caller { uid: request.uid, gid: request.gid }
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp::new(time.seconds, time.nanoseconds)
}

fn set_time(time: Timestamp) -> SetTime {
    // "Now" arrives as the moment at which it was read.
    SetTime::At(Time { seconds: time.sec, nanoseconds: time.nsec })
}

pub(super) fn change(set: &SetAttr) -> Change {
    Change {
        mode: set.mode,
        uid: set.uid,
        gid: set.gid,
        size: set.size,
        accessed: set.atime.map(set_time),
        modified: set.mtime.map(set_time),
        drop_privileges: false,
    }
}

pub(super) fn file_type(mode: u32) -> FileType {
    match mode & kind::MASK {
        kind::FIFO => FileType::NamedPipe,
        kind::CHARACTER => FileType::CharDevice,
        kind::DIRECTORY => FileType::Directory,
        kind::BLOCK => FileType::BlockDevice,
        kind::SYMLINK => FileType::Symlink,
        kind::SOCKET => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

pub(super) fn attr(of: &Attributes) -> FileAttr {
    FileAttr {
        ino: of.ino,
        size: of.size,
        blocks: of.blocks,
        atime: timestamp(of.accessed),
        mtime: timestamp(of.modified),
        ctime: timestamp(of.changed),
        kind: file_type(of.mode),
        perm: u16::try_from(of.mode & 0o7777).unwrap_or(0),
        nlink: of.links,
        uid: of.uid,
        gid: of.gid,
        rdev: of.rdev,
        blksize: 4096,
    }
}

pub(super) fn entry(found: std::result::Result<Attributes, Failure>) -> Result<ReplyEntry> {
    found.map(|found| ReplyEntry { ttl: FOREVER, attr: attr(&found), generation: 0 }).map_err(failed)
}

pub(super) fn attributes(found: std::result::Result<Attributes, Failure>) -> Result<ReplyAttr> {
    found.map(|found| ReplyAttr { ttl: FOREVER, attr: attr(&found) }).map_err(failed)
}

pub(super) fn value(value: std::result::Result<Vec<u8>, Failure>, asked: u32) -> Result<ReplyXAttr> {
    let value = value.map_err(failed)?;
    if asked == 0 {
        Ok(ReplyXAttr::Size(u32::try_from(value.len()).map_err(|_| errno(Failure::TOOBIG))?))
    } else if value.len() > asked as usize {
        Err(errno(Failure::RANGE))
    } else {
        Ok(ReplyXAttr::Data(value.into()))
    }
}
