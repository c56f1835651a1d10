//! A front end over the crate `fuser`, to measure the default one against.
//!
//! What it cannot do, since the crate cannot say it: nameless files, syncing of
//! the whole file system, taking set-user-id bits away only where the kernel
//! asks for it (so the kernel does, with a GETXATTR before a write).

#![allow(clippy::too_many_arguments, reason = "the crate's signatures")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use rustix::io::Errno as Failure;

use crate::filesystem::{
    Attributes, Caller, Change, CopyRange, FileSystem, Listed, Listing, Move, New, Seek, SetTime, SetXattr, Time, kind,
};

const FOREVER: Duration = Duration::from_secs(1 << 40);
const FIRST: Generation = Generation(0);

/// As [`crate::front::raw::serve`].
///
/// # Errors
/// What the crate says.
pub fn serve<F: FileSystem + 'static>(device: OwnedFd, filesystem: &Arc<F>, threads: usize) -> io::Result<()> {
    let mut config = fuser::Config::default();
    config.n_threads = Some(threads);
    let adapter = Adapter { filesystem: Arc::clone(filesystem), largest: 1 << 20 };
    Session::from_fd(adapter, device, SessionACL::All, config)?.run()
}

struct Adapter<F> {
    filesystem: Arc<F>,
    largest: u32,
}

fn failed(error: Failure) -> Errno {
    // "Not implemented" would be the last that is heard of the operation.
    Errno::from_i32(if error == Failure::NOSYS { Failure::OPNOTSUPP } else { error }.raw_os_error())
}

fn time(time: Time) -> SystemTime {
    let since = Duration::new(time.seconds.unsigned_abs(), time.nanoseconds);
    let at = if time.seconds < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    at.unwrap_or(UNIX_EPOCH)
}

fn set_time(time: TimeOrNow) -> SetTime {
    let TimeOrNow::SpecificTime(at) = time else { return SetTime::Now };
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    SetTime::At(match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { seconds: signed(since.as_secs()), nanoseconds: since.subsec_nanos() },
        Err(before) => Time { seconds: -signed(before.duration().as_secs()), nanoseconds: 0 },
    })
}

fn file_type(mode: u32) -> FileType {
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

fn attr(of: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(of.ino),
        size: of.size,
        blocks: of.blocks,
        atime: time(of.accessed),
        mtime: time(of.modified),
        ctime: time(of.changed),
        crtime: UNIX_EPOCH,
        kind: file_type(of.mode),
        perm: u16::try_from(of.mode & 0o7777).unwrap_or(0),
        nlink: of.links,
        uid: of.uid,
        gid: of.gid,
        rdev: of.rdev,
        blksize: 4096,
        flags: 0,
    }
}

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

fn entry(result: Result<Attributes, Failure>, reply: ReplyEntry) {
    match result {
        Ok(found) => reply.entry(&FOREVER, &attr(&found), FIRST),
        Err(error) => reply.error(failed(error)),
    }
}

fn empty(result: Result<(), Failure>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(failed(error)),
    }
}

fn attributes(result: Result<Attributes, Failure>, reply: ReplyAttr) {
    match result {
        Ok(found) => reply.attr(&FOREVER, &attr(&found)),
        Err(error) => reply.error(failed(error)),
    }
}

fn value(result: Result<Vec<u8>, Failure>, size: u32, reply: ReplyXattr) {
    match result {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(0)),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(failed(error)),
    }
}

struct Names<'a>(&'a mut ReplyDirectory);

impl Listing for Names<'_> {
    fn wants_attributes(&self) -> bool {
        false
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        let (ino, of) = (INodeNo(entry.attributes.ino), file_type(entry.attributes.mode));
        !self.0.add(ino, entry.next, of, OsStr::from_bytes(entry.name))
    }

    fn room(&self) -> usize {
        4096
    }
}

struct Entries<'a>(&'a mut ReplyDirectoryPlus);

impl Listing for Entries<'_> {
    fn wants_attributes(&self) -> bool {
        true
    }

    // The two dots are no entries to the kernel; all others it will count.
    fn needs_attributes(&self) -> bool {
        true
    }

    fn take(&mut self, entry: &Listed<'_>) -> bool {
        let name = OsStr::from_bytes(entry.name);
        !self.0.add(INodeNo(entry.attributes.ino), entry.next, name, &FOREVER, &attr(&entry.attributes), FIRST)
    }

    fn room(&self) -> usize {
        4096
    }
}

