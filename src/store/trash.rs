//! Deleting: what goes is renamed into `trash` first, so that nobody meets half
//! of it, and deleted there when no lock is held any more.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::atomic;
use super::error::StoreError;
use super::layout::Layout;

/// Directories that are open at a time; deeper trees are cut into several.
const DEPTH: usize = 64;

/// Moves `path` into the trash and returns where it is now; `None` if it is not there.
pub(super) fn discard(layout: &Layout, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let place = layout.trash().join(atomic::random());
    match std::fs::rename(path, &place) {
        Ok(()) => Ok(Some(place)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.exists() => Ok(None),
        Err(error) => Err(StoreError::io("discard", path)(error)),
    }
}

/// Gives the directory `made` the name `path`, for good; where there is something already, `made` goes and it is false.
pub(super) fn name_or_delete(made: &Path, path: &Path) -> Result<bool, StoreError> {
    if atomic::rename_new(made, path)? {
        return atomic::sync_parent(path).map(|()| true);
    }
    let _ = delete_tree(made);
    Ok(false)
}

/// Deletes `paths`, files or trees; returns those of which something is left
/// that belongs to other ids, for the worker to remove.
pub(super) fn delete(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.filter(|path| delete_tree(path).is_err()).collect()
}

/// Deletes a file or a tree, never following a link. Goes on where something
/// resists, and then fails at the end.
pub(super) fn delete_tree(path: &Path) -> Result<(), Errno> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    // Where a tree is deeper than DEPTH, what is below comes up to here.
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut queue = vec![path.to_path_buf()];
    let mut result = Ok(());
    while let Some(tree) = queue.pop() {
        let mut sweep = Sweep { parent, queue: &mut queue };
        let name = CString::new(tree.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
        result = result.and(sweep.directory(CWD, &name, 0));
    }
    result
}

struct Sweep<'a> {
    parent: &'a Path,
    queue: &'a mut Vec<PathBuf>,
}

impl Sweep<'_> {
    /// Empties and removes the directory `name` of `parent`.
    fn directory(&mut self, parent: BorrowedFd<'_>, name: &CString, depth: usize) -> Result<(), Errno> {
        // An empty directory needs not be opened: overlayfs leaves one with mode 000.
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        if depth >= DEPTH {
            let place = self.parent.join(atomic::random());
            rustix::fs::renameat(parent, name, CWD, &place)?;
            self.queue.push(place);
            return Ok(());
        }
        let directory = open_directory(parent, name)?;
        let emptied = self.contents(&directory, depth);
        emptied.and(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    fn contents(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), Errno> {
        let mut result = Ok(());
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let removed = if entry.file_type() == FileType::Directory {
                self.directory(directory.as_fd(), &name.to_owned(), depth + 1)
            } else {
                match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                    // Some file systems do not tell types in their listings.
                    Err(Errno::ISDIR) => self.directory(directory.as_fd(), &name.to_owned(), depth + 1),
                    Err(Errno::NOENT) => Ok(()),
                    other => other,
                }
            };
            result = result.and(removed);
        }
        result
    }
}

/// Opens a directory to empty it; one of ours that keeps us out is opened up first.
fn open_directory(parent: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags | OFlags::RDONLY, Mode::empty());
    let directory = match open() {
        Err(Errno::ACCESS) => {
            // Through the descriptor: by name, the mode of a link's target could change.
            let handle = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)?;
            open()?
        }
        other => other?,
    };
    let stat = rustix::fs::fstat(&directory)?;
    let owner = Mode::from_raw_mode(stat.st_mode);
    if !owner.contains(Mode::RWXU) && stat.st_uid == rustix::process::geteuid().as_raw() {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn deletes_what_keeps_us_out_and_nothing_behind_links() {
        let dir = tempfile::tempdir().expect("a directory");
        let canary = dir.path().join("canary");
        std::fs::create_dir(&canary).expect("mkdir");
        std::fs::write(canary.join("file"), "kept").expect("write");
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("closed/inner")).expect("mkdir");
        std::fs::write(tree.join("closed/inner/file"), "x").expect("write");
        std::fs::create_dir(tree.join("work")).expect("mkdir");
        symlink(&canary, tree.join("link")).expect("symlink");
        for (name, mode) in [("closed/inner", 0o500), ("closed", 0o000), ("work", 0o000)] {
            std::fs::set_permissions(tree.join(name), std::fs::Permissions::from_mode(mode)).expect("chmod");
        }
        assert_eq!(delete([tree.clone()].into_iter()), Vec::<PathBuf>::new());
        assert!(!tree.exists());
        assert_eq!(std::fs::read_to_string(canary.join("file")).expect("read"), "kept");
    }

    #[test]
    fn depth_is_no_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let trash = dir.path().join("trash");
        std::fs::create_dir_all(trash.join("tree")).expect("mkdir");
        let mut here = rustix::fs::open(trash.join("tree"), OFlags::PATH, Mode::empty()).expect("open");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).expect("mkdir");
            here = rustix::fs::openat(&here, "d", OFlags::PATH, Mode::empty()).expect("open");
        }
        assert_eq!(delete_tree(&trash.join("tree")), Ok(()));
        assert_eq!(std::fs::read_dir(&trash).expect("list").count(), 0);
    }
}
