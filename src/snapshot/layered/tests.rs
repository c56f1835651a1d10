//! Files found through stacks of layers, and what must not be found.

use super::*;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, XattrFlags};

struct Layers {
    dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Layers {
    /// `count` empty layers; number 0 is the topmost.
    fn new(count: usize) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let paths: Vec<_> = (0..count).map(|number| dir.path().join(number.to_string())).collect();
        paths.iter().for_each(|path| std::fs::create_dir(path).expect("mkdir"));
        Self { dir, paths }
    }

    fn at(&self, layer: usize, path: &str) -> PathBuf {
        let path = self.paths[layer].join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir -p");
        path
    }

    fn file(&self, layer: usize, path: &str, text: &str) {
        std::fs::write(self.at(layer, path), text).expect("write");
    }

    fn whiteout(&self, layer: usize, path: &str) {
        let path = self.at(layer, path);
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).expect("mknod");
    }

    fn opaque(&self, layer: usize, path: &str) {
        let path = self.at(layer, path);
        std::fs::create_dir_all(&path).expect("mkdir");
        rustix::fs::setxattr(path, OPAQUE, b"y", XattrFlags::empty()).expect("setxattr");
    }

    fn read(&self, path: &str) -> Result<Option<String>, Errno> {
        match read_file(&self.paths, Path::new(path), 100) {
            Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8(bytes).expect("utf-8"))),
            Err(SnapshotError::Io { source, .. }) => Err(Errno::from_io_error(&source).expect("errno")),
            Err(other) => panic!("{other}"),
        }
    }
}

fn found(text: &str) -> Result<Option<String>, Errno> {
    Ok(Some(text.to_owned()))
}

#[test]
fn the_topmost_layer_that_has_it_wins() {
    let layers = Layers::new(3);
    layers.file(2, "etc/passwd", "bottom");
    layers.file(2, "etc/group", "bottom");
    layers.file(0, "etc/group", "top");
    layers.file(1, "etc/other", "");
    assert_eq!(layers.read("/etc/passwd"), found("bottom"));
    assert_eq!(layers.read("etc/group"), found("top"));
    assert_eq!(layers.read("/etc/missing"), Ok(None));
    assert_eq!(layers.read("/missing/passwd"), Ok(None));
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let layers = Layers::new(3);
    layers.file(2, "etc/passwd", "bottom");
    layers.file(2, "lib/os", "bottom");
    layers.file(2, "var/x", "bottom");
    layers.whiteout(1, "etc/passwd");
    layers.opaque(1, "lib");
    layers.whiteout(1, "var");
    layers.file(0, "var/y", "top");
    assert_eq!(layers.read("/etc/passwd"), Ok(None));
    assert_eq!(layers.read("/lib/os"), Ok(None));
    assert_eq!(layers.read("/var/x"), Ok(None));
    assert_eq!(layers.read("/var/y"), found("top"));
    layers.opaque(0, "");
    layers.file(1, "new", "hidden by the opaque root");
    assert_eq!(layers.read("/new"), Ok(None));
}

#[test]
fn a_file_ends_the_merging_of_directories() {
    let layers = Layers::new(3);
    layers.file(2, "d/low", "bottom");
    layers.file(1, "d", "a file between");
    layers.file(0, "d/high", "top");
    assert_eq!(layers.read("/d/high"), found("top"));
    assert_eq!(layers.read("/d/low"), Ok(None));
    assert_eq!(layers.read("/d/high/x"), Err(Errno::NOTDIR));
}

#[test]
fn links_stay_in_the_merged_tree() {
    let layers = Layers::new(2);
    layers.file(1, "usr/lib/os-release", "debian");
    symlink("../usr/lib/os-release", layers.at(0, "etc/os-release")).expect("symlink");
    symlink("/usr", layers.at(0, "u")).expect("symlink");
    symlink("../../../../../../../../etc/hostname", layers.at(0, "etc/climb")).expect("symlink");
    symlink("loop", layers.at(0, "loop")).expect("symlink");
    assert_eq!(layers.read("/etc/os-release"), found("debian"));
    assert_eq!(layers.read("/u/lib/os-release"), found("debian"));
    assert_eq!(layers.read("/u/../etc/os-release"), found("debian"));
    assert_eq!(layers.read("/etc/climb"), Ok(None), "the host has this file, the image has not");
    assert_eq!(layers.read("/loop"), Err(Errno::LOOP));
}

#[test]
fn only_small_regular_files_are_read() {
    let layers = Layers::new(1);
    layers.file(0, "etc/big", &"x".repeat(101));
    layers.file(0, "etc/fits", &"x".repeat(100));
    let fifo = layers.at(0, "etc/fifo");
    rustix::fs::mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR, 0).expect("mkfifo");
    let giant = std::fs::File::create(layers.at(0, "etc/giant")).expect("create");
    giant.set_len(2 << 30).expect("truncate");
    symlink("/dev/zero", layers.at(0, "etc/zero")).expect("symlink");
    assert_eq!(layers.read("/etc/big"), Err(Errno::FBIG));
    assert_eq!(layers.read("/etc/fits"), found(&"x".repeat(100)));
    assert_eq!(layers.read("/etc/giant"), Err(Errno::FBIG));
    assert_eq!(layers.read("/etc/fifo"), Err(Errno::INVAL));
    assert_eq!(layers.read("/etc/zero"), Ok(None));
    assert_eq!(layers.read("/etc"), Err(Errno::INVAL));
    assert_eq!(layers.read("/"), Err(Errno::INVAL));
    assert!(layers.dir.path().exists());
}
