//! The file that a call names, found as the kernel would find it for who asks.
//!
//! Paths are the kernel's to follow, in the root directory of who asks. What it cannot follow for us are the two
//! links of procfs that lead to whoever follows them, `self` and `thread-self`: we are in none of the container's
//! pid namespaces, and find nothing there. `/dev/stdout` leads through one. So where nothing is found, and there are links
//! on the way, the path is walked by hand, in the name of who asks.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use super::target::Target;

/// For a descriptor that only points.
pub(super) const POINT: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
pub(super) const EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;
/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;
/// Number of the root directory of every procfs (`PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// A file that a call names: the directory that the path begins in, and the path; an empty one is the directory
/// itself.
pub(super) struct Place<'t> {
    target: &'t Target,
    pub base: OwnedFd,
    pub path: CString,
}

/// Where a link leads.
enum Way {
    /// On, by this path.
    Path(Vec<u8>),
    /// Here: links below a process's directory in procfs have no path.
    Jump(OwnedFd),
}

impl<'t> Place<'t> {
    /// What a directory's descriptor and the address of a path name. Makes the target's root ours.
    pub(super) fn locate(target: &'t Target, (number, address): (i32, u64), flags: i32) -> Result<Self, Errno> {
        let path = match address {
            0 if flags & EMPTY_PATH != 0 => Vec::new(),
            address => target.string(address)?,
        };
        if path.is_empty() {
            if flags & EMPTY_PATH == 0 {
                return Err(Errno::NOENT);
            }
            return Ok(Self { target, base: target.base(number)?, path: CString::default() });
        }
        target.share_root()?;
        let base = if path.starts_with(b"/") {
            rustix::fs::openat(CWD, "/", POINT, Mode::empty())?
        } else {
            target.base(number)?
        };
        Ok(Self { target, base, path: CString::new(path).map_err(|_| Errno::INVAL)? })
    }

    /// What a descriptor is open on.
    pub(super) fn open(target: &'t Target, number: i32) -> Result<Self, Errno> {
        Ok(Self { target, base: target.file(number)?, path: CString::default() })
    }

    /// What `act` says of the place, or if it finds nothing, of the one that a walk comes to; and that place. A link in
    /// last place is walked over with `follow`.
    pub(super) fn reach<T>(
        self,
        follow: bool,
        mut act: impl FnMut(&Self) -> Result<T, Errno>,
    ) -> Result<(Self, T), Errno> {
        match act(&self) {
            Err(Errno::NOENT) if self.has_links(follow) => {
                let walked = self.walked(follow)?;
                let said = act(&walked)?;
                Ok((walked, said))
            }
            other => Ok((self, other?)),
        }
    }

    /// A descriptor that points at the file.
    pub(super) fn point(&self, follow: bool) -> Result<OwnedFd, Errno> {
        if self.path.is_empty() {
            return rustix::io::fcntl_dupfd_cloexec(&self.base, 0);
        }
        let flags = if follow { POINT } else { POINT | OFlags::NOFOLLOW };
        rustix::fs::openat(&self.base, self.path.as_c_str(), flags, Mode::empty())
    }

    /// The directory that the file lies in, and its own name.
    pub(super) fn split(&self) -> Result<(OwnedFd, CString), Errno> {
        let path = self.path.as_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = path.split_at(cut);
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EXIST);
        }
        let parent = if parent.is_empty() { b"." } else { parent };
        let directory = rustix::fs::openat(&self.base, parent, POINT | OFlags::DIRECTORY, Mode::empty())?;
        Ok((directory, CString::new(name).map_err(|_| Errno::INVAL)?))
    }

    fn has_links(&self, follow: bool) -> bool {
        let flags = if follow { POINT } else { POINT | OFlags::NOFOLLOW };
        let path = self.path.as_c_str();
        let opened = rustix::fs::openat2(&self.base, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        opened.err() == Some(Errno::LOOP)
    }

    /// The same place, with no link of procfs on the way that leads to who follows it.
    pub(super) fn walked(&self, follow: bool) -> Result<Self, Errno> {
        let slash = self.path.as_bytes().ends_with(b"/");
        let (mut here, mut links) = (rustix::io::fcntl_dupfd_cloexec(&self.base, 0)?, 0);
        let mut rest = parts(self.path.as_bytes());
        let place = |base, mut name: Vec<u8>| {
            name.extend(slash.then_some(b'/'));
            let path = CString::new(name).map_err(|_| Errno::INVAL)?;
            Ok(Self { target: self.target, base, path })
        };
        while let Some(name) = rest.pop() {
            let last = rest.is_empty();
            let found = match rustix::fs::openat(&here, name.as_slice(), POINT | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) if last => return place(here, name),
                other => other?,
            };
            let is_link = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Symlink;
            if last && !(is_link && (follow || slash)) {
                return place(here, name);
            }
            if !is_link {
                here = found;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            match self.way(here.as_fd(), &name, found.as_fd())? {
                Way::Jump(file) => here = file,
                Way::Path(path) => {
                    if path.starts_with(b"/") {
                        here = rustix::fs::openat(CWD, "/", POINT, Mode::empty())?;
                    }
                    rest.extend(parts(&path));
                }
            }
        }
        Ok(Self { target: self.target, base: here, path: CString::default() })
    }

    /// Where the link `name` in the directory `here` leads who asks.
    fn way(&self, here: BorrowedFd<'_>, name: &[u8], link: BorrowedFd<'_>) -> Result<Way, Errno> {
        let in_proc = rustix::fs::fstatfs(link)?.f_type == PROC_SUPER_MAGIC;
        if in_proc && rustix::fs::fstat(here)?.st_ino != PROC_ROOT {
            return rustix::fs::openat(here, name, POINT, Mode::empty()).map(Way::Jump);
        }
        let path = match name {
            b"self" if in_proc => self.target.number_in(here)?.0.to_string().into_bytes(),
            b"thread-self" if in_proc => {
                let (process, thread) = self.target.number_in(here)?;
                format!("{process}/task/{thread}").into_bytes()
            }
            _ => rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes(),
        };
        Ok(Way::Path(path))
    }
}

/// The names in a path, the first one last.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}
