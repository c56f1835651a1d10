//! A store on a file system of its own, that can be filled to the last byte, and made read-only.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::aftermath::armed;
use crate::fixture::cache::reachable;
use crate::fixture::skip;
use crate::harness::Live;

/// The world of a test whose `PYBOX_ROOT` is a small tmpfs, in a mount namespace of this thread.
pub(crate) struct SmallDisk {
    pub(crate) live: Live,
    place: PathBuf,
}

const NOTHING: Option<&str> = None;

impl SmallDisk {
    pub(crate) fn new(megabytes: u32) -> Option<Self> {
        let mut live = armed()?;
        if !live.user.judged_by_root() {
            skip("only root can mount a file system for a test");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("our own mounts");
        let name = live.dir.file_name().expect("a name").to_string_lossy().replace("t.", "small.");
        let place = reachable().expect("a place").join(name);
        fs::create_dir_all(&place).expect("mkdir");
        let options = format!("size={megabytes}m,mode=700,uid={},gid={}", live.user.uid, live.user.gid);
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("a tmpfs");
        live.store = place.clone();
        Some(Self { live, place })
    }

    /// Leaves so many bytes, and takes the rest until the answer is dropped.
    pub(crate) fn fill(&self, left: u64) -> Filler {
        let path = self.place.join("filler");
        let file = fs::File::create(&path).expect("a file");
        let free = self.free();
        let amount = i64::try_from(free.saturating_sub(left)).expect("a size");
        if amount > 0 {
            nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, amount).expect("fill");
        }
        Filler(path)
    }

    pub(crate) fn free(&self) -> u64 {
        let facts = nix::sys::statvfs::statvfs(&self.place).expect("statvfs");
        facts.blocks_available() * facts.fragment_size()
    }

    pub(crate) fn read_only(&self, read_only: bool) {
        let flags = if read_only { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
        let remount = || mount(NOTHING, &self.place, NOTHING, flags, NOTHING);
        let begun = std::time::Instant::now();
        // What settles layers after a pull may still have a file open.
        while remount() == Err(nix::errno::Errno::EBUSY) && begun.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        remount().expect("remount");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.place, MntFlags::MNT_DETACH).ok();
        fs::remove_dir(&self.place).ok();
    }
}

/// What takes all the room.
pub(crate) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}
