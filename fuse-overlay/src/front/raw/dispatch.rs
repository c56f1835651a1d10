//! One request: read its fields, call the file system, write the answer.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::answer::Answer;
use super::greeting::Agreed;
use super::wire::{
    Body, FSYNC_DATA_ONLY, Header, SETXATTR_ACL_KILL_SGID, WRITE_KILL_SUIDGID, operation as op, parse, valid,
};
use crate::filesystem::{Caller, Change, CopyRange, FileSystem, Move, New, Seek, SetTime, SetXattr, Time, kind};

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

/// Answers a request.
pub(super) fn answer(
    request: &[u8],
    filesystem: &impl FileSystem,
    agreed: &Agreed,
    (device, answer): (BorrowedFd<'_>, &mut Answer),
) -> Result<(), Errno> {
    let Some((header, body)) = parse(request) else { return Err(Errno::PROTO) };
    answer.clear();
    match header.operation {
        op::FORGET | op::BATCH_FORGET => {
            // There is no answer, whatever it says.
            let _ = forget(&header, body, filesystem);
            Ok(())
        }
        op::READ => match read_fields(body) {
            Ok((offset, size)) => {
                let read = |into: &mut [u8]| filesystem.read(header.node, offset, into);
                let sent = answer.send_contents(device, header.unique, size as usize, read);
                filesystem.read_ahead();
                sent
            }
            Err(error) => answer.send(device, header.unique, Err(error)),
        },
        _ => {
            let done = Call { header, body, filesystem, agreed, answer }.run();
            answer.send(device, header.unique, done)
        }
    }
}

fn forget(header: &Header, mut body: Body<'_>, filesystem: &impl FileSystem) -> Result<(), Errno> {
    if header.operation == op::FORGET {
        filesystem.forget(header.node, body.u64()?);
        return Ok(());
    }
    let count = body.u32()?;
    body.skip(4)?;
    for _ in 0..count {
        filesystem.forget(body.u64()?, body.u64()?);
    }
    Ok(())
}

/// Offset and size of a READ or a listing.
fn read_fields(mut body: Body<'_>) -> Result<(u64, u32), Errno> {
    body.skip(8)?;
    Ok((body.u64()?, body.u32()?))
}

/// A call on its way.
struct Call<'a, F> {
    header: Header,
    body: Body<'a>,
    filesystem: &'a F,
    agreed: &'a Agreed,
    answer: &'a mut Answer,
}

