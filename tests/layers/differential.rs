//! The tree that a worker makes against the tree that GNU tar makes.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;

use crate::bench::{Bench, Node, inside, is_root, tree};
use crate::evil_tar::{Entry, Tar};

/// GNU tar's answer to `archive`: the tree with ids as they are inside, or `None` if it failed.
fn gnu_tar(bench: &Bench, archive: &[u8]) -> Option<BTreeMap<PathBuf, Node>> {
    let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
    let file = dir.path().join("archive.tar");
    std::fs::write(&file, archive).expect("write");
    let out = dir.path().join("tree");
    std::fs::create_dir(&out).expect("mkdir");
    std::fs::set_permissions(&out, Permissions::from_mode(0o755)).expect("chmod");
    let words = ["--extract", "--numeric-owner", "--same-owner", "--preserve-permissions"];
    let attributes = ["--xattrs", "--xattrs-include=user.*", "--warning=none"];
    let output = mapped("tar").args(words).args(attributes).arg("--file").arg(&file).arg("-C").arg(&out).output();
    if !output.expect("tar").status.success() {
        return None;
    }
    let mut nodes = tree(&out);
    if !is_root() {
        for node in nodes.values_mut() {
            (node.uid, node.gid) = (inside(&bench.map().uids, node.uid), inside(&bench.map().gids, node.gid));
        }
        assert!(mapped("rm").arg("-rf").arg(&out).status().expect("rm").success());
    }
    Some(nodes)
}

/// `program` as a root: the real one, or that of a user namespace with the map of the tests.
fn mapped(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--map-auto", program]);
    command
}

fn run(program: &str, words: &[&str], at: &Path) -> Output {
    let output = Command::new(program).args(words).current_dir(at).output().expect(program);
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A tree with something of everything, as the caller may make it.
fn sample(root: &Path) {
    let file = |path: &str, data: &[u8], mode: u32| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&path, data).expect("write");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
    };
    file("etc/passwd", b"root:x:0:0\n", 0o644);
    file("bin/su", b"#!", 0o4755);
    file("bin/write", b"#!", 0o2755);
    file("empty", b"", 0o600);
    file("block", &[b'x'; 512], 0o444);
    file("large", &b"0123456789".repeat(200_000), 0o640);
    file(&format!("{}/{}", "deep/".repeat(30), "n".repeat(90)), b"long name", 0o644);
    file(&"f".repeat(200), b"longer than a header's field", 0o644);
    file("name with spaces\n and \u{fc}nicode", b"", 0o644);
    std::fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd-")).expect("link");
    std::fs::hard_link(root.join("etc/passwd"), root.join("another")).expect("link");
    symlink("etc/passwd", root.join("link")).expect("symlink");
    symlink("../../../outside", root.join("bin/out")).expect("symlink");
    symlink("t".repeat(300), root.join("longlink")).expect("symlink");
    for (path, mode) in [("tmp", 0o1777), ("shared", 0o2775), ("closed", 0o500)] {
        std::fs::create_dir(root.join(path)).expect("mkdir");
        std::fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("chmod");
    }
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), fifo, rustix::fs::Mode::from_raw_mode(0o620), 0)
        .expect("mkfifo");
    rustix::fs::setxattr(root.join("empty"), "user.comment", b"kept\0", rustix::fs::XattrFlags::empty())
        .expect("xattr");
    rustix::fs::setxattr(root.join("tmp"), "user.dir", b"", rustix::fs::XattrFlags::empty()).expect("xattr");
    let sparse = std::fs::File::create(root.join("sparse")).expect("create");
    for (offset, data) in [(100_000, &b"data"[..]), (1 << 20, b"more"), (3 << 20, b"end")] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, data, offset).expect("write");
    }
    sparse.set_len(4 << 20).expect("truncate");
    if is_root() {
        for (path, uid, gid) in [("etc/passwd", 1, 2), ("tmp", 33, 0), ("link", 5, 6), ("pipe", 7, 8), ("bin/su", 0, 9)]
        {
            std::os::unix::fs::lchown(root.join(path), Some(uid), Some(gid)).expect("chown");
        }
        chown(root.join("large"), Some(65_000), Some(65_000)).expect("chown");
        std::fs::set_permissions(root.join("bin/su"), Permissions::from_mode(0o4755)).expect("chmod");
    }
}

