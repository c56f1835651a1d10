//! The trait between front ends and the core, and the words that both use.
//!
//! Every number of a node (`u64`) is its inode number: what the kernel calls a
//! node id and what `stat` shows are the same.

use rustix::io::Errno;

/// The number of the root directory.
pub const ROOT: u64 = 1;

/// The longest name that a directory entry can have.
pub const NAME_MAX: usize = 255;

/// A point in time, as `stat` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of that second.
    pub nanoseconds: u32,
}

/// What `stat` shows of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes on disk.
    pub blocks: u64,
    /// Last access.
    pub accessed: Time,
    /// Last change of contents.
    pub modified: Time,
    /// Last change of anything.
    pub changed: Time,
    /// File type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, as [`device_number`] packs it.
    pub rdev: u32,
}

impl Attributes {
    /// The file type bits of the mode.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.mode & kind::MASK
    }
}

/// File types, as they stand in a mode.
pub mod kind {
    /// The bits of a mode that hold the type.
    pub const MASK: u32 = 0o170_000;
    /// Named pipe.
    pub const FIFO: u32 = 0o010_000;
    /// Character device.
    pub const CHARACTER: u32 = 0o020_000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// Block device.
    pub const BLOCK: u32 = 0o060_000;
    /// Regular file.
    pub const REGULAR: u32 = 0o100_000;
    /// Symbolic link.
    pub const SYMLINK: u32 = 0o120_000;
    /// Socket.
    pub const SOCKET: u32 = 0o140_000;
}

/// Packs a device number the way the kernel's own 32-bit form has it.
#[must_use]
pub fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Major and minor of what [`device_number`] packed.
#[must_use]
pub fn device_parts(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00))
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// File system user id, in the mount's user namespace.
    pub uid: u32,
    /// File system group id, in the mount's user namespace.
    pub gid: u32,
}

/// What a new node is to be.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// File type and permission bits, before the mask.
    pub mode: u32,
    /// The caller's file mode creation mask.
    pub mask: u32,
    /// Device number.
    pub rdev: u32,
    /// Where a symbolic link points to.
    pub target: &'a [u8],
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// This one.
    At(Time),
    /// The moment of the call.
    Now,
}

/// Attributes to be changed; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Time of last access.
    pub accessed: Option<SetTime>,
    /// Time of last change of contents.
    pub modified: Option<SetTime>,
    /// Take the set-user-id and set-group-id bits away.
    pub drop_privileges: bool,
}

/// How a name is to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Move {
    /// Replaces what stands there.
    #[default]
    Replace,
    /// Fails with EEXIST if something stands there.
    KeepTarget,
    /// Both names change places.
    Exchange,
    /// Replaces, and leaves a whiteout (a character device 0:0) behind.
    LeaveWhiteout,
}

/// What `lseek` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is stored.
    Data,
    /// The next hole, or the end.
    Hole,
}

/// What `setxattr` may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetXattr {
    /// `XATTR_CREATE` and `XATTR_REPLACE`.
    pub flags: u32,
    /// Take the set-group-id bit away, as setting an access list by one who is
    /// not in the group does.
    pub drop_group_id: bool,
}

/// Room and use of a file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for those who are not root.
    pub available: u64,
    /// Inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Bytes of a preferred request.
    pub block_size: u32,
    /// Bytes of a block.
    pub fragment_size: u32,
    /// Longest name.
    pub name_max: u32,
}

/// One entry of a directory listing.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Where the listing goes on behind this entry.
    pub next: u64,
    /// Inode number and type; all of it if `known`.
    pub attributes: Attributes,
    /// Whether the entry carries its attributes, and counts as a lookup.
    pub known: bool,
}