impl<F: FileSystem> Call<'_, F> {
    fn run(mut self) -> Result<(), Errno> {
        if self.header.operation == op::GETXATTR && !self.filesystem.has_xattrs() {
            // Here the word is meant: there are none.
            return Err(Errno::NOSYS);
        }
        match self.perform() {
            // To the kernel this one means "never ask again", and it is this
            // module's to say. From a disk it is about one file.
            Err(Errno::NOSYS) if implements(self.header.operation) => Err(Errno::OPNOTSUPP),
            other => other,
        }
    }

    fn perform(&mut self) -> Result<(), Errno> {
        let node = self.header.node;
        match self.header.operation {
            op::LOOKUP => self.lookup(),
            op::GETATTR => {
                let attributes = self.filesystem.attributes(node)?;
                self.answer.only_attributes(&attributes);
                Ok(())
            }
            op::SETATTR => self.set_attributes(),
            op::READLINK => {
                let target = self.filesystem.read_link(node)?;
                self.answer.raw(&target);
                Ok(())
            }
            op::SYMLINK => {
                let (name, target) = (self.body.name()?, self.body.name()?);
                self.make(name, &New { mode: kind::SYMLINK | 0o777, mask: 0, rdev: 0, target })
            }
            op::MKNOD => self.make_node(),
            op::MKDIR => {
                let (mode, mask) = (self.body.u32()?, self.body.u32()?);
                let name = self.body.name()?;
                self.make(name, &New { mode: kind::DIRECTORY | (mode & 0o7777), mask, rdev: 0, target: b"" })
            }
            op::TMPFILE => self.create_nameless(),
            op::UNLINK => self.filesystem.unlink(node, self.body.name()?),
            op::RMDIR => self.filesystem.rmdir(node, self.body.name()?),
            op::RENAME | op::RENAME2 => self.rename(),
            op::LINK => {
                let old = self.body.u64()?;
                let attributes = self.filesystem.link(old, node, self.body.name()?)?;
                self.answer.entry(&attributes);
                Ok(())
            }
            op::WRITE => self.write(),
            op::FSYNC | op::FSYNCDIR => {
                self.body.skip(8)?;
                let flags = self.body.u32()?;
                self.filesystem.sync(node, flags & FSYNC_DATA_ONLY != 0)
            }
            op::SYNCFS => self.filesystem.sync_all(),
            _ => self.perform_rarer(),
        }
    }

    fn perform_rarer(&mut self) -> Result<(), Errno> {
        let node = self.header.node;
        match self.header.operation {
            op::READDIR | op::READDIRPLUS => {
                let (offset, size) = read_fields(self.body)?;
                let plus = self.header.operation == op::READDIRPLUS;
                self.filesystem.list(node, offset, &mut self.answer.listing(size, plus))
            }
            op::GETXATTR | op::LISTXATTR => self.get_xattr(),
            op::SETXATTR => self.set_xattr(),
            op::REMOVEXATTR => self.filesystem.remove_xattr(node, self.body.name()?),
            op::STATFS => {
                let room = self.filesystem.room()?;
                self.answer.room(&room);
                Ok(())
            }
            op::FALLOCATE => {
                self.body.skip(8)?;
                let (offset, length, mode) = (self.body.u64()?, self.body.u64()?, self.body.u32()?);
                self.filesystem.allocate(node, mode, offset, length)
            }
            op::LSEEK => self.seek(),
            op::COPY_FILE_RANGE | op::COPY_FILE_RANGE_64 => self.copy_range(),
            op::RELEASE | op::RELEASEDIR | op::DESTROY => Ok(()),
            // Said once to OPEN, OPENDIR, FLUSH, ACCESS, INTERRUPT and the like,
            // it spares all further ones. To CREATE too: the kernel then makes
            // files by MKNOD and opens them without us, which spares a RELEASE each.
            _ => Err(Errno::NOSYS),
        }
    }

    fn lookup(&mut self) -> Result<(), Errno> {
        match self.filesystem.lookup(self.header.node, self.body.name()?) {
            Ok(attributes) => self.answer.entry(&attributes),
            Err(Errno::NOENT) => self.answer.no_entry(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn caller(&self) -> Caller {
        Caller { uid: self.header.uid, gid: self.header.gid }
    }

    fn make(&mut self, name: &[u8], new: &New<'_>) -> Result<(), Errno> {
        let attributes = self.filesystem.make(self.header.node, name, new, self.caller())?;
        self.answer.entry(&attributes);
        Ok(())
    }

    fn make_node(&mut self) -> Result<(), Errno> {
        let (mode, rdev, mask) = (self.body.u32()?, self.body.u32()?, self.body.u32()?);
        self.body.skip(4)?;
        let mode = if mode & kind::MASK == 0 { mode | kind::REGULAR } else { mode };
        let name = self.body.name()?;
        self.make(name, &New { mode, mask, rdev, target: b"" })
    }

    fn create_nameless(&mut self) -> Result<(), Errno> {
        self.body.skip(4)?;
        let (mode, mask) = (self.body.u32()?, self.body.u32()?);
        let new = New { mode: kind::REGULAR | (mode & 0o7777), mask, rdev: 0, target: b"" };
        let attributes = self.filesystem.make_nameless(self.header.node, &new, self.caller())?;
        self.answer.entry(&attributes);
        self.answer.opened();
        Ok(())
    }

    fn rename(&mut self) -> Result<(), Errno> {
        let parent = self.body.u64()?;
        let mut flags = 0;
        if self.header.operation == op::RENAME2 {
            flags = self.body.u32()?;
            self.body.skip(4)?;
        }
        let how = match flags {
            0 => Move::Replace,
            RENAME_NOREPLACE => Move::KeepTarget,
            RENAME_EXCHANGE => Move::Exchange,
            RENAME_WHITEOUT => Move::LeaveWhiteout,
            _ => return Err(Errno::INVAL),
        };
        let (old, new) = (self.body.name()?, self.body.name()?);
        self.filesystem.rename((self.header.node, old), (parent, new), how)
    }

    fn write(&mut self) -> Result<(), Errno> {
        self.body.skip(8)?;
        let (offset, size, flags) = (self.body.u64()?, self.body.u32()?, self.body.u32()?);
        self.body.skip(16)?;
        let bytes = self.body.bytes(size as usize)?;
        let drop = flags & WRITE_KILL_SUIDGID != 0;
        let written = self.filesystem.write(self.header.node, offset, bytes, drop)?;
        self.answer.u32(u32::try_from(written).map_err(|_| Errno::IO)?);
        self.answer.u32(0);
        Ok(())
    }

    fn set_attributes(&mut self) -> Result<(), Errno> {
        let fields = self.body.u32()?;
        self.body.skip(12)?;
        let size = self.body.u64()?;
        self.body.skip(8)?;
        let (accessed, modified, _) = (self.body.u64()?, self.body.u64()?, self.body.u64()?);
        let (accessed_part, modified_part, _) = (self.body.u32()?, self.body.u32()?, self.body.u32()?);
        let mode = self.body.u32()?;
        self.body.skip(4)?;
        let (uid, gid) = (self.body.u32()?, self.body.u32()?);
        let has = |bit: u32| fields & bit != 0;
        let time = |set: bool, now: bool, seconds: u64, nanoseconds: u32| match (set, now) {
            (false, _) => None,
            (true, true) => Some(SetTime::Now),
            (true, false) => Some(SetTime::At(Time { seconds: seconds.cast_signed(), nanoseconds })),
        };
        let change = Change {
            mode: has(valid::MODE).then_some(mode),
            uid: has(valid::UID).then_some(uid),
            gid: has(valid::GID).then_some(gid),
            size: has(valid::SIZE).then_some(size),
            accessed: time(has(valid::ATIME), has(valid::ATIME_NOW), accessed, accessed_part),
            modified: time(has(valid::MTIME), has(valid::MTIME_NOW), modified, modified_part),
            drop_privileges: has(valid::KILL_SUIDGID),
        };
        let attributes = self.filesystem.change(self.header.node, &change)?;
        self.answer.only_attributes(&attributes);
        Ok(())
    }

    fn get_xattr(&mut self) -> Result<(), Errno> {
        let asked = self.body.u32()?;
        self.body.skip(4)?;
        let value = if self.header.operation == op::GETXATTR {
            self.filesystem.xattr(self.header.node, self.body.name()?)?
        } else {
            self.filesystem.xattr_names(self.header.node)?
        };
        self.answer.value(&value, asked)
    }

    fn set_xattr(&mut self) -> Result<(), Errno> {
        let (size, flags) = (self.body.u32()?, self.body.u32()?);
        let mut more = 0;
        if self.agreed.long_setxattr {
            more = self.body.u32()?;
            self.body.skip(4)?;
        }
        let name = self.body.name()?;
        let value = self.body.bytes(size as usize)?;
        let how = SetXattr { flags, drop_group_id: more & SETXATTR_ACL_KILL_SGID != 0 };
        self.filesystem.set_xattr(self.header.node, name, value, how)
    }

    fn seek(&mut self) -> Result<(), Errno> {
        self.body.skip(8)?;
        let (offset, whence) = (self.body.u64()?, self.body.u32()?);
        let what = match whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return Err(Errno::INVAL),
        };
        let found = self.filesystem.seek(self.header.node, offset, what)?;
        self.answer.u64(found);
        Ok(())
    }

    fn copy_range(&mut self) -> Result<(), Errno> {
        self.body.skip(8)?;
        let (from_offset, to) = (self.body.u64()?, self.body.u64()?);
        self.body.skip(8)?;
        let (to_offset, length) = (self.body.u64()?, self.body.u64()?);
        let from = self.header.node;
        let long = self.header.operation == op::COPY_FILE_RANGE_64;
        let most = if long { u64::MAX } else { u64::from(u32::MAX - 4095) };
        let range = CopyRange { from, from_offset, to, to_offset, length: length.min(most) };
        let copied = self.filesystem.copy_range(&range)?;
        if long {
            self.answer.u64(copied);
        } else {
            self.answer.u32(u32::try_from(copied).map_err(|_| Errno::IO)?);
            self.answer.u32(0);
        }
        Ok(())
    }
}

/// Whether the operation is one that is answered here at all.
fn implements(operation: u32) -> bool {
    matches!(
        operation,
        op::LOOKUP..=op::LINK
            | op::WRITE..=op::RELEASE
            | op::FSYNC..=op::REMOVEXATTR
            | op::READDIR..=op::FSYNCDIR
            | op::FALLOCATE..=op::COPY_FILE_RANGE
            | op::SYNCFS
            | op::TMPFILE
            | op::COPY_FILE_RANGE_64
    )
}