#[test]
fn archives_of_gnu_tar_become_the_same_tree() {
    let source = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
    let root = source.path().join("tree");
    std::fs::create_dir(&root).expect("mkdir");
    sample(&root);
    let owner = if is_root() { &["--numeric-owner"][..] } else { &["--numeric-owner", "--owner=0", "--group=0"] };
    let formats: [&[&str]; 9] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--xattrs", "--xattrs-include=user.*"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0", "--xattrs"],
        &["--format=gnu", "--absolute-names", "--transform=s,^\\.,/,"],
    ];
    for format in formats {
        let words = [&["--create", "--sort=name"], owner, format, &["--file", "../archive.tar", "."]].concat();
        run("tar", &words, &root);
        let archive = std::fs::read(source.path().join("archive.tar")).expect("read");
        same(&archive, &format!("{format:?}"));
    }
    // The old formats have no room for the long names.
    for name in ["longlink", &"f".repeat(200), "deep"] {
        let path = root.join(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("remove");
    }
    std::fs::remove_file(root.join("pipe")).expect("remove");
    for format in ["--format=ustar", "--format=v7"] {
        let words = [&["--create"], owner, &[format, "--file", "../archive.tar", "."]].concat();
        run("tar", &words, &root);
        same(&std::fs::read(source.path().join("archive.tar")).expect("read"), format);
    }
}

/// Both readers accept the archive, and make the same of it.
fn same(archive: &[u8], what: &str) {
    let bench = Bench::new();
    bench.accept(archive);
    let expected = gnu_tar(&bench, archive).unwrap_or_else(|| panic!("{what}: GNU tar fails"));
    compare(&bench.tree(), &expected, what);
}

fn compare(ours: &BTreeMap<PathBuf, Node>, theirs: &BTreeMap<PathBuf, Node>, what: &str) {
    for (path, node) in theirs {
        assert_eq!(ours.get(path), Some(node), "{what}: {}", path.display());
    }
    assert_eq!(ours.len(), theirs.len(), "{what}: {:?}", ours.keys().filter(|path| !theirs.contains_key(*path)));
}

/// An entry of a small world, where names meet often.
fn entry() -> impl Strategy<Value = Entry> {
    let name = || prop::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "a/b/c", "b/a/c", "c/c"]);
    let target = prop::sample::select(vec!["a", "b", "a/b", "nowhere", "c"]);
    let mode = prop::sample::select(vec![0o644_u64, 0o755, 0o700, 0o4755, 0o1777, 0o2750]);
    let owner = prop::sample::select(vec![(0_u64, 0_u64), (1, 2), (0, 7)]);
    let kinds = prop_oneof![
        3 => (name(), "[xyz]{0,3}").prop_map(|(name, data)| (Entry::file(name, data), 0)),
        3 => name().prop_map(|name| (Entry::dir(name), 0o2000)),
        1 => (name(), target).prop_map(|(name, target)| (Entry::symlink(name, target), 0)),
        1 => (name(), name()).prop_map(|(name, target)| (Entry::hardlink(name, target), 0)),
        1 => name().prop_map(|name| (Entry::new(name, b'6'), 0)),
    ];
    // A set-group-id directory hands its group to parents that are only implied, if GNU tar has made it already.
    (kinds, mode, owner).prop_map(|((entry, never), mode, (uid, gid))| entry.mode(mode & !never).owner(uid, gid))
}

/// What both readers make of parents that the archive only implies has the time
/// of now; and GNU tar gives a directory its mode and time again when it looks
/// at it through a link.
fn comparable(mut tree: BTreeMap<PathBuf, Node>) -> BTreeMap<PathBuf, Node> {
    for node in tree.values_mut() {
        if node.kind == "dir" {
            (node.mtime, node.mode) = ((0, 0), 0);
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_archives_become_the_same_tree(entries in prop::collection::vec(entry(), 1..8)) {
        let archive = Tar::new().dir("./").all(entries).end();
        let bench = Bench::new();
        let accepted = bench.unpack(&archive);
        bench.check_canary();
        // What either refuses (we: links to links; it: a file in place of a full
        // directory) has no tree to compare.
        if accepted.is_ok() && let Some(expected) = gnu_tar(&bench, &archive) {
            compare(&comparable(bench.tree()), &comparable(expected), "random");
        }
    }
}
