//! Archives that are unusual and right, and what they become.

use std::ffi::OsStr;

use pybox::snapshot::worker::{Compression, Unpack, WarningKind};

use crate::bench::{Bench, RANGE, small};
use crate::evil_tar::{Entry, Tar, base256, octal};

#[test]
fn names_become_relative() {
    let bench = Bench::new();
    let archive = Tar::new().file("/etc/passwd", "root").file("./a//./b", "x").dir("dir//").file("..x/...", "y");
    bench.accept(&archive.add(Entry::file("name", "z").prefix("pre/fix")).file("\u{e4}\n\t\\ \"", "u").end());
    for (path, data) in
        [("etc/passwd", "root"), ("a/b", "x"), ("..x/...", "y"), ("pre/fix/name", "z"), ("\u{e4}\n\t\\ \"", "u")]
    {
        assert_eq!(bench.node(path).data, data);
    }
    assert_eq!(bench.node("dir").kind, "dir");
    assert_eq!(bench.node("etc").mode, 0o755, "what is only implied is everybody's to read");
}

#[test]
fn links_as_parents_resolve_inside() {
    let bench = Bench::new();
    let archive = Tar::new()
        .dir("usr/bin")
        .symlink("bin", "usr/bin")
        .file("bin/relative", "1")
        .symlink("abs", "/usr/bin")
        .file("abs/absolute", "2")
        .symlink("up", "../../../../../canary")
        .file("up/climbing", "3")
        .symlink("var/run", "/run")
        .file("var/run/x/dangling", "4")
        .symlink("chain", "abs")
        .file("chain/chained", "5")
        .symlink("usr/self", "..")
        .file("usr/self/usr/self/usr/bin/round", "6")
        .hardlink("hard", "bin/relative");
    bench.accept(&archive.end());
    let cases = [
        ("usr/bin/relative", "1"),
        ("usr/bin/absolute", "2"),
        ("canary/climbing", "3"),
        ("run/x/dangling", "4"),
        ("usr/bin/chained", "5"),
        ("usr/bin/round", "6"),
        ("hard", "1"),
    ];
    for (path, data) in cases {
        assert_eq!(bench.node(path).data, data, "{path}");
    }
    assert_eq!(bench.node("bin").data, "usr/bin", "the link is still one");
    assert_eq!((bench.node("hard").links, bench.node("hard").first), (2, "hard".into()));
}

#[test]
fn a_directory_in_place_of_a_link_changes_nothing_behind_it() {
    let bench = Bench::new();
    let canary = bench.canary();
    let archive = Tar::new()
        .symlink("foo", canary.to_str().expect("utf-8"))
        .add(Entry::dir("foo/").mode(0o777))
        .file("foo/secret", "mine")
        .symlink("bar", "../canary")
        .add(Entry::dir("bar").mode(0o777).owner(1, 1))
        .symlink("f", "../canary/secret")
        .add(Entry::file("f", "overwritten").mode(0o777));
    bench.accept(&archive.end());
    assert_eq!((bench.node("foo").kind.as_str(), bench.node("foo").mode), ("dir", 0o777));
    assert_eq!(bench.node("bar").uid, 1);
    assert_eq!(bench.node("f").data, "overwritten");
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let bench = Bench::new();
    let archive = Tar::new()
        .file("a", "first")
        .hardlink("link", "a")
        .file("a", "second")
        .dir("d")
        .add(Entry::dir("d/e").mode(0o700))
        .file("d/e/f", "x")
        .file("d", "a file now")
        .dir("g")
        .symlink("g", "d")
        .file("h", "")
        .add(Entry::dir("h").mode(0o711))
        .add(Entry::dir("twice").mode(0o700).owner(3, 3))
        .file("twice/kept", "")
        .add(Entry::dir("twice").mode(0o750))
        .file("same", "1")
        .hardlink("same", "same");
    bench.accept(&archive.end());
    assert_eq!((bench.node("a").data.as_str(), bench.node("link").data.as_str()), ("second", "first"));
    assert_eq!(bench.node("link").links, 1);
    assert_eq!(bench.node("d").data, "a file now");
    assert_eq!(bench.node("g").kind, "link");
    assert_eq!((bench.node("h").kind.as_str(), bench.node("h").mode), ("dir", 0o711));
    assert_eq!((bench.node("twice").mode, bench.node("twice").uid), (0o750, 0));
    assert!(bench.at("twice/kept").exists());
    assert_eq!(bench.node("same").data, "1");
}

