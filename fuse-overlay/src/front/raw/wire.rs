//! The kernel's protocol as data: numbers of it, and safe reading of requests.

use rustix::io::Errno;

/// Major version of the protocol.
pub(super) const MAJOR: u32 = 7;
/// The minor version that is spoken; structures have not grown beyond it.
pub(super) const MINOR: u32 = 41;
/// The oldest minor version that is spoken to (Linux 5.12).
pub(super) const OLDEST_MINOR: u32 = 33;
/// Bytes of the header of a request.
pub(super) const IN_HEADER: usize = 40;
/// Bytes of the header of an answer.
pub(super) const OUT_HEADER: usize = 16;

/// What a request asks for.
pub(super) mod operation {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const INIT: u32 = 26;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
    pub const SYNCFS: u32 = 50;
    pub const TMPFILE: u32 = 51;
    pub const COPY_FILE_RANGE_64: u32 = 53;
}

/// What kernel and server agree on.
pub(super) mod capability {
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const NO_OPEN_SUPPORT: u64 = 1 << 17;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// Which fields of a SETATTR count.
pub(super) mod valid {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// Flag of a WRITE: take the bits away that lend rights.
pub(super) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// Flag of a SETXATTR: take the set-group-id bit away.
pub(super) const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// Flag of an FSYNC: contents only.
pub(super) const FSYNC_DATA_ONLY: u32 = 1 << 0;
/// Flag of an opened file: cached pages stay.
pub(super) const OPEN_KEEP_CACHE: u32 = 1 << 1;

/// The header of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub operation: u32,
    pub unique: u64,
    pub node: u64,
    pub uid: u32,
    pub gid: u32,
}

/// Splits a request into its header and a reader of the rest; `None` for what is none.
pub(super) fn parse(request: &[u8]) -> Option<(Header, Body<'_>)> {
    let mut head = Body(request.get(..IN_HEADER)?);
    let length = head.u32().ok()?;
    if length as usize != request.len() {
        return None;
    }
    let (operation, unique, node) = (head.u32().ok()?, head.u64().ok()?, head.u64().ok()?);
    let (uid, gid) = (head.u32().ok()?, head.u32().ok()?);
    Some((Header { operation, unique, node, uid, gid }, Body(request.get(IN_HEADER..)?)))
}

/// Reads the fields of a request one after the other; EINVAL where it is too short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        let (field, rest) = self.0.split_first_chunk::<4>().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u32::from_ne_bytes(*field))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        let (field, rest) = self.0.split_first_chunk::<8>().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*field))
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, bytes: usize) -> Result<(), Errno> {
        self.0 = self.0.get(bytes..).ok_or(Errno::INVAL)?;
        Ok(())
    }

    /// A name, ended by a zero byte.
    pub(super) fn name(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Errno::INVAL)?;
        let (name, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(name)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(operation: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(IN_HEADER + body.len()).expect("short");
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&operation.to_ne_bytes());
        bytes.extend_from_slice(&7_u64.to_ne_bytes());
        bytes.extend_from_slice(&1_u64.to_ne_bytes());
        for field in [1000_u32, 100, 42, 0] {
            bytes.extend_from_slice(&field.to_ne_bytes());
        }
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_lookup_is_read() {
        let bytes = request(operation::LOOKUP, b"name\0");
        let (header, mut body) = parse(&bytes).expect("a request");
        assert_eq!((header.operation, header.unique, header.node, header.uid, header.gid), (1, 7, 1, 1000, 100));
        assert_eq!(body.name(), Ok(&b"name"[..]));
        assert_eq!(body.u32(), Err(Errno::INVAL));
    }

    #[test]
    fn a_request_of_another_length_is_none() {
        let mut bytes = request(operation::LOOKUP, b"name\0");
        bytes.pop();
        assert!(parse(&bytes).is_none());
        assert!(parse(b"").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Some((_, mut body)) = parse(&bytes) {
                let _ = (body.u32(), body.u64(), body.name(), body.bytes(9), body.skip(3));
            }
        }
    }
}