/// Takes the entries of a listing.
pub trait Listing {
    /// Whether attributes are wanted.
    fn wants_attributes(&self) -> bool;
    /// Whether the protocol's form of such a listing cannot leave them out.
    fn needs_attributes(&self) -> bool {
        false
    }
    /// Takes an entry; `false` if there was no more room for it.
    fn take(&mut self, entry: &Listed<'_>) -> bool;
    /// How many bytes of listing there is room for, about.
    fn room(&self) -> usize;
}

/// The part of a range that `copy_range` works on.
#[derive(Clone, Copy, Debug)]
pub struct CopyRange {
    /// The file to read.
    pub from: u64,
    /// Where reading begins.
    pub from_offset: u64,
    /// The file to write.
    pub to: u64,
    /// Where writing begins.
    pub to_offset: u64,
    /// Bytes.
    pub length: u64,
}

/// What a file system does, whatever the protocol that asks.
///
/// All calls may come from several threads at the same time. None panics; a
/// call that cannot be served is an errno.
pub trait FileSystem: Send + Sync {
    /// Finds a name; the answer counts as one lookup until [`FileSystem::forget`].
    ///
    /// # Errors
    /// ENOENT, and what the disk says.
    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attributes, Errno>;
    /// Takes `count` lookups back.
    fn forget(&self, ino: u64, count: u64);
    /// Attributes of a node.
    ///
    /// # Errors
    /// What the disk says.
    fn attributes(&self, ino: u64) -> Result<Attributes, Errno>;
    /// Changes attributes.
    ///
    /// # Errors
    /// What the disk says.
    fn change(&self, ino: u64, change: &Change) -> Result<Attributes, Errno>;
    /// The target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for what is none.
    fn read_link(&self, ino: u64) -> Result<Vec<u8>, Errno>;
    /// Makes a node of any kind; counts as a lookup.
    ///
    /// # Errors
    /// EEXIST, and what the disk says.
    fn make(&self, parent: u64, name: &[u8], new: &New<'_>, caller: Caller) -> Result<Attributes, Errno>;
    /// Makes a regular file without a name; counts as a lookup.
    ///
    /// # Errors
    /// What the disk says.
    fn make_nameless(&self, parent: u64, new: &New<'_>, caller: Caller) -> Result<Attributes, Errno>;
    /// Gives a node one more name; counts as a lookup.
    ///
    /// # Errors
    /// EEXIST, and what the disk says.
    fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<Attributes, Errno>;
    /// Removes a name of what is no directory.
    ///
    /// # Errors
    /// ENOENT, EISDIR, and what the disk says.
    fn unlink(&self, parent: u64, name: &[u8]) -> Result<(), Errno>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY, and what the disk says.
    fn rmdir(&self, parent: u64, name: &[u8]) -> Result<(), Errno>;
    /// Moves a name.
    ///
    /// # Errors
    /// As of `renameat2(2)`.
    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Move) -> Result<(), Errno>;
    /// Reads bytes; fewer than asked for only at the end.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, ino: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// A read was answered, and nobody waits for the thread that did: time for what will be asked next.
    fn read_ahead(&self) {}
    /// Writes bytes; `drop_privileges` as in [`Change`].
    ///
    /// # Errors
    /// What the disk says.
    fn write(&self, ino: u64, offset: u64, bytes: &[u8], drop_privileges: bool) -> Result<usize, Errno>;
    /// Puts a node on disk; `data_only` as `fdatasync`.
    ///
    /// # Errors
    /// What the disk says.
    fn sync(&self, ino: u64, data_only: bool) -> Result<(), Errno>;
    /// Puts everything on disk.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_all(&self) -> Result<(), Errno>;
    /// `fallocate(2)`.
    ///
    /// # Errors
    /// What the disk says.
    fn allocate(&self, ino: u64, mode: u32, offset: u64, length: u64) -> Result<(), Errno>;
    /// Finds data or holes.
    ///
    /// # Errors
    /// ENXIO beyond the end.
    fn seek(&self, ino: u64, offset: u64, what: Seek) -> Result<u64, Errno>;
    /// `copy_file_range(2)`.
    ///
    /// # Errors
    /// What the disk says.
    fn copy_range(&self, range: &CopyRange) -> Result<u64, Errno>;
    /// Lists a directory from `offset` (0, or the `next` of an entry).
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self, ino: u64, offset: u64, listing: &mut dyn Listing) -> Result<(), Errno>;
    /// Room and use.
    ///
    /// # Errors
    /// What the disk says.
    fn room(&self) -> Result<Room, Errno>;
    /// Whether there is an extended attribute anywhere, or may ever be. The kernel asks for some
    /// with every file, unless it was told once that there are none.
    fn has_xattrs(&self) -> bool {
        true
    }
    /// An extended attribute.
    ///
    /// # Errors
    /// ENODATA.
    fn xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// Names of extended attributes, each ended by a zero byte.
    ///
    /// # Errors
    /// What the disk says.
    fn xattr_names(&self, ino: u64) -> Result<Vec<u8>, Errno>;
    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the disk says.
    fn set_xattr(&self, ino: u64, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Errno>;
    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA.
    fn remove_xattr(&self, ino: u64, name: &[u8]) -> Result<(), Errno>;
}