#[test]
fn a_removed_directory_does_not_come_back_to_its_mode() {
    let bench = Bench::new();
    let archive = Tar::new()
        .add(Entry::dir("a").mode(0o700))
        .add(Entry::dir("a/b").mode(0o700))
        .symlink("a", "c")
        .add(Entry::dir("c").mode(0o755))
        .add(Entry::dir("c/b").mode(0o751));
    bench.accept(&archive.end());
    assert_eq!((bench.node("c").mode, bench.node("c/b").mode), (0o755, 0o751));
}

#[test]
fn modes_owners_and_times() {
    let bench = Bench::new();
    let archive = Tar::new()
        .add(Entry::dir("./").mode(0o711).raw_mtime(&octal(7, 12)))
        .add(Entry::file("suid", "x").mode(0o4755).owner(1, 2))
        .add(Entry::file("sgid", "x").mode(0o2711))
        .add(Entry::dir("sticky").mode(0o1777).owner(0, 50))
        .add(Entry::dir("setgid").mode(0o2775).owner(0, 50))
        .file("setgid/inner", "")
        .dir("setgid/dir")
        .add(Entry::dir("closed").mode(0).owner(9, 9))
        .file("closed/in", "")
        .add(Entry::file("none", "").mode(0).owner(65_535, 65_535))
        .add(Entry::new("pipe", b'6').mode(0o620).owner(4, 5))
        .add(Entry::symlink("link", "nowhere").mode(0o777).owner(6, 7))
        .add(Entry::file("old", "").raw_mtime(&octal(0, 12)))
        .add(Entry::file("negative", "").raw_mtime(&[0xff; 12]))
        .add(Entry::file("far", "").raw_mtime(&base256(1 << 62, 12)))
        .pax(&[("mtime", b"1.5"), ("uid", b"10"), ("gid", b"11"), ("uname", b"root")])
        .file("pax", "");
    bench.accept(&archive.end());
    let cases = [
        ("", 0o711, 0, 0),
        ("suid", 0o4755, 1, 2),
        ("sgid", 0o2711, 0, 0),
        ("sticky", 0o1777, 0, 50),
        ("setgid", 0o2775, 0, 50),
        ("setgid/inner", 0o644, 0, 0),
        ("setgid/dir", 0o755, 0, 0),
        ("closed", 0, 9, 9),
        ("none", 0, 65_535, 65_535),
        ("pipe", 0o620, 4, 5),
        ("link", 0o777, 6, 7),
        ("pax", 0o644, 10, 11),
    ];
    for (path, mode, uid, gid) in cases.into_iter().filter(|case| case.2 < RANGE) {
        let node = bench.node(path);
        assert_eq!((node.mode, node.uid, node.gid), (mode, uid, gid), "{path}");
    }
    let times =
        [("", (7, 0)), ("suid", (1_000_000_000, 0)), ("sticky", (1_000_000_000, 0)), ("link", (1_000_000_000, 0))];
    for (path, time) in times.into_iter().chain([("old", (0, 0)), ("negative", (0, 0)), ("pax", (1, 500_000_000))]) {
        assert_eq!(bench.node(path).mtime, time, "{path}");
    }
    assert!(bench.node("far").mtime.0 > 4_000_000_000);
}