impl<F: FileSystem + 'static> Filesystem for Adapter<F> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA;
        // What this kernel does not know is left out.
        if let Err(unknown) = config.add_capabilities(wanted) {
            let _ = config.add_capabilities(wanted - unknown);
        }
        let _ = config.set_max_write(self.largest);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.filesystem.lookup(parent.0, name.as_bytes()) {
            // Number 0 is "there is none", in the form that is remembered.
            Err(Failure::NOENT) => reply.entry(&FOREVER, &attr(&Attributes::default()), FIRST),
            other => entry(other, reply),
        }
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.filesystem.forget(ino.0, count);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        attributes(self.filesystem.attributes(ino.0), reply);
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed_too: Option<SystemTime>,
        _saved: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (accessed, modified) = (accessed.map(set_time), modified.map(set_time));
        let change = Change { mode, uid, gid, size, accessed, modified, drop_privileges: false };
        attributes(self.filesystem.change(ino.0, &change), reply);
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.filesystem.read_link(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        mask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let new = New { mode, mask, rdev, target: b"" };
        entry(self.filesystem.make(parent.0, name.as_bytes(), &new, caller(request)), reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, mask: u32, reply: ReplyEntry) {
        let new = New { mode: kind::DIRECTORY | (mode & 0o7777), mask, rdev: 0, target: b"" };
        entry(self.filesystem.make(parent.0, name.as_bytes(), &new, caller(request)), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        let new = New { mode: kind::SYMLINK | 0o777, mask: 0, rdev: 0, target };
        entry(self.filesystem.make(parent.0, name.as_bytes(), &new, caller(request)), reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        mask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let new = New { mode: kind::REGULAR | (mode & 0o7777), mask, rdev: 0, target: b"" };
        match self.filesystem.make(parent.0, name.as_bytes(), &new, caller(request)) {
            Ok(made) => reply.created(&FOREVER, &attr(&made), FIRST, FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.filesystem.unlink(parent.0, name.as_bytes()), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.filesystem.rmdir(parent.0, name.as_bytes()), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = match flags {
            RenameFlags::RENAME_NOREPLACE => Move::KeepTarget,
            RenameFlags::RENAME_EXCHANGE => Move::Exchange,
            RenameFlags::RENAME_WHITEOUT => Move::LeaveWhiteout,
            none if none.is_empty() => Move::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        empty(self.filesystem.rename((parent.0, name.as_bytes()), (to.0, new_name.as_bytes()), how), reply);
    }

    fn link(&self, _request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.filesystem.link(ino.0, parent.0, name.as_bytes()), reply);
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        match self.filesystem.read(ino.0, offset, &mut buffer) {
            Ok(got) => reply.data(buffer.get(..got).unwrap_or_default()),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        flags: WriteFlags,
        _open: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let drop = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        match self.filesystem.write(ino.0, offset, bytes, drop) {
            Ok(put) => reply.written(u32::try_from(put).unwrap_or(0)),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        empty(self.filesystem.sync(ino.0, data_only), reply);
    }

    fn fsyncdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        empty(self.filesystem.sync(ino.0, data_only), reply);
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.filesystem.list(ino.0, offset, &mut Names(&mut reply)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        match self.filesystem.list(ino.0, offset, &mut Entries(&mut reply)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match self.filesystem.room() {
            Ok(room) => reply.statfs(
                room.blocks,
                room.free,
                room.available,
                room.files,
                room.files_free,
                room.block_size,
                room.name_max,
                room.fragment_size,
            ),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        bytes: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let how = SetXattr { flags: flags.cast_unsigned(), drop_group_id: false };
        empty(self.filesystem.set_xattr(ino.0, name.as_bytes(), bytes, how), reply);
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        value(self.filesystem.xattr(ino.0, name.as_bytes()), size, reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        value(self.filesystem.xattr_names(ino.0), size, reply);
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.filesystem.remove_xattr(ino.0, name.as_bytes()), reply);
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        empty(self.filesystem.allocate(ino.0, mode.cast_unsigned(), offset, length), reply);
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let what = match whence {
            3 => Seek::Data,
            4 => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        match self.filesystem.seek(ino.0, offset.cast_unsigned(), what) {
            Ok(at) => reply.offset(at.cast_signed()),
            Err(error) => reply.error(failed(error)),
        }
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        from: INodeNo,
        _from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let length = length.min(u64::from(u32::MAX - 4095));
        let range = CopyRange { from: from.0, from_offset, to: to.0, to_offset, length };
        match self.filesystem.copy_range(&range) {
            Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(0)),
            Err(error) => reply.error(failed(error)),
        }
    }
}
