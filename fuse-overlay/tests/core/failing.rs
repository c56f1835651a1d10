//! The disk fails in the middle of an operation: all of it has happened then, or nothing. The kernel, which keeps
//! what it has heard, takes an error for nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use pybox_fuse_overlay::filesystem::{FileSystem as _, Move, kind};
use rustix::fs::IFlags;
use rustix::io::Errno;

use crate::bench::{Bench, is_whiteout};

/// A directory of the disk to which nothing can be added until this is dropped.
struct Frozen(PathBuf);

impl Frozen {
    /// `None`, having said so, where whoever runs this may not, or the file system cannot.
    fn new(path: PathBuf) -> Option<Self> {
        match freeze(&path, true) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("SKIPPED: no directory can be made immutable here: {error}");
                None
            }
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        freeze(&self.0, false).expect("make it writable again");
    }
}

fn freeze(path: &Path, frozen: bool) -> Result<(), Errno> {
    let directory = File::open(path).expect("open");
    let mut flags = rustix::fs::ioctl_getflags(&directory)?;
    flags.set(IFlags::IMMUTABLE, frozen);
    rustix::fs::ioctl_setflags(&directory, flags)
}

/// What is left in the work directory beside the model of whiteouts.
fn left(bench: &Bench) -> usize {
    std::fs::read_dir(bench.work()).expect("list").count() - 1
}

#[test]
fn a_linked_file_is_copied_up_with_all_its_names_or_not_at_all() {
    let bench = Bench::new(1);
    bench.lower(0, "a", "lower");
    bench.lower_link(0, "a", "d/b");
    let view = bench.open();
    view.write("d/other", "").expect("write");
    let Some(frozen) = Frozen::new(bench.upper().join("d")) else { return };
    assert_eq!(view.write("a", "UP").err(), Some(Errno::PERM));
    assert_eq!((view.find("a").expect("find").links, left(&bench)), (2, 0));
    drop(frozen);
    view.write("a", "UP").expect("write");
    let view = bench.open_after(view);
    assert_eq!(view.read("d/b").expect("read"), "UPwer");
    assert_eq!(view.read("a").expect("read"), "UPwer");
    assert_eq!(view.find("a").expect("find").links, 2);
}

#[test]
fn names_of_a_linked_file_that_a_crash_has_parted_are_two_files() {
    for first in ["a", "b"] {
        let bench = Bench::new(1);
        bench.lower(0, "a", "lower");
        bench.lower_link(0, "a", "b");
        let view = bench.open();
        view.write("a", "UP").expect("write");
        drop(view);
        // As if the server had died between the first name and the second.
        std::fs::remove_file(bench.upper().join("b")).expect("unlink");
        let view = bench.open();
        let number = view.find(first).expect("find").ino;
        assert_ne!(view.find("a").expect("find").ino, view.find("b").expect("find").ino);
        assert_eq!(view.find(first).expect("find").ino, number);
        assert_eq!((view.read("a"), view.read("b")), (Ok("UPwer".into()), Ok("lower".into())));
        view.write("b", "by").expect("write");
        for name in ["a", "b"] {
            assert_eq!(view.find(name).expect("find").links, 1);
        }
        let view = bench.open_after(view);
        assert_ne!(view.find("a").expect("find").ino, view.find("b").expect("find").ino);
        assert_eq!((view.read("a"), view.read("b")), (Ok("UPwer".into()), Ok("bywer".into())));
    }
}

#[test]
fn a_name_does_not_show_through_a_directory_that_came_back() {
    let bench = Bench::new(1);
    bench.lower(0, "a", "lower");
    bench.lower_link(0, "a", "d/b");
    let view = bench.open();
    let number = view.find("a").expect("find").ino;
    view.rename("d", "e", Move::Replace).expect("rename");
    view.rename("e", "d", Move::Replace).expect("rename");
    view.unlink("d/b").expect("unlink");
    view.overlay.forget(number, 100);
    let found = view.find("a").expect("find");
    assert_eq!((found.ino, found.links), (number, 1));
}

#[test]
fn a_directory_that_was_forgotten_before_a_file_in_it_is_found_again() {
    let bench = Bench::new(1);
    bench.lower(0, "d/e/f", "lower");
    let view = bench.open();
    let file = view.find("d/e/f").expect("find").ino;
    view.write("d/e/other", "other").expect("write");
    for path in ["d/e/other", "d/e", "d"] {
        let number = view.find(path).expect("find").ino;
        view.overlay.forget(number, 100);
    }
    // Nobody has looked up where it is: it may be known by a handle.
    assert_eq!(view.overlay.write(file, 0, b"UP", false), Ok(2));
    assert_eq!(view.read("d/e/f"), Ok("UPwer".into()));
    assert_eq!(view.read("d/e/other"), Ok("other".into()));
    assert_eq!(left(&bench), 0);
}

#[test]
fn a_directory_that_could_not_be_replaced_is_still_there() {
    for target in ["emptied", "lower", "upper"] {
        let bench = Bench::new(1);
        bench.lower(0, "emptied/x", "");
        std::fs::create_dir(bench.layer(0).join("lower")).expect("mkdir");
        let view = bench.open();
        view.unlink("emptied/x").expect("unlink");
        view.make("upper", kind::DIRECTORY | 0o755).expect("mkdir");
        view.make("from", kind::DIRECTORY | 0o755).expect("mkdir");
        view.make("from/d", kind::DIRECTORY | 0o755).expect("mkdir");
        let known = view.find(target).expect("find").ino;
        let Some(frozen) = Frozen::new(bench.upper().join("from")) else { return };
        assert_eq!(view.rename("from/d", target, Move::Replace).err(), Some(Errno::PERM));
        drop(frozen);
        assert_eq!(left(&bench), 0, "{target}");
        assert_eq!(view.find(target).map(|found| found.ino), Ok(known), "{target}");
        assert_eq!(view.overlay.attributes(known).map(|found| found.links), Ok(1), "{target}");
        view.write(&format!("{target}/y"), "y").expect("write");
        view.unlink(&format!("{target}/y")).expect("unlink");
        view.rename("from/d", target, Move::Replace).expect("rename");
        assert!(view.list("from").expect("list").is_empty(), "{target}");
        assert_eq!(bench.open_after(view).list(target).expect("list"), [""; 0], "{target}");
    }
}

#[test]
fn a_name_that_could_not_be_given_leaves_nothing() {
    let bench = Bench::new(1);
    bench.lower(0, "d/gone", "lower");
    let view = bench.open();
    view.write("f", "x").expect("write");
    view.unlink("d/gone").expect("unlink");
    assert!(is_whiteout(&bench.upper().join("d/gone")));
    let Some(frozen) = Frozen::new(bench.upper().join("d")) else { return };
    assert_eq!(view.link("f", "d/gone").err(), Some(Errno::PERM));
    assert_eq!(view.make("d/gone", kind::DIRECTORY | 0o755).err(), Some(Errno::PERM));
    assert_eq!(left(&bench), 0);
    assert_eq!(view.find("f").expect("find").links, 1);
    drop(frozen);
    view.write("d/there", "").expect("write");
    let frozen = Frozen::new(bench.upper().join("d")).expect("again");
    assert_eq!(view.unlink("d/there").err(), Some(Errno::PERM));
    drop(frozen);
    view.link("f", "d/gone").expect("link");
    view.make("d/down", kind::REGULAR | 0o644).expect("make");
    assert_eq!(view.find("f").expect("find").links, 2);
    assert_eq!(left(&bench), 0);
}
