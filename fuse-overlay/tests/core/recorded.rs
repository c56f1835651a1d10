//! Owners that are recorded instead of given.

use pybox_fuse_overlay::Ids;
use pybox_fuse_overlay::filesystem::{Change, FileSystem as _, SetXattr, device_number, kind};
use pybox_fuse_overlay::record::{ENTRY, Record, TRUTH};

use crate::bench::{Bench, access_list};

/// The id of an entry that has none.
const NOBODY: u32 = u32::MAX;

fn recorded() -> Bench {
    Bench { ids: Ids::Hidden, ..Bench::new(1) }
}

#[test]
fn owners_of_every_kind_of_node_survive_a_new_mount() {
    let bench = recorded();
    let view = bench.open();
    view.write("f", "x").expect("write");
    view.make("d", kind::DIRECTORY | 0o755).expect("mkdir");
    view.symlink("l", "f").expect("symlink");
    let root = view.find("").expect("root").ino;
    for entry in ["0:0:20666:c-1-3 null", "0:0:10600 pipe"] {
        view.overlay.set_xattr(root, ENTRY.as_bytes(), entry.as_bytes(), SetXattr::default()).expect("mknod");
    }
    for name in ["f", "d", "l", "null", "pipe"] {
        let ino = view.find(name).expect("find").ino;
        view.give(ino, 33, 44).expect("chown");
    }
    let mut view = view;
    for _ in 0..2 {
        let is = |name: &str, mode: u32, rdev: u32| {
            let shown = view.find(name).expect("find");
            assert_eq!((shown.uid, shown.gid, shown.mode), (0, 0, mode), "{name}");
            let record = Record { uid: 33, gid: 44, mode, rdev };
            assert_eq!(view.truth(shown.ino), Ok(record), "{name}");
        };
        is("f", kind::REGULAR | 0o644, 0);
        is("d", kind::DIRECTORY | 0o755, 0);
        is("l", kind::SYMLINK | 0o777, 0);
        is("null", kind::CHARACTER | 0o666, device_number(1, 3));
        is("pipe", kind::FIFO | 0o600, 0);
        view = bench.open_after(view);
    }
    let on_disk = std::fs::symlink_metadata(bench.upper().join("null")).expect("stat");
    assert!(on_disk.is_file());
}

#[test]
fn a_new_file_does_not_inherit_the_record_of_one_that_had_its_number() {
    let bench = recorded();
    let view = bench.open();
    for turn in 0..50 {
        let name = format!("l{turn}");
        view.symlink(&name, "x").expect("symlink");
        let ino = view.find(&name).expect("find").ino;
        assert_eq!(view.truth(ino).expect("owner").uid, 0);
        view.give(ino, 5, 0).expect("chown");
        view.unlink(&name).expect("unlink");
        view.overlay.forget(ino, 10);
    }
}

#[test]
fn a_new_owner_takes_lent_rights_away() {
    let bench = recorded();
    let view = bench.open();
    view.write("tool", "x").expect("write");
    let ino = view.find("tool").expect("find").ino;
    view.overlay.change(ino, &Change { mode: Some(0o6755), ..Change::default() }).expect("chmod");
    view.give(ino, 9, 9).expect("chown");
    assert_eq!(view.truth(ino).expect("owner").mode, kind::REGULAR | 0o755);
}

#[test]
fn what_is_given_back_to_root_needs_no_record() {
    let bench = recorded();
    let view = bench.open();
    view.write("f", "x").expect("write");
    let ino = view.find("f").expect("find").ino;
    let has = || rustix::fs::getxattr(bench.upper().join("f"), pybox_fuse_overlay::record::XATTR, &mut [0; 64]).is_ok();
    view.give(ino, 1, 0).expect("chown");
    assert!(has());
    view.give(ino, 0, 0).expect("chown");
    assert!(!has());
}

#[test]
fn bookkeeping_is_not_shown() {
    let bench = recorded();
    let view = bench.open();
    view.write("f", "x").expect("write");
    let ino = view.find("f").expect("find").ino;
    view.give(ino, 1, 0).expect("chown");
    assert!(view.overlay.xattr_names(ino).expect("list").is_empty());
}

#[test]
fn recorded_owners_are_shown_where_they_can_be() {
    let bench = Bench { ids: Ids::Recorded, ..Bench::new(1) };
    let view = bench.open();
    view.write("f", "x").expect("write");
    let ino = view.find("f").expect("find").ino;
    view.give(ino, 33, 44).expect("chown");
    let view = bench.open_after(view);
    let shown = view.find("f").expect("find");
    assert_eq!((shown.uid, shown.gid), (33, 44));
}

