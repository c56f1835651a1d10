//! Places that are made to mount something on, and that are no change of the container's.
//!
//! They are made before the command begins, and looked at: whoever touches one of them afterwards, or a
//! directory above it that came up from the layers for its sake, sets its time of change. What still has
//! the old one is as we made it.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::{clean, failed, make_directories, real};
use crate::snapshot::failure::Failure;
use crate::snapshot::worker::view::{MountPoint, Stub};
use crate::sys::path::{RootFd, lstat_at};

/// Makes what is missing of `places`. Looks at them when all are made: making one changes the directory above.
pub(super) fn prepare(root: &RootFd, places: &[MountPoint]) -> Result<Vec<Stub>, Failure> {
    let mut paths = Vec::new();
    for place in places {
        make(root, place).map_err(failed("make", &place.path))?;
        let real = real(root, &place.path).map_err(failed("look at", &place.path))?;
        paths.extend(real.ancestors().filter(|path| path.parent().is_some()).map(PathBuf::from));
    }
    paths.sort_by(|one, other| depth(other).cmp(&depth(one)).then_with(|| one.cmp(other)));
    paths.dedup();
    let look = |path: PathBuf| match stat(root, &path) {
        Ok(stat) => Some(Ok(Stub { changed: changed(&stat), path })),
        // Behind a link that leads nowhere.
        Err(Errno::NOENT) => None,
        Err(error) => Some(Err(failed("look at", &path)(error))),
    };
    paths.into_iter().filter_map(look).collect()
}

fn make(root: &RootFd, place: &MountPoint) -> Result<(), Errno> {
    if place.directory {
        return make_directories(root, &place.path, (0, 0));
    }
    match root.open(&place.path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other.map(drop),
    }
    let path = clean(&place.path);
    make_directories(root, path.parent().unwrap_or(Path::new("/")), (0, 0))?;
    let (parent, name) = root.parent(&path)?;
    // A link that leads nowhere is in the way; whoever mounts says so.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes those of `stubs` that nobody has touched, the innermost first; `root` is the upper directory.
pub(super) fn remove_untouched(root: &RootFd, stubs: &[Stub]) {
    let untouched = |stub: &&Stub| stat(root, &stub.path).is_ok_and(|now| changed(&now) == stub.changed);
    // All are looked at first: removing one changes the directory above.
    let stubs: Vec<&Stub> = stubs.iter().filter(untouched).collect();
    for stub in stubs {
        remove(root, &stub.path);
    }
}

/// Removes what is empty.
fn remove(root: &RootFd, path: &Path) {
    let Ok((parent, name)) = root.parent(path) else { return };
    let Ok(stat) = lstat_at(parent.as_fd(), name) else { return };
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
        _ => return,
    };
    let Ok(above) = rustix::fs::fstat(&parent) else { return };
    // A directory with something in it stays, as it has to.
    if rustix::fs::unlinkat(&parent, name, flags).is_ok() {
        // That something of ours is gone is no change of the directory above: the same step makes the same layer.
        let time = |seconds: i64, nanoseconds: u64| Timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
        };
        let times = Timestamps {
            last_access: time(above.st_atime, above.st_atime_nsec),
            last_modification: time(above.st_mtime, above.st_mtime_nsec),
        };
        let _ = rustix::fs::utimensat(&parent, ".", &times, AtFlags::empty());
    }
}

fn stat(root: &RootFd, path: &Path) -> Result<Stat, Errno> {
    let (parent, name) = root.parent(path)?;
    lstat_at(parent.as_fd(), name)
}

fn changed(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, stat.st_ctime_nsec as i64)
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use super::*;

    fn place(path: &str, directory: bool) -> MountPoint {
        MountPoint { path: path.into(), directory }
    }

    /// More than a tick of the clock that files have.
    fn wait() {
        std::thread::sleep(Duration::from_millis(20));
    }

    #[test]
    fn what_was_made_and_not_touched_goes() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let tree = dir.path();
        fs::create_dir_all(tree.join("real")).expect("mkdir");
        symlink("/real", tree.join("link")).expect("symlink");
        let root = RootFd::open_trusted(tree).expect("open");
        let places =
            [place("/link/a/b", true), place("/mode/x", true), place("/run/s/one", false), place("/used/x", true)];
        let stubs = prepare(&root, &places).expect("prepare");
        let paths: Vec<_> = stubs.iter().map(|stub| stub.path.display().to_string()).collect();
        let expected =
            ["/real/a/b", "/run/s/one", "/mode/x", "/real/a", "/run/s", "/used/x", "/mode", "/real", "/run", "/used"];
        assert_eq!(paths, expected);
        assert!(tree.join("run/s/one").is_file() && tree.join("real/a/b").is_dir());
        wait();
        fs::set_permissions(tree.join("mode"), fs::Permissions::from_mode(0o700)).expect("chmod");
        fs::write(tree.join("used/x/file"), "").expect("write");
        remove_untouched(&root, &stubs);
        assert!(!tree.join("real").exists() && !tree.join("run").exists());
        assert!(tree.join("mode").is_dir() && !tree.join("mode/x").exists());
        assert!(tree.join("used/x/file").is_file());
    }

    #[test]
    fn places_that_are_there_are_left_alone() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        fs::create_dir_all(dir.path().join("d")).expect("mkdir");
        fs::write(dir.path().join("d/file"), "content").expect("write");
        symlink("nowhere", dir.path().join("dangling")).expect("symlink");
        let root = RootFd::open_trusted(dir.path()).expect("open");
        let stubs = prepare(&root, &[place("/d/file", false), place("/dangling", false)]).expect("prepare");
        remove_untouched(&root, &stubs);
        assert_eq!(fs::read(dir.path().join("d/file")).expect("read"), b"content");
        assert!(prepare(&root, &[place("/d/file/below", true)]).is_err());
    }
}
