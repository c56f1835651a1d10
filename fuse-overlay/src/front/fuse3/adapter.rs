//! The crate's calls, as calls of our trait.

#![allow(clippy::too_many_arguments, reason = "the crate's signatures")]

use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use ::fuse3::raw::reply::{
    DirectoryEntry, DirectoryEntryPlus, ReplyAttr, ReplyCopyFileRange, ReplyCreated, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEntry, ReplyInit, ReplyLSeek, ReplyOpen, ReplyStatFs, ReplyWrite, ReplyXAttr,
};
use ::fuse3::raw::{Filesystem, Request};
use ::fuse3::{Inode, Result, SetAttr};
use futures_util::Stream;
use rustix::io::Errno as Failure;

use super::listing::{Entries, Names};
use super::words::{FOREVER, attributes, caller, change, entry, errno, failed, value};
use crate::filesystem::{Attributes, Change, CopyRange, FileSystem, Move, New, Seek, SetXattr, kind};

/// "Keep the cached pages."
const KEEP_CACHE: u32 = 1 << 1;
/// Take set-user-id bits away.
const WRITE_KILL_SUIDGID: u32 = 1 << 2;
const TRUNCATE: u32 = rustix::fs::OFlags::TRUNC.bits();
/// Requests that the kernel may have under way in the background.
const BACKGROUND: u16 = 64;

pub(super) struct Adapter<F> {
    filesystem: Arc<F>,
    largest: NonZeroU32,
}

impl<F: FileSystem> Adapter<F> {
    pub(super) fn new(filesystem: Arc<F>, largest: NonZeroU32) -> Self {
        Self { filesystem, largest }
    }

    fn make(&self, request: Request, (parent, name): (u64, &OsStr), new: &New<'_>) -> Result<ReplyEntry> {
        entry(self.filesystem.make(parent, name.as_bytes(), new, caller(request)))
    }
}

