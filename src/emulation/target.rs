//! The thread that asks: its memory, its directories and its files.
//!
//! All of it is reached through one descriptor of its directory in /proc, which stays that
//! thread's and becomes useless when it ends: no other can come to stand for it.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

/// As many bytes as a path has (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// `AT_FDCWD`, as it stands in an argument.
const WORKING_DIRECTORY: i32 = libc::AT_FDCWD;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A thread of the container.
#[derive(Debug)]
pub(super) struct Target {
    /// Its directory in the host's /proc.
    place: OwnedFd,
}

/// What `status` says of a thread, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// The thread that all of its process are counted by.
    pub leader: u32,
    pub parent: u32,
    pub umask: u32,
}

impl Target {
    /// The thread `pid` of the procfs `proc`.
    pub(super) fn open(proc: BorrowedFd<'_>, pid: u32) -> Result<Self, Errno> {
        let place = rustix::fs::openat(proc, pid.to_string(), DIRECTORY, Mode::empty())?;
        Ok(Self { place })
    }

    /// Whether it has not been reaped.
    pub(super) fn lives(&self) -> bool {
        rustix::fs::accessat(&self.place, "status", rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    pub(super) fn status(&self) -> Result<Status, Errno> {
        read_status(&self.place).map(|text| Status::parse(&text))
    }

    /// Its process's and its own number in the procfs whose root directory is `root`.
    pub(super) fn number_in(&self, root: BorrowedFd<'_>) -> Result<(u32, u32), Errno> {
        let namespace = |place: &OwnedFd| {
            let stat = rustix::fs::statat(place, "ns/pid", AtFlags::empty())?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let (text, own) = (read_status(&self.place)?, namespace(&self.place)?);
        let (processes, threads) = (numbers(&text, "NStgid"), numbers(&text, "NSpid"));
        // One number for each pid namespace that it is in, the innermost last; the directory is of one of them.
        for (process, thread) in processes.iter().zip(&threads).rev() {
            let Ok(found) = rustix::fs::openat(root, process.to_string(), DIRECTORY, Mode::empty()) else { continue };
            if read_status(&found).is_ok_and(|text| numbers(&text, "NStgid").last() == processes.last())
                && namespace(&found) == Ok(own)
            {
                return Ok((*process, *thread));
            }
        }
        Err(Errno::NOENT)
    }

    /// Whether a descriptor of its was opened with `O_PATH`.
    pub(super) fn only_points(&self, number: i32) -> bool {
        let text = self.text(&format!("fdinfo/{number}")).unwrap_or_default();
        let flags = line(&text, "flags");
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| OFlags::from_bits_retain(flags).contains(OFlags::PATH))
    }

    /// The threads of its process.
    pub(super) fn threads(&self) -> Result<Vec<u32>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut threads = Vec::new();
        for entry in Dir::new(rustix::fs::openat(&self.place, "task", flags, Mode::empty())?)? {
            threads.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(threads)
    }

    /// The processes that one of its threads has made; none where the kernel does not tell
    /// (`CONFIG_PROC_CHILDREN`).
    pub(super) fn children_of(&self, thread: u32) -> Vec<u32> {
        let text = self.text(&format!("task/{thread}/children")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// A file of its directory, whole; none if it cannot be read.
    fn text(&self, path: &str) -> Option<String> {
        let file = rustix::fs::openat(&self.place, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        std::io::read_to_string(File::from(file.ok()?)).ok()
    }

    /// The bytes at `address`; all of them, or EFAULT.
    pub(super) fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let memory = rustix::fs::openat(&self.place, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::io::pread(&memory, &mut *into, address) {
            Ok(length) if length == into.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// Writes `bytes` to `address`; what cannot be written there is EFAULT.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let memory = rustix::fs::openat(&self.place, "mem", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::io::pwrite(&memory, bytes, address) {
            Ok(length) if length == bytes.len() => Ok(()),
            Ok(_) | Err(Errno::IO) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// The string at `address`, without its zero byte.
    pub(super) fn string(&self, address: u64) -> Result<Vec<u8>, Errno> {
        const PAGE: u64 = 4096;
        if address == 0 {
            return Err(Errno::FAULT);
        }
        let memory = rustix::fs::openat(&self.place, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut string = Vec::new();
        let mut piece = [0_u8; 256];
        while string.len() < LONGEST_PATH {
            let at = address.checked_add(string.len() as u64).ok_or(Errno::FAULT)?;
            // Not over the end of a page: the next one may not be there.
            let room = usize::try_from(PAGE - at % PAGE).unwrap_or(1).min(piece.len());
            let into = piece.get_mut(..room).unwrap_or_default();
            let length = rustix::io::pread(&memory, &mut *into, at).map_err(|_| Errno::FAULT)?;
            let read = piece.get(..length).filter(|read| !read.is_empty()).ok_or(Errno::FAULT)?;
            if let Some(end) = read.iter().position(|byte| *byte == 0) {
                string.extend_from_slice(read.get(..end).unwrap_or_default());
                return Ok(string);
            }
            string.extend_from_slice(read);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// What a descriptor of its stands for.
    pub(super) fn file(&self, number: i32) -> Result<OwnedFd, Errno> {
        let name = format!("fd/{number}");
        match rustix::fs::openat(&self.place, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => Err(Errno::BADF),
            other => other,
        }
    }

    /// The directory that a relative path begins in.
    pub(super) fn base(&self, number: i32) -> Result<OwnedFd, Errno> {
        match number {
            WORKING_DIRECTORY => rustix::fs::openat(&self.place, "cwd", DIRECTORY, Mode::empty()),
            number => self.file(number),
        }
    }

    /// Makes its root directory ours, so that paths and links mean to us what they mean to it.
    pub(super) fn share_root(&self) -> Result<(), Errno> {
        let root = rustix::fs::openat(&self.place, "root", DIRECTORY, Mode::empty())?;
        rustix::process::fchdir(root.as_fd())?;
        rustix::process::chroot(c".")
    }
}

/// `status` of the thread whose directory in a procfs this is.
fn read_status(place: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let file = rustix::fs::openat(place, "status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0_u8; 4096];
    let length = rustix::io::read(&file, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// What stands behind `name` in a file of such lines.
fn line<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// The numbers of a line of `status`.
fn numbers(text: &[u8], name: &str) -> Vec<u32> {
    let text = String::from_utf8_lossy(text);
    let numbers = line(&text, name).unwrap_or_default().split_ascii_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

impl Status {
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str, radix| {
            line(&text, name).and_then(|value| u32::from_str_radix(value.trim(), radix).ok()).unwrap_or_default()
        };
        Self { leader: field("Tgid", 10), parent: field("PPid", 10), umask: field("Umask", 8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ourselves() -> Target {
        let proc = rustix::fs::open("/proc", DIRECTORY, Mode::empty()).expect("/proc");
        Target::open(proc.as_fd(), std::process::id()).expect("ourselves")
    }

    #[test]
    fn status_is_read() {
        let text = b"Name:\tx\nUmask:\t0022\nTgid:\t17\nPid:\t18\nPPid:\t4\nTracerPid:\t0\n";
        assert_eq!(Status::parse(text), Status { leader: 17, parent: 4, umask: 0o22 });
        assert_eq!(Status::parse(b"Umask:\tx\nTgid"), Status::default());
        assert_eq!(ourselves().status().expect("status").leader, std::process::id());
    }

    #[test]
    fn kin_is_found() {
        let mut child = std::process::Command::new("sleep").arg("9").spawn().expect("sleep");
        let (target, thread) = (ourselves(), rustix::thread::gettid().as_raw_pid().cast_unsigned());
        let threads = target.threads().expect("threads");
        assert!(threads.contains(&thread) && threads.contains(&std::process::id()), "{thread} {threads:?}");
        // Of the test's own thread, or of another one where the kernel counts it so.
        assert!(threads.iter().any(|thread| target.children_of(*thread).contains(&child.id())), "{threads:?}");
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert_eq!(target.children_of(1_000_000_000), Vec::<u32>::new());
    }

    #[test]
    fn memory_is_read_and_written_or_refused() {
        let target = ourselves();
        let long = [b"x".repeat(5000), vec![0]].concat();
        let word = *b"word\0";
        let address = |bytes: &[u8]| bytes.as_ptr() as u64;
        assert_eq!(target.string(address(&word)), Ok(b"word".to_vec()));
        assert_eq!(target.string(address(&long)), Err(Errno::NAMETOOLONG));
        assert_eq!(target.string(0), Err(Errno::FAULT));
        assert_eq!(target.string(8), Err(Errno::FAULT));
        assert_eq!(target.string(u64::MAX - 3), Err(Errno::FAULT));
        let place = Box::new([0_u8; 4]);
        target.write(address(&*place), b"abcd").expect("writable");
        let mut back = [0; 4];
        target.read(address(&*place), &mut back).expect("readable");
        assert_eq!(&back, b"abcd");
        assert_eq!(target.write(8, b"x"), Err(Errno::FAULT));
        assert_eq!(target.file(1_000_000).map(drop), Err(Errno::BADF));
    }
}
