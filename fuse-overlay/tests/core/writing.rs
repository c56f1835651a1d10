//! Changes, and what they leave in the upper directory.

use std::os::unix::fs::MetadataExt as _;

use pybox_fuse_overlay::filesystem::{Change, CopyRange, FileSystem as _, Move, New, SetTime, SetXattr, Time, kind};
use rustix::io::Errno;

use crate::bench::{Bench, access_list, is_whiteout, me};

#[test]
fn writing_copies_up_and_keeps_number_times_and_links() {
    let bench = Bench::new(1);
    bench.lower(0, "d/a", "lower");
    bench.lower_link(0, "d/a", "b");
    let view = bench.open();
    let before = view.find("d/a").expect("find");
    let directory = view.find("d").expect("find");
    view.write("d/a", "UP").expect("write");
    assert_eq!(view.read("b").expect("read"), "UPwer");
    let after = view.find("b").expect("find");
    assert_eq!((after.ino, after.links), (before.ino, 2));
    assert_eq!(view.find("d").expect("find").modified, directory.modified, "copying up is no change");
    let upper = bench.upper();
    let disk = |path: &str| std::fs::metadata(upper.join(path)).expect("stat");
    assert_eq!(disk("d/a").ino(), disk("b").ino());
    assert_eq!(std::fs::read(bench.layer(0).join("b")).expect("read"), b"lower");
    // The number lasts over a new mount.
    let again = bench.open_after(view);
    assert_eq!(again.find("d/a").expect("find").ino, before.ino);
    assert_eq!(again.find("b").expect("find").ino, before.ino);
    assert_eq!(again.find("d").expect("find").ino, directory.ino);
}

#[test]
fn a_deleted_name_of_a_linked_file_stays_deleted_when_it_is_copied_up() {
    let bench = Bench::new(1);
    bench.lower(0, "a", "x");
    for name in ["b", "c"] {
        bench.lower_link(0, "a", name);
    }
    let view = bench.open();
    view.unlink("b").expect("unlink");
    assert_eq!(view.find("a").expect("find").links, 2);
    let view = bench.open_after(view);
    view.write("a", "y").expect("write");
    assert_eq!(view.list("").expect("list"), ["a", "c"]);
    assert_eq!(view.read("c").expect("read"), "y");
    assert_eq!(view.find("c").expect("find").links, 2);
}

#[test]
fn deleted_and_made_again() {
    let bench = Bench::new(1);
    bench.lower(0, "f", "old");
    bench.lower(0, "d/inside", "old");
    let view = bench.open();
    view.unlink("f").expect("unlink");
    assert!(is_whiteout(&bench.upper().join("f")));
    assert_eq!(view.find("f").err(), Some(Errno::NOENT));
    assert_eq!(view.rmdir("d").err(), Some(Errno::NOTEMPTY));
    view.unlink("d/inside").expect("unlink");
    view.rmdir("d").expect("rmdir");
    assert!(is_whiteout(&bench.upper().join("d")));
    view.make("d", kind::DIRECTORY | 0o777).expect("mkdir");
    assert!(view.list("d").expect("list").is_empty());
    view.make("f", kind::DIRECTORY | 0o777).expect("mkdir");
    assert_eq!(view.make("f", kind::REGULAR).err(), Some(Errno::EXIST));
    assert!(bench.open_after(view).list("d").expect("list").is_empty());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("work")).expect("list").count(), 1, "only the model");
}

#[test]
fn what_is_in_use_lives_without_a_name() {
    let bench = Bench::new(1);
    bench.lower(0, "low", "lower");
    let view = bench.open();
    view.write("up", "upper").expect("write");
    for (name, contents) in [("low", "lower"), ("up", "upper")] {
        let ino = view.find(name).expect("find").ino;
        view.unlink(name).expect("unlink");
        let mut buffer = [0; 5];
        assert_eq!(view.overlay.read(ino, 0, &mut buffer), Ok(5));
        assert_eq!(&buffer, contents.as_bytes());
        assert_eq!(view.overlay.write(ino, 0, b"W", false), Ok(1));
        view.overlay.read(ino, 0, &mut buffer).expect("read");
        assert_eq!(buffer[0], b'W');
        assert_eq!(view.overlay.attributes(ino).expect("stat").links, 0);
        assert_eq!(view.find(name).err(), Some(Errno::NOENT));
        view.overlay.forget(ino, 100);
        view.overlay.forget(ino, 100);
    }
    assert!(is_whiteout(&bench.upper().join("low")));
}