#[test]
fn the_truth_is_told_and_heard_through_attributes() {
    use rustix::io::Errno;
    let bench = recorded();
    let view = bench.open();
    view.symlink("l", "f").expect("symlink");
    let how = SetXattr::default;
    let (root, link) = (view.find("").expect("root").ino, view.find("l").expect("find").ino);
    let told = |ino| view.overlay.xattr(ino, TRUTH.as_bytes()).map(|text| String::from_utf8(text).expect("text"));
    assert_eq!(told(link).as_deref(), Ok("0:0:120777"));
    view.overlay.set_xattr(link, TRUTH.as_bytes(), b"5:6:0", how()).expect("chown");
    assert_eq!(told(link).as_deref(), Ok("5:6:120777"));
    view.overlay.set_xattr(root, ENTRY.as_bytes(), b"7:8:20666:c-1-3 null", how()).expect("mknod");
    let null = view.find("null").expect("find");
    assert_eq!((null.mode, null.rdev), (kind::CHARACTER | 0o666, device_number(1, 3)));
    assert_eq!(told(null.ino).as_deref(), Ok("7:8:20666:c-1-3"));
    for (ino, name, value, refused) in [
        (root, ENTRY, &b"7:8:20666:c-1-3 null"[..], Errno::EXIST),
        (root, ENTRY, b"7:8:20666:c-1-3 ", Errno::INVAL),
        (root, ENTRY, b"7:8:20666:c-1-3 ../x", Errno::INVAL),
        (root, ENTRY, b"nonsense", Errno::INVAL),
        (link, TRUTH, b"nonsense", Errno::INVAL),
    ] {
        assert_eq!(view.overlay.set_xattr(ino, name.as_bytes(), value, how()), Err(refused));
    }
    assert_eq!(view.overlay.xattr_names(link), Ok(Vec::new()));
    // Where owners are what they are on disk, nobody is asked.
    let bench = Bench::new(1);
    let view = bench.open();
    let root = view.find("").expect("root").ino;
    assert_eq!(view.overlay.xattr(root, TRUTH.as_bytes()), Err(Errno::NODATA));
}

#[test]
fn an_access_list_is_in_the_mode_of_a_file_whose_owner_is_recorded() {
    const LIST: &str = "system.posix_acl_access";
    let bench = recorded();
    let view = bench.open();
    view.write("f", "x").expect("write");
    let ino = view.find("f").expect("find").ino;
    view.give(ino, 33, 44).expect("chown");
    // Owner, group, group 0, mask, others.
    let list = access_list([(1, 6, NOBODY), (4, 4, NOBODY), (8, 7, 0), (16, 7, NOBODY), (32, 0, NOBODY)]);
    view.overlay.set_xattr(ino, LIST.as_bytes(), &list, SetXattr::default()).expect("setfacl");
    let mut view = view;
    for _ in 0..2 {
        let ino = view.find("f").expect("find").ino;
        assert_eq!(view.overlay.attributes(ino).expect("stat").mode, kind::REGULAR | 0o670);
        assert_eq!(view.truth(ino).expect("owner").uid, 33);
        view = bench.open_after(view);
    }
}

#[test]
fn a_default_access_list_bounds_the_mode_of_a_file_whose_owner_is_recorded() {
    use pybox_fuse_overlay::filesystem::{Caller, New};
    const LIST: &str = "system.posix_acl_default";
    let bench = recorded();
    let view = bench.open();
    view.make("d", kind::DIRECTORY | 0o755).expect("mkdir");
    let directory = view.find("d").expect("find").ino;
    let list = access_list([(1, 7, NOBODY), (4, 5, NOBODY), (32, 0, NOBODY)]);
    view.overlay.set_xattr(directory, LIST.as_bytes(), &list, SetXattr::default()).expect("setfacl");
    for (name, uid) in [("root", 0), ("other", 5)] {
        let new = New { mode: kind::REGULAR | 0o666, mask: 0o022, rdev: 0, target: b"" };
        let made = view.overlay.make(directory, name.as_bytes(), &new, Caller { uid, gid: uid }).expect("make");
        assert_eq!(made.mode, kind::REGULAR | 0o640, "{name}");
        assert_eq!(view.overlay.attributes(made.ino).expect("stat").mode, kind::REGULAR | 0o640, "{name}");
    }
}
