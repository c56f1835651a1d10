//! What layers look like together.

use std::fs::File;

use proptest::prelude::*;
use pybox_fuse_overlay::filesystem::{FileSystem as _, ROOT, kind};
use pybox_fuse_overlay::index::{self, Index, Position};
use pybox_fuse_overlay::record::{Owners, Record};
use pybox_fuse_overlay_fuzz::forging::{built, look_everywhere, sample};
use rustix::io::Errno;

use crate::bench::{Bench, set_xattr, whiteout};

#[test]
fn layers_merge_and_hide_in_all_three_styles() {
    let bench = Bench::new(3);
    for name in ["a/device", "a/file", "a/xattr", "a/stays", "b/old", "c/old", "d/old"] {
        bench.lower(2, name, "old");
    }
    bench.lower(1, "a/stays", "middle");
    bench.lower(1, "a/.wh.file", "");
    bench.lower(1, "a/xattr", "");
    whiteout(&bench.layer(1).join("a/device"));
    set_xattr(&bench.layer(1).join("a/xattr"), "user.overlay.whiteout", b"y");
    bench.lower(1, "b/.wh..wh..opq", "");
    bench.lower(1, "b/new", "new");
    bench.lower(1, "c/new", "new");
    set_xattr(&bench.layer(1).join("c"), "user.overlay.opaque", b"y");
    bench.lower(0, "d", "a file over a directory");
    let view = bench.open_read_only();
    assert_eq!(view.list("").expect("list"), ["a", "b", "c", "d"]);
    assert_eq!(view.list("a").expect("list"), ["stays"]);
    assert_eq!(view.list("b").expect("list"), ["new"]);
    assert_eq!(view.list("c").expect("list"), ["new"]);
    assert_eq!(view.read("a/stays").expect("read"), "middle");
    assert_eq!(view.read("d").expect("read"), "a file over a directory");
    for gone in ["a/device", "a/file", "a/xattr", "b/old", "a/.wh.file"] {
        assert_eq!(view.find(gone).err(), Some(Errno::NOENT), "{gone}");
    }
}

#[test]
fn files_read_in_order_are_read_ahead_and_are_what_they_are() {
    let bench = Bench::new(2);
    let name = |number: usize| format!("d/f{number:02}");
    for number in 0..40 {
        bench.lower(number % 2, &name(number), &format!("contents of {number}"));
    }
    let view = bench.open();
    let read = |number: usize| {
        let contents = view.read(&name(number)).expect("read");
        // What a front end does when it has answered.
        view.overlay.read_ahead();
        contents
    };
    for number in 0..20 {
        assert_eq!(read(number), format!("contents of {number}"));
    }
    // The next one was read ahead by now, and changes.
    view.write(&name(20), "changed contents").expect("write");
    assert_eq!(read(20), "changed contents");
    view.unlink(&name(21)).expect("unlink");
    view.write(&name(21), "another file").expect("write");
    for number in 21..40 {
        let expected = if number == 21 { "another file".into() } else { format!("contents of {number}") };
        assert_eq!(read(number), expected);
    }
}

#[test]
fn reading_leaves_no_trace_in_a_layer() {
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new(1);
    bench.lower(0, "f", "x");
    let file = File::open(bench.layer(0).join("f")).expect("open");
    let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    file.set_times(std::fs::FileTimes::new().set_accessed(past)).expect("set the times");
    assert_eq!(bench.open().read("f").expect("read"), "x");
    assert_eq!(file.metadata().expect("stat").atime(), 1000);
}

#[test]
fn that_there_is_no_attribute_is_known_where_none_can_come() {
    let bench = Bench::new(2);
    bench.lower(1, "d/f", "x");
    assert!(!bench.open_read_only().overlay.has_xattrs());
    assert!(bench.open().overlay.has_xattrs(), "one can be set");
    set_xattr(&bench.layer(1).join("d/f"), "user.a", b"1");
    assert!(bench.open_read_only().overlay.has_xattrs());
}

#[test]
fn nothing_shows_below_an_opaque_root_or_through_a_file() {
    let bench = Bench::new(3);
    bench.lower(0, "top", "");
    bench.lower(1, "middle/x", "");
    bench.lower(2, "bottom", "");
    bench.lower(2, "middle/y", "");
    set_xattr(&bench.layer(1), "user.overlay.opaque", b"y");
    let view = bench.open_read_only();
    assert_eq!(view.list("").expect("list"), ["middle", "top"]);
    assert_eq!(view.list("middle").expect("list"), ["x"]);

    let bench = Bench::new(3);
    bench.lower(0, "d/top", "");
    bench.lower(1, "d", "a file between");
    bench.lower(2, "d/bottom", "");
    assert_eq!(bench.open_read_only().list("d").expect("list"), ["top"]);
}