#[test]
fn attributes_that_would_forge_are_dropped() {
    let bench = Bench::new();
    let forged: [(&str, &[u8]); 12] = [
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.whiteout", b"y"),
        ("SCHILY.xattr.user.fuseoverlayfs.opaque", b"y"),
        ("SCHILY.xattr.user.containers.override_stat", b"0:0:0755"),
        ("SCHILY.xattr.user.pybox.override_stat", b"0:0:4755:file"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0"),
        ("SCHILY.xattr.security.ima", b"x"),
        ("LIBARCHIVE.xattr.user.overlay.opaque", b"eQ=="),
        ("SCHILY.xattr.user.kept", b"value\0with\nbytes"),
        ("SCHILY.xattr.user.empty", b""),
    ];
    let unpacked = bench.accept(&Tar::new().pax(&forged).file("f", "x").pax(&forged).dir("d").end());
    for path in ["f", "d"] {
        let attributes = bench.node(path).attributes;
        let names: Vec<_> = attributes.keys().map(|name| name.to_string_lossy()).collect();
        assert_eq!(names, ["user.empty", "user.kept"], "{path}");
        assert_eq!(attributes[OsStr::new("user.kept")], b"value\0with\nbytes");
    }
    assert_eq!(unpacked.warnings, []);
}

#[test]
fn file_capabilities_are_the_namespaces() {
    let bench = Bench::new();
    let second = [&[1, 0, 0, 2][..], &[0x00, 0x20, 0, 0], &[0; 12]].concat();
    let third = [&[1, 0, 0, 3][..], &[0x00, 0x20, 0, 0], &[0; 12], &77_u32.to_le_bytes()].concat();
    let archive = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", &second)])
        .add(Entry::file("v2", "x").owner(1, 1).mode(0o755))
        .pax(&[("SCHILY.xattr.security.capability", &third)])
        .add(Entry::file("v3", "x").mode(0o755))
        .pax(&[("SCHILY.xattr.security.capability", b"garbage")])
        .file("bad", "x");
    let unpacked = bench.accept(&archive.end());
    assert_eq!(unpacked.warnings, []);
    let capability = |path: &str| bench.node(path).attributes.get(OsStr::new("security.capability")).cloned();
    let root = bench.map().uids[0].outside;
    let (v2, v3) = (capability("v2").expect("kept"), capability("v3").expect("kept"));
    assert_eq!(v2[4..20], second[4..]);
    if crate::bench::is_root() {
        // Read from outside, revision 3 names the root that it holds for.
        assert_eq!(v2[20..], root.to_le_bytes());
    }
    assert_eq!(v2, v3);
    assert_eq!(capability("bad"), None);
}

#[test]
fn devices_become_notes() {
    let bench = Bench::new();
    let archive = Tar::new()
        .add(Entry::new("dev/null", b'3').device(1, 3).mode(0o666).owner(0, 5))
        .add(Entry::new("dev/sda", b'4').device(8, 0).mode(0o660))
        .add(Entry::new("dev/whiteout", b'3').device(0, 0).mode(0o600));
    let unpacked = bench.accept(&archive.end());
    let note = |path: &str| {
        let node = bench.node(path);
        assert_eq!((node.kind.as_str(), node.size), ("file", 0), "{path}");
        String::from_utf8(node.attributes[OsStr::new("user.pybox.override_stat")].clone()).expect("text")
    };
    assert_eq!(note("dev/null"), "0:5:20666:c-1-3");
    assert_eq!(note("dev/sda"), "0:0:60660:b-8-0");
    assert_eq!(note("dev/whiteout"), "0:0:20600:c-0-0", "no archive can forge a whiteout");
    assert_eq!(unpacked.warnings.len(), 1);
    let warning = &unpacked.warnings[0];
    assert_eq!((warning.kind, warning.count), (WarningKind::DevicePlaceholder, 3));
    assert_eq!(warning.example, "dev/null: char-1-3");
}

#[test]
fn old_formats_are_read() {
    let bench = Bench::new();
    let v7 = |entry: Entry| entry.magic(&[0; 8]);
    let archive = Tar::new()
        .add(v7(Entry::new("v7", 0).body("old")))
        .add(v7(Entry::new("v7dir/", 0)))
        .add(v7(Entry::hardlink("v7link", "v7")))
        .add(Entry::new("contiguous", b'7').body("c"))
        .global(&[("comment", b"0123456789abcdef")])
        .long(b'L', "l/".repeat(100) + "long")
        .add(Entry::file("short", "long name").gnu())
        .long(b'K', "target/".repeat(40))
        .long(b'L', "n".repeat(200))
        .add(Entry::symlink("short", "short").gnu());
    bench.accept(&archive.end());
    assert_eq!((bench.node("v7").data.as_str(), bench.node("v7").links), ("old", 2));
    assert_eq!(bench.node("v7dir").kind, "dir");
    assert_eq!(bench.node("contiguous").data, "c");
    assert_eq!(bench.node(&("l/".repeat(100) + "long")).data, "long name");
    assert_eq!(bench.node(&"n".repeat(200)).data, "target/".repeat(40));
}

#[test]
fn the_size_in_pax_wins() {
    let bench = Bench::new();
    let body = b"data of a file whose header says that there is none";
    let size = body.len().to_string();
    let entry = Entry::file("a", body).size(0);
    bench.accept(&Tar::new().pax(&[("size", size.as_bytes())]).add(entry).file("b", "after").end());
    assert_eq!(bench.node("a").data.as_bytes(), body);
    assert_eq!(bench.node("b").data, "after");
}

#[test]
fn several_members_and_frames() {
    let archive = Tar::new().file("a", "x".repeat(100_000)).symlink("l", "a").end();
    let (head, tail) = archive.split_at(1000);
    let gzip = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, data).expect("compress");
        encoder.finish().expect("compress")
    };
    let zstd = |data: &[u8]| zstd::stream::encode_all(data, 3).expect("compress");
    let cases = [
        (Compression::Gzip, [gzip(head), gzip(tail)].concat()),
        (Compression::Gzip, [gzip(&archive), vec![0; 700]].concat()),
        (Compression::Zstd, [zstd(head), zstd(tail)].concat()),
    ];
    for (compression, bytes) in cases {
        let bench = Bench::new();
        let diff_id = pybox::model::digest::Digest::of(&archive);
        let job = Unpack { compression, diff_id: Some(diff_id.clone()), limits: small() };
        let unpacked = bench.run(&job, &bytes).expect("accepted");
        assert_eq!((unpacked.diff_id, unpacked.entries, unpacked.bytes), (diff_id, 2, 100_000));
        assert_eq!(bench.node("a").size, 100_000);
    }
}