#[test]
fn directories_of_the_layers_move_with_all_they_show() {
    let bench = Bench::new(2);
    bench.lower(1, "d/deep/x", "x");
    bench.lower(0, "d/y", "y");
    bench.lower(1, "d/gone", "");
    let view = bench.open();
    view.unlink("d/gone").expect("unlink");
    let (deep, x) = (view.find("d/deep").expect("find").ino, view.find("d/deep/x").expect("find").ino);
    view.rename("d", "e", Move::Replace).expect("rename");
    let mut view = view;
    for _ in 0..2 {
        assert_eq!(view.list("").expect("list"), ["e"]);
        assert_eq!(view.list("e").expect("list"), ["deep", "y"]);
        assert_eq!(view.read("e/deep/x").expect("read"), "x");
        assert_eq!(view.find("e/deep/x").expect("find").ino, x);
        view = bench.open_after(view);
    }
    assert_ne!(view.find("e/deep").expect("find").ino, 0);
    let _ = deep;
    view.make("d", kind::DIRECTORY | 0o755).expect("mkdir");
    assert!(view.list("d").expect("list").is_empty());
}

#[test]
fn renames_of_each_kind() {
    let bench = Bench::new(1);
    bench.lower(0, "a", "a");
    bench.lower(0, "b", "b");
    bench.lower(0, "d/x", "x");
    let view = bench.open();
    assert_eq!(view.rename("a", "b", Move::KeepTarget).err(), Some(Errno::EXIST));
    view.rename("a", "d", Move::Exchange).expect("exchange");
    assert_eq!(view.read("d").expect("read"), "a");
    assert_eq!(view.list("a").expect("list"), ["x"]);
    assert_eq!(view.rename("d", "a", Move::Replace).err(), Some(Errno::ISDIR));
    assert_eq!(view.rename("a", "d", Move::Replace).err(), Some(Errno::NOTDIR));
    view.rename("d", "b", Move::Replace).expect("rename");
    assert_eq!(view.list("").expect("list"), ["a", "b"]);
    assert_eq!(view.read("b").expect("read"), "a");
    assert_eq!(view.rename("b", "nowhere/b", Move::Replace).err(), Some(Errno::NOENT));
    assert_eq!(view.rename("b", ".wh.x", Move::Replace).err(), Some(Errno::INVAL));
    assert_eq!(bench.open_after(view).list("").expect("list"), ["a", "b"]);
}

#[test]
fn attributes_and_xattrs_change() {
    let bench = Bench::new(1);
    bench.lower(0, "f", "contents");
    let view = bench.open();
    let ino = view.find("f").expect("find").ino;
    let time = Time { seconds: 1_000_000_000, nanoseconds: 123 };
    let change = Change {
        mode: Some(0o4711),
        size: Some(3),
        modified: Some(SetTime::At(time)),
        accessed: Some(SetTime::Now),
        ..Change::default()
    };
    let now = view.overlay.change(ino, &change).expect("change");
    assert_eq!((now.mode, now.size, now.modified), (kind::REGULAR | 0o4711, 3, time));
    assert_eq!(view.read("f").expect("read"), "con");
    let dropped = Change { drop_privileges: true, ..Change::default() };
    assert_eq!(view.overlay.change(ino, &dropped).expect("change").mode & 0o7777, 0o711);
    view.overlay.set_xattr(ino, b"user.k", b"v", SetXattr::default()).expect("set");
    assert_eq!(view.overlay.xattr(ino, b"user.k"), Ok(b"v".to_vec()));
    assert_eq!(view.overlay.xattr_names(ino).expect("list"), b"user.k\0");
    assert_eq!(view.overlay.set_xattr(ino, b"user.overlay.opaque", b"y", SetXattr::default()), Err(Errno::OPNOTSUPP));
    view.overlay.remove_xattr(ino, b"user.k").expect("remove");
    assert_eq!(view.overlay.xattr(ino, b"user.k"), Err(Errno::NODATA));
}