impl<F: FileSystem + 'static> Filesystem for Adapter<F> {
    async fn init(&self, _request: Request) -> Result<ReplyInit> {
        let mut agreed = ReplyInit::new(self.largest);
        agreed.max_background = Some(BACKGROUND);
        Ok(agreed)
    }

    async fn destroy(&self, _request: Request) {}

    async fn lookup(&self, _request: Request, parent: Inode, name: &OsStr) -> Result<ReplyEntry> {
        match self.filesystem.lookup(parent, name.as_bytes()) {
            // Number 0 is "there is none", in the form that is remembered.
            Err(Failure::NOENT) => entry(Ok(Attributes::default())),
            other => entry(other),
        }
    }

    async fn forget(&self, _request: Request, ino: Inode, count: u64) {
        self.filesystem.forget(ino, count);
    }

    async fn batch_forget(&self, _request: Request, all: &[(Inode, u64)]) {
        for (ino, count) in all {
            self.filesystem.forget(*ino, *count);
        }
    }

    async fn getattr(&self, _request: Request, ino: Inode, _handle: Option<u64>, _flags: u32) -> Result<ReplyAttr> {
        attributes(self.filesystem.attributes(ino))
    }

    async fn setattr(&self, _request: Request, ino: Inode, _handle: Option<u64>, set: SetAttr) -> Result<ReplyAttr> {
        attributes(self.filesystem.change(ino, &change(&set)))
    }

    async fn readlink(&self, _request: Request, ino: Inode) -> Result<ReplyData> {
        self.filesystem.read_link(ino).map(|target| ReplyData { data: target.into() }).map_err(failed)
    }

    async fn symlink(&self, request: Request, parent: Inode, name: &OsStr, target: &OsStr) -> Result<ReplyEntry> {
        let new = New { mode: kind::SYMLINK | 0o777, mask: 0, rdev: 0, target: target.as_bytes() };
        self.make(request, (parent, name), &new)
    }

    async fn mknod(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, rdev: u32) -> Result<ReplyEntry> {
        let mode = if mode & kind::MASK == 0 { mode | kind::REGULAR } else { mode };
        self.make(request, (parent, name), &New { mode, mask: 0, rdev, target: b"" })
    }

    async fn mkdir(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, _mask: u32) -> Result<ReplyEntry> {
        let new = New { mode: kind::DIRECTORY | (mode & 0o7777), mask: 0, rdev: 0, target: b"" };
        self.make(request, (parent, name), &new)
    }

    async fn create(&self, request: Request, parent: Inode, name: &OsStr, mode: u32, _: u32) -> Result<ReplyCreated> {
        let new = New { mode: kind::REGULAR | (mode & 0o7777), mask: 0, rdev: 0, target: b"" };
        let made = self.make(request, (parent, name), &new)?;
        Ok(ReplyCreated { ttl: FOREVER, attr: made.attr, generation: 0, fh: 0, flags: KEEP_CACHE })
    }

    async fn unlink(&self, _request: Request, parent: Inode, name: &OsStr) -> Result<()> {
        self.filesystem.unlink(parent, name.as_bytes()).map_err(failed)
    }

    async fn rmdir(&self, _request: Request, parent: Inode, name: &OsStr) -> Result<()> {
        self.filesystem.rmdir(parent, name.as_bytes()).map_err(failed)
    }

    async fn rename(&self, request: Request, parent: Inode, name: &OsStr, to: Inode, new_name: &OsStr) -> Result<()> {
        self.rename2(request, parent, name, to, new_name, 0).await
    }

    async fn rename2(
        &self,
        _request: Request,
        parent: Inode,
        name: &OsStr,
        to: Inode,
        new_name: &OsStr,
        flags: u32,
    ) -> Result<()> {
        let how = match flags {
            0 => Move::Replace,
            1 => Move::KeepTarget,
            2 => Move::Exchange,
            4 => Move::LeaveWhiteout,
            _ => return Err(errno(Failure::INVAL)),
        };
        self.filesystem.rename((parent, name.as_bytes()), (to, new_name.as_bytes()), how).map_err(failed)
    }

    async fn link(&self, _request: Request, ino: Inode, parent: Inode, name: &OsStr) -> Result<ReplyEntry> {
        entry(self.filesystem.link(ino, parent, name.as_bytes()))
    }

    async fn open(&self, _request: Request, ino: Inode, flags: u32) -> Result<ReplyOpen> {
        // The crate has told the kernel that opening truncates.
        if flags & TRUNCATE != 0 {
            self.filesystem.change(ino, &Change { size: Some(0), ..Change::default() }).map_err(failed)?;
        }
        Ok(ReplyOpen { fh: 0, flags: KEEP_CACHE })
    }

    async fn release(
        &self,
        _request: Request,
        _ino: Inode,
        _handle: u64,
        _flags: u32,
        _owner: u64,
        _flush: bool,
    ) -> Result<()> {
        Ok(())
    }

    async fn read(&self, _request: Request, ino: Inode, _handle: u64, offset: u64, size: u32) -> Result<ReplyData> {
        let mut buffer = vec![0; size as usize];
        let got = self.filesystem.read(ino, offset, &mut buffer).map_err(failed)?;
        buffer.truncate(got);
        Ok(ReplyData { data: buffer.into() })
    }

    async fn write(
        &self,
        _request: Request,
        ino: Inode,
        _handle: u64,
        offset: u64,
        bytes: &[u8],
        write_flags: u32,
        _flags: u32,
    ) -> Result<ReplyWrite> {
        let drop = write_flags & WRITE_KILL_SUIDGID != 0;
        let put = self.filesystem.write(ino, offset, bytes, drop).map_err(failed)?;
        Ok(ReplyWrite { written: u32::try_from(put).unwrap_or(0) })
    }

    async fn fsync(&self, _request: Request, ino: Inode, _handle: u64, data_only: bool) -> Result<()> {
        self.filesystem.sync(ino, data_only).map_err(failed)
    }

    async fn fsyncdir(&self, _request: Request, ino: Inode, _handle: u64, data_only: bool) -> Result<()> {
        self.filesystem.sync(ino, data_only).map_err(failed)
    }

    async fn readdir<'a>(
        &'a self,
        _request: Request,
        ino: Inode,
        _handle: u64,
        offset: i64,
    ) -> Result<ReplyDirectory<impl Stream<Item = Result<DirectoryEntry>> + Send + 'a>> {
        Ok(ReplyDirectory { entries: Names::of(&*self.filesystem, ino, offset)? })
    }

    async fn readdirplus<'a>(
        &'a self,
        _request: Request,
        ino: Inode,
        _handle: u64,
        offset: u64,
        _owner: u64,
    ) -> Result<ReplyDirectoryPlus<impl Stream<Item = Result<DirectoryEntryPlus>> + Send + 'a>> {
        Ok(ReplyDirectoryPlus { entries: Entries::of(&self.filesystem, ino, offset).map_err(failed)? })
    }

    async fn statfs(&self, _request: Request, _ino: Inode) -> Result<ReplyStatFs> {
        let room = self.filesystem.room().map_err(failed)?;
        Ok(ReplyStatFs {
            blocks: room.blocks,
            bfree: room.free,
            bavail: room.available,
            files: room.files,
            ffree: room.files_free,
            bsize: room.block_size,
            namelen: room.name_max,
            frsize: room.fragment_size,
        })
    }

    async fn setxattr(
        &self,
        _request: Request,
        ino: Inode,
        name: &OsStr,
        bytes: &[u8],
        flags: u32,
        _position: u32,
    ) -> Result<()> {
        let how = SetXattr { flags, drop_group_id: false };
        self.filesystem.set_xattr(ino, name.as_bytes(), bytes, how).map_err(failed)
    }

    async fn getxattr(&self, _request: Request, ino: Inode, name: &OsStr, size: u32) -> Result<ReplyXAttr> {
        value(self.filesystem.xattr(ino, name.as_bytes()), size)
    }

    async fn listxattr(&self, _request: Request, ino: Inode, size: u32) -> Result<ReplyXAttr> {
        value(self.filesystem.xattr_names(ino), size)
    }

    async fn removexattr(&self, _request: Request, ino: Inode, name: &OsStr) -> Result<()> {
        self.filesystem.remove_xattr(ino, name.as_bytes()).map_err(failed)
    }

    async fn fallocate(
        &self,
        _request: Request,
        ino: Inode,
        _handle: u64,
        offset: u64,
        length: u64,
        mode: u32,
    ) -> Result<()> {
        self.filesystem.allocate(ino, mode, offset, length).map_err(failed)
    }

    async fn lseek(&self, _request: Request, ino: Inode, _: u64, offset: u64, whence: u32) -> Result<ReplyLSeek> {
        let what = match whence {
            3 => Seek::Data,
            4 => Seek::Hole,
            _ => return Err(errno(Failure::INVAL)),
        };
        self.filesystem.seek(ino, offset, what).map(|offset| ReplyLSeek { offset }).map_err(failed)
    }

    async fn copy_file_range(
        &self,
        _request: Request,
        from: Inode,
        _from_handle: u64,
        from_offset: u64,
        to: Inode,
        _to_handle: u64,
        to_offset: u64,
        length: u64,
        _flags: u64,
    ) -> Result<ReplyCopyFileRange> {
        let length = length.min(u64::from(u32::MAX - 4095));
        let range = CopyRange { from, from_offset, to, to_offset, length };
        self.filesystem.copy_range(&range).map(|copied| ReplyCopyFileRange { copied }).map_err(failed)
    }
}