#[test]
fn the_upper_directory_hides_in_all_three_styles_too() {
    let bench = Bench::new(1);
    for name in ["device", "file", "xattr", "stays", "d/x", "e/x"] {
        bench.lower(0, name, "old");
    }
    let upper = bench.upper();
    whiteout(&upper.join("device"));
    std::fs::write(upper.join(".wh.file"), "").expect("write");
    std::fs::write(upper.join("xattr"), "").expect("write");
    set_xattr(&upper.join("xattr"), "user.overlay.whiteout", b"");
    std::fs::create_dir(upper.join("d")).expect("mkdir");
    std::fs::write(upper.join("d/.wh..wh..opq"), "").expect("write");
    std::fs::create_dir(upper.join("e")).expect("mkdir");
    set_xattr(&upper.join("e"), "user.overlay.opaque", b"y");
    let view = bench.open();
    assert_eq!(view.list("").expect("list"), ["d", "e", "stays"]);
    assert!(view.list("d").expect("list").is_empty());
    assert!(view.list("e").expect("list").is_empty());
    for gone in ["device", "file", "xattr", "d/x", "e/x"] {
        assert_eq!(view.find(gone).err(), Some(Errno::NOENT), "{gone}");
        view.write(gone, "new").expect("write");
        assert_eq!(view.read(gone).expect("read"), "new", "{gone}");
    }
    assert_eq!(bench.open_after(view).list("").expect("list"), ["d", "device", "e", "file", "stays", "xattr"]);
}

#[test]
fn without_an_upper_directory_nothing_changes() {
    let bench = Bench::new(1);
    bench.lower(0, "f", "x");
    let view = bench.open_read_only();
    assert_eq!(view.write("f", "y").err(), Some(Errno::ROFS));
    assert_eq!(view.write("g", "y").err(), Some(Errno::ROFS));
    assert_eq!(view.unlink("f").err(), Some(Errno::ROFS));
}

#[test]
fn an_index_says_what_the_layers_hold() {
    let bench = sample();
    let mut owners = Owners::default();
    owners.set(b"etc/passwd", Record { uid: 42, gid: 43, mode: 0o104_711, rdev: 0 });
    let index = Index::from_bytes(built(&bench, Some(&owners))).expect("an index");
    let at = |path: &str| {
        let mut here = Position::ROOT;
        for name in path.split('/') {
            here = index.find(here, name.as_bytes()).expect("whole").expect("there");
        }
        here
    };
    assert_eq!((index.len(), index.layers()), (8, 2));
    let tool = index.entry(at("bin/tool")).expect("entry");
    let alias = index.entry(at("bin/alias")).expect("entry");
    assert_eq!(index.attributes(&tool).links, 2);
    assert_eq!(index.attributes(&tool).ino, index.attributes(&alias).ino);
    assert_eq!(index.xattrs(&tool).collect::<Vec<_>>(), [(&b"user.note"[..], &b"value"[..])]);
    assert_eq!(index.path(tool.position).expect("path"), b"bin/tool");
    assert_eq!(index.attributes(&tool).uid, rustix::process::geteuid().as_raw() + 7);
    let passwd = index.attributes(&index.entry(at("etc/passwd")).expect("entry"));
    assert_eq!((passwd.uid, passwd.gid, passwd.mode, passwd.size), (42, 43, 0o104_711, 4));
    assert_eq!(index.target(&index.entry(at("etc/link")).expect("entry")), Ok(&b"../bin/tool"[..]));
    assert_eq!(index.target(&tool).err(), Some(Errno::INVAL));
    assert_eq!(index.find(Position::ROOT, b"nothing").expect("whole"), None);
}

#[test]
fn an_index_of_other_layers_is_refused() {
    let bench = sample();
    let path = bench.dir.path().join("index");
    std::fs::write(&path, built(&bench, None)).expect("write");
    let mut config = bench.config(false);
    config.lower.pop();
    config.index = Some(File::open(&path).expect("open"));
    assert!(pybox_fuse_overlay::Overlay::open(config).is_err());
}

#[test]
fn a_damaged_index_is_an_error_wherever_the_damage_is() {
    let bytes = built(&sample(), None);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Index::from_bytes(damaged).is_err(), "byte {at}");
        assert!(Index::from_bytes(bytes[..at].to_vec()).is_err(), "length {at}");
    }
}

proptest! {
    #[test]
    fn a_forged_index_does_no_harm(changes in proptest::collection::vec((8_usize..2000, any::<u8>()), 1..40)) {
        thread_local!(static BYTES: Vec<u8> = built(&sample(), None));
        let mut bytes = BYTES.with(Clone::clone);
        let length = bytes.len();
        for (at, byte) in changes {
            // The checksum is made good: what is tested is what lies behind it.
            if !(12..24).contains(&(at % length)) { bytes[at % length] = byte; }
        }
        if let Ok(index) = Index::from_bytes(index::testing::sealed(bytes)) {
            look_everywhere(&index);
        }
    }
}

#[test]
fn numbers_are_those_of_the_index() {
    let bench = sample();
    let view = bench.open_read_only();
    assert_eq!(view.find("").expect("root").ino, ROOT);
    let tool = view.find("bin/tool").expect("tool");
    assert_eq!(tool.ino, view.find("bin/alias").expect("alias").ino);
    assert_eq!(tool.kind(), kind::REGULAR);
    assert_eq!(view.overlay.xattr(tool.ino, b"user.note").expect("xattr"), b"value");
    assert_eq!(view.overlay.xattr(tool.ino, b"user.overlay.origin").err(), Some(Errno::NODATA));
}
