//! Whose a file is, and making it somebody's.
//!
//! The root file system of our own server keeps that (`pybox_fuse_overlay::record`), and is asked. On any other file
//! system of the container a record is an extended attribute, and where there is none the memory of this process.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use pybox_fuse_overlay::record::{Record, TRUTH, XATTR};
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, XattrFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::sys::stat::Plain;

/// Files remembered before all are forgotten, and asked for again.
const MANY: usize = 1 << 16;
/// A file that changed less than this ago may change again without showing a later time, in nanoseconds.
const SETTLED: i64 = 20_000_000;

/// Seconds and nanoseconds since the epoch.
type Time = (i64, i64);

/// An owner, and the time of the last change that the file showed with it.
type Answered = (Time, (u32, u32));

/// What statfs(2) says of a FUSE mount (`FUSE_SUPER_MAGIC`).
const FUSE: rustix::fs::FsWord = 0x6573_5546;

/// When the file was made, where its file system tells.
fn birth(file: BorrowedFd<'_>) -> Result<Time, Errno> {
    let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
    Ok((found.stx_btime.tv_sec, found.stx_btime.tv_nsec.into()))
}

/// What is known of files.
#[derive(Debug)]
pub(super) struct Files {
    /// Our own `/proc/self/fd`, from which descriptors can be named.
    descriptors: OwnedFd,
    /// Answers that hold as long as the file shows the time of change that comes with them.
    remembered: HashMap<(u64, u64), Answered>,
    /// Owners of files that nothing else can hold, and when each was made: its number may become another one's.
    held: HashMap<(u64, u64), (Time, (u32, u32))>,
    /// File systems without attributes.
    plain: Vec<u64>,
}

impl Files {
    pub(super) fn new(descriptors: OwnedFd) -> Self {
        Self { descriptors, remembered: HashMap::new(), held: HashMap::new(), plain: Vec::new() }
    }

    /// Owner and group of the file behind `file`, which `plain` is of.
    pub(super) fn owner(&mut self, file: BorrowedFd<'_>, plain: &Plain) -> Result<(u32, u32), Errno> {
        if let Some(known) = self.remember(plain) {
            return Ok(known);
        }
        if let Some((made, owner)) = self.held.get(&(plain.device, plain.inode))
            && *made == birth(file)?
        {
            return Ok(*owner);
        }
        let record = match self.record(file, TRUTH) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => self.noted(file, plain)?,
            other => other?,
        };
        let owner = record.map_or(plain.owner, |record| (record.uid, record.gid));
        self.keep(plain, owner);
        Ok(owner)
    }

    /// The owner, if nothing has happened to the file since it was asked for.
    pub(super) fn remember(&self, plain: &Plain) -> Option<(u32, u32)> {
        let (change, owner) = self.remembered.get(&(plain.device, plain.inode))?;
        (*change == plain.change).then_some(*owner)
    }

    fn keep(&mut self, plain: &Plain, owner: (u32, u32)) {
        let (now, then) = (clock_gettime(ClockId::Realtime), plain.change);
        let age = now.tv_sec.saturating_sub(then.0).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec - then.1);
        if age < SETTLED {
            return;
        }
        if self.remembered.len() >= MANY {
            self.remembered.clear();
        }
        self.remembered.insert((plain.device, plain.inode), (then, owner));
    }

    /// A record that we have made ourselves.
    fn noted(&mut self, file: BorrowedFd<'_>, plain: &Plain) -> Result<Option<Record>, Errno> {
        if self.plain.contains(&plain.device) {
            return Ok(None);
        }
        match self.record(file, XATTR) {
            Err(Errno::OPNOTSUPP) => {
                self.plain.push(plain.device);
                Ok(None)
            }
            // Links and devices have no such attribute, whatever the file system.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => Ok(None),
            other => other,
        }
    }

    fn record(&self, file: BorrowedFd<'_>, name: &str) -> Result<Option<Record>, Errno> {
        let mut text = [0_u8; 96];
        // What only points at a file has no attributes; its name in /proc has those of the file.
        rustix::process::fchdir(&self.descriptors)?;
        let length = rustix::fs::getxattr(file.as_raw_fd().to_string(), name, &mut text)?;
        Ok(text.get(..length).and_then(Record::parse))
    }

    /// Gives the file to `uid` and `gid`; the highest number leaves one as it is.
    pub(super) fn give(&mut self, file: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(file)?;
        #[allow(clippy::unnecessary_cast, reason = "their types differ between architectures")]
        let change = (stat.st_ctime as i64, stat.st_ctime_nsec as i64);
        let plain = Plain { device: stat.st_dev, inode: stat.st_ino, change, owner: (stat.st_uid, stat.st_gid) };
        let before = self.owner(file, &plain)?;
        let or = |id, kept| if id == u32::MAX { kept } else { id };
        let record = Record { uid: or(uid, before.0), gid: or(gid, before.1), mode: stat.st_mode, rdev: 0 };
        let record = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice | FileType::BlockDevice => {
                Record { rdev: u32::try_from(stat.st_rdev).unwrap_or_default(), ..record }
            }
            _ => record,
        };
        let key = (stat.st_dev, stat.st_ino);
        self.remembered.remove(&key);
        match self.set(file, TRUTH, &record) {
            Ok(()) => return self.harmless(file, stat.st_mode),
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
        let owner = (record.uid, record.gid);
        let carries = matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory);
        if carries && self.set(file, XATTR, &record).is_ok() {
            return self.harmless(file, stat.st_mode);
        }
        if owner == plain.owner {
            self.held.remove(&key);
        } else {
            self.held.insert(key, (birth(file)?, owner));
        }
        self.harmless(file, stat.st_mode)
    }

    /// Takes the bits away that lend an owner's rights, as the kernel does whoever gives a file to whom. Our server
    /// has done so by then, but the kernel, which it cannot tell, still shows them.
    fn harmless(&self, file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
        let group = if mode & libc::S_IXGRP == 0 { 0 } else { libc::S_ISGID };
        let lends = mode & (libc::S_ISUID | group);
        if lends == 0 || FileType::from_raw_mode(mode) == FileType::Directory {
            return Ok(());
        }
        rustix::process::fchdir(&self.descriptors)?;
        rustix::fs::chmod(file.as_raw_fd().to_string(), Mode::from_raw_mode(mode & !lends & 0o7777))
    }

    /// Whether `file` is on a file system of a server that may be ours: elsewhere its attributes are like others.
    pub(super) fn serves_records(file: BorrowedFd<'_>) -> bool {
        rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type == FUSE)
    }

    fn set(&self, file: BorrowedFd<'_>, name: &str, record: &Record) -> Result<(), Errno> {
        self.set_text(file, name, record.text().as_bytes())
    }

    /// Sets an attribute of whatever `file` points at.
    pub(super) fn set_text(&self, file: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<(), Errno> {
        rustix::process::fchdir(&self.descriptors)?;
        rustix::fs::setxattr(file.as_raw_fd().to_string(), name, value, XattrFlags::empty())
    }
}