#[test]
fn large_sparse_files_stay_sparse() {
    let bench = Bench::new(1);
    let file = std::fs::File::create(bench.layer(0).join("big")).expect("create");
    file.set_len(64 << 20).expect("truncate");
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 32 << 20).expect("write");
    let view = bench.open();
    let ino = view.find("big").expect("find").ino;
    assert_eq!(view.overlay.write(ino, 1, b"x", false), Ok(1));
    let now = view.overlay.attributes(ino).expect("stat");
    assert_eq!(now.size, 64 << 20);
    assert!(now.blocks < 1000, "{} blocks", now.blocks);
    let mut end = [0; 3];
    view.overlay.read(ino, 32 << 20, &mut end).expect("read");
    assert_eq!(&end, b"end");
    let to = view.make("copy", kind::REGULAR | 0o644).expect("make").ino;
    let range = CopyRange { from: ino, from_offset: 32 << 20, to, to_offset: 0, length: 3 };
    assert_eq!(view.overlay.copy_range(&range), Ok(3));
    assert_eq!(view.read("copy").expect("read"), "end");
}

#[test]
fn nameless_files_get_a_name() {
    let bench = Bench::new(1);
    let view = bench.open();
    let root = view.find("").expect("root").ino;
    let new = New { mode: kind::REGULAR | 0o600, mask: 0, rdev: 0, target: b"" };
    let ino = view.overlay.make_nameless(root, &new, me()).expect("make").ino;
    view.overlay.write(ino, 0, b"hello", false).expect("write");
    assert_eq!(view.overlay.attributes(ino).expect("stat").links, 0);
    view.overlay.link(ino, root, b"named").expect("link");
    assert_eq!(view.read("named").expect("read"), "hello");
    assert_eq!(view.find("named").expect("find").ino, ino);
}

#[test]
fn ten_thousand_entries_are_listed_once_each() {
    let bench = Bench::new(1);
    for number in 0..3000 {
        bench.lower(0, &format!("d/l{number}"), "");
    }
    let view = bench.open();
    for number in 0..3000 {
        view.make(&format!("d/u{number}"), kind::REGULAR | 0o644).expect("make");
    }
    for number in 0..1000 {
        view.unlink(&format!("d/l{number}")).expect("unlink");
    }
    let listed = view.list("d").expect("list");
    assert_eq!(listed.len(), 5000);
    assert!(listed.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_moved_directory_that_the_kernel_forgot_is_found_with_what_is_in_it() {
    let bench = Bench::new(1);
    bench.lower(0, "a/b/f", "x");
    let view = bench.open();
    let (a, root) = (view.find("a").expect("find").ino, view.find("").expect("root").ino);
    view.overlay.rename((root, b"a"), (root, b"moved"), Move::Replace).expect("rename");
    // As if short of memory, and nobody has looked into the directory: what it holds was only copied up.
    view.overlay.forget(a, 1);
    let inner = view.find("moved/b").expect("find");
    assert_eq!(view.overlay.attributes(inner.ino), Ok(inner));
    assert_eq!(view.list("moved/b").expect("list"), ["f"]);
    assert_eq!(view.read("moved/b/f").expect("read"), "x");
}

#[test]
fn a_default_access_list_bounds_what_comes_in_the_place_of_a_whiteout_too() {
    let bench = Bench::new(1);
    bench.lower(0, "d/file", "");
    bench.lower(0, "d/sub/x", "");
    let view = bench.open();
    view.unlink("d/file").expect("unlink");
    view.unlink("d/sub/x").expect("unlink");
    view.rmdir("d/sub").expect("rmdir");
    let directory = view.find("d").expect("find").ino;
    view.overlay.change(directory, &Change { mode: Some(0o2775), ..Change::default() }).expect("chmod");
    // Owner, group and others.
    let list = access_list([(1, 7, u32::MAX), (4, 5, u32::MAX), (32, 0, u32::MAX)]);
    let set = view.overlay.set_xattr(directory, b"system.posix_acl_default", &list, SetXattr::default());
    set.expect("setfacl");
    for name in ["file", "new"] {
        let made = view.make(&format!("d/{name}"), kind::REGULAR | 0o666).expect("make");
        assert_eq!(made.mode, kind::REGULAR | 0o640, "{name}");
    }
    for name in ["sub", "dir"] {
        let made = view.make(&format!("d/{name}"), kind::DIRECTORY | 0o777).expect("make");
        assert_eq!(made.mode, kind::DIRECTORY | 0o2750, "{name}");
    }
}
