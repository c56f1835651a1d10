//! Names that delete, as marks that the kernel's overlay reads.

use crate::bench::Bench;
use crate::evil_tar::{Entry, Tar};

fn is_whiteout(bench: &Bench, path: &str) -> bool {
    let node = bench.node(path);
    node.kind == "device" && node.data == "0"
}

fn is_opaque(bench: &Bench, path: &str) -> bool {
    bench.node(path).attributes.get(std::ffi::OsStr::new("user.overlay.opaque")).is_some_and(|value| value == b"y")
}

#[test]
fn whiteouts_become_devices_0_0() {
    let bench = Bench::new();
    bench.accept(&Tar::new().dir("etc").file("etc/.wh.passwd", "").file(".wh.usr", "ignored data").end());
    assert!(is_whiteout(&bench, "etc/passwd"));
    assert!(is_whiteout(&bench, "usr"));
    assert_eq!(bench.tree().len(), 4, "{:?}", bench.tree());
}

#[test]
fn opaque_marks_become_attributes() {
    let bench = Bench::new();
    let archive = Tar::new().file("late/.wh..wh..opq", "").dir("early").file("early/.wh..wh..opq", "");
    bench.accept(&archive.add(Entry::dir("late").mode(0o700)).file("late/file", "x").end());
    assert!(is_opaque(&bench, "early") && is_opaque(&bench, "late"));
    assert_eq!(bench.node("late").mode, 0o700);
    assert_eq!(bench.node("late/file").data, "x");
    assert!(!bench.at("late/.wh..wh..opq").exists());
}

#[test]
fn the_root_can_be_opaque() {
    let bench = Bench::new();
    bench.accept(&Tar::new().file(".wh..wh..opq", "").file("a", "").end());
    assert!(is_opaque(&bench, ""));
}

#[test]
fn whiteouts_do_not_touch_their_own_layer() {
    // The same, whichever comes first.
    let whiteouts = || [Entry::file(".wh.file", ""), Entry::file(".wh.dir", ""), Entry::file(".wh.link", "")];
    let entries =
        || [Entry::file("file", "x"), Entry::dir("dir"), Entry::file("dir/in", ""), Entry::symlink("link", "dir")];
    let archives = [
        Tar::new().all(whiteouts()).all(entries()).end(),
        Tar::new().all(entries()).all(whiteouts()).end(),
        Tar::new().all(whiteouts()).all(whiteouts()).all(entries()).all(entries()).all(whiteouts()).end(),
    ];
    let trees = archives.map(|archive| {
        let bench = Bench::new();
        bench.accept(&archive);
        assert_eq!(bench.node("file").data, "x");
        assert!(is_opaque(&bench, "dir"), "what lies below the directory is deleted");
        let mut tree = bench.tree();
        tree.remove(std::path::Path::new(""));
        tree
    });
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

#[test]
fn a_directory_that_is_only_implied_replaces_a_whiteout() {
    let bench = Bench::new();
    bench.accept(&Tar::new().file(".wh.a", "").file("a/b/c", "x").end());
    assert!(is_opaque(&bench, "a") && !is_opaque(&bench, "a/b"));
    assert_eq!((bench.node("a").mode, bench.node("a").uid), (0o755, 0));
}

#[test]
fn what_aufs_keeps_for_itself_is_left_out() {
    let bench = Bench::new();
    let archive = Tar::new().file(".wh..wh.aufs", "").dir(".wh..wh.plnk").file(".wh..wh.plnk/123.45", "x");
    bench.accept(&archive.dir(".wh..wh.orph").hardlink(".wh.gone", ".wh..wh.aufs").end());
    assert!(is_whiteout(&bench, "gone"));
    assert_eq!(bench.tree().len(), 2);
}

#[test]
fn whiteouts_through_links_stay_inside() {
    let bench = Bench::new();
    bench.accept(&Tar::new().symlink("l", "/../../canary").file("l/.wh.secret", "").end());
    assert!(is_whiteout(&bench, "canary/secret"));
    bench.check_canary();
}

#[test]
fn many_whiteouts_take_time_in_proportion() {
    let time = |count: u32| {
        let deep = "d/".repeat(20);
        let entries = (0..count).map(|n| Entry::file(format!("{deep}.wh.{n}"), ""));
        let archive = Tar::new().all(entries).end();
        let bench = Bench::new();
        let start = std::time::Instant::now();
        bench.accept(&archive);
        start.elapsed()
    };
    // Generous: it is the difference between linear and quadratic that counts.
    let (small, large) = (time(500), time(5_000));
    assert!(large < small * 40, "{small:?} {large:?}");
}