#[test]
fn sparse_files_have_holes() {
    let bench = Bench::new();
    let size = 8_u64 << 20;
    let gnu = Entry::new("gnu", b'S')
        .gnu()
        .body([b'x'; 512])
        .patch(386, octal(size - 512, 12))
        .patch(398, octal(512, 12))
        .patch(483, octal(size, 12));
    let mut map = b"1\n8388096\n512\n".to_vec();
    map.resize(512, 0);
    map.extend([b'x'; 512]);
    let pax: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"pax"),
        ("GNU.sparse.realsize", b"8388608"),
    ];
    let hole: [(&str, &[u8]); 2] = [("GNU.sparse.map", b""), ("GNU.sparse.size", b"8388608")];
    bench.accept(&Tar::new().add(gnu).pax(&pax).file("GNUSparseFile.0/pax", map).pax(&hole).file("hole", "").end());
    for (path, blocks) in [("gnu", 8), ("pax", 8), ("hole", 0)] {
        let stat = std::fs::metadata(bench.at(path)).expect("stat");
        assert_eq!(std::os::unix::fs::MetadataExt::size(&stat), size, "{path}");
        assert!(std::os::unix::fs::MetadataExt::blocks(&stat) <= blocks + 8, "{path}");
    }
    let tail = std::fs::File::open(bench.at("gnu")).expect("open");
    let mut data = [0; 513];
    std::os::unix::fs::FileExt::read_exact_at(&tail, &mut data, size - 513).expect("read");
    assert_eq!((data[0], &data[1..]), (0, &[b'x'; 512][..]));
}

#[test]
fn a_second_time_gives_the_same() {
    let archive = Tar::new().dir("a").file("a/b", "x").symlink("l", "a").hardlink("h", "a/b").end();
    let trees = [(), ()].map(|()| {
        let bench = Bench::new();
        bench.accept(&archive);
        bench.accept(&archive);
        let mut tree = bench.tree();
        tree.remove(std::path::Path::new(""));
        tree
    });
    assert_eq!(trees[0], trees[1]);
}
