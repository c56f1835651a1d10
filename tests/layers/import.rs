//! `import`, from archives and directories to an image in a store.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use pybox::engine::Engine;
use pybox::engine::api::{Event, Failure, FailureKind, Import, Imported, Reply, Settings, Source};
use pybox::store::{Access, Store};

use crate::bench::{Node, exe, ids, inside, is_root, tree};
use crate::evil_tar::{Entry, Tar};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir_in("/var/tmp").expect("a temporary directory") };
        std::fs::create_dir(place.root()).expect("mkdir");
        std::fs::set_permissions(place.root(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn import(&self, source: &Path, change: &str) -> Result<(Imported, Vec<Event>), Failure> {
        let settings = Settings { root: self.root(), program: exe(), ..Settings::default() };
        let mut events = Vec::new();
        let import = Import {
            source: Source::Path(source.to_owned()),
            reference: Some("mine:1".parse().expect("a reference")),
            platform: None,
            message: Some("made by hand".to_owned()),
            changes: vec![change.to_owned()],
        };
        let reply = Engine::new(settings).call(import.into(), &mut |event| events.push(event))?;
        match reply {
            Reply::Imported(imported) => Ok((*imported, events)),
            other => panic!("{other:?}"),
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        path
    }

    /// The tree of the one layer of the one image, ids as they are inside.
    fn layer(&self) -> BTreeMap<PathBuf, Node> {
        let store = Store::open(&self.root(), Access::Read).expect("a store");
        let image = store.find_image("mine:1").expect("the image");
        let dirs = store.layer_dirs(&image).expect("layers");
        // The init layer is on top of the image's own.
        let mut nodes = tree(dirs.iter().find(|dir| !dir.ends_with("init/diff")).expect("a layer"));
        if !is_root() {
            let (_, map) = ids();
            for node in nodes.values_mut() {
                (node.uid, node.gid) = (inside(&map.uids, node.uid), inside(&map.gids, node.gid));
            }
        }
        nodes
    }

    /// Files of the store that hold blobs and layers.
    fn kept(&self) -> Vec<PathBuf> {
        let nodes = tree(&self.root()).into_iter().filter(|(_, node)| node.kind == "file");
        let kept = |path: &PathBuf| path.starts_with("images/blobs") || path.starts_with("images/layers");
        nodes.map(|(path, _)| path).filter(kept).collect()
    }
}

fn archive() -> Vec<u8> {
    Tar::new().dir("./").add(Entry::file("bin/sh", "#!").mode(0o755)).symlink("sh", "bin/sh").end()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, data).expect("compress");
    encoder.finish().expect("compress")
}

#[test]
fn archives_become_images_of_one_layer() {
    let zstd = zstd::stream::encode_all(&archive()[..], 3).expect("compress");
    for (bytes, suffix) in [(archive(), ""), (gzip(&archive()), "+gzip"), (zstd, "+zstd")] {
        let place = Place::new();
        let source = place.file("rootfs.tar", &bytes);
        let (imported, _) = place.import(&source, "CMD [\"/bin/sh\"]").expect("imported");
        assert_eq!(imported.references, ["mine:1".parse().expect("a reference")]);
        let store = Store::open(&place.root(), Access::Read).expect("a store");
        let image = store.find_image("mine:1").expect("the image");
        assert_eq!(image.id, imported.id);
        assert_eq!(image.layers.len(), 1);
        assert_eq!(image.layers[0].media_type, format!("application/vnd.oci.image.layer.v1.tar{suffix}"));
        assert_eq!(image.layers[0].diff_id, pybox::model::digest::Digest::of(&archive()));
        let config = store.read_blob(&image.id, 1 << 20).expect("a configuration");
        let config: serde_json::Value = serde_json::from_slice(&config).expect("json");
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/sh"]));
        assert_eq!(config["history"][0]["comment"], "made by hand");
        assert_eq!(config["os"], "linux");
        assert_eq!(place.layer()[Path::new("bin/sh")].mode, 0o755);
    }
}

#[test]
fn a_directory_becomes_what_it_is() {
    let place = Place::new();
    let source = place.dir.path().join("rootfs");
    let long = format!("{}/{}", "deep/".repeat(30), "n".repeat(120));
    let file = |path: &str, data: &str, mode: u32| {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&path, data).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    file("bin/su", "#!", 0o4755);
    file(&long, "long", 0o600);
    std::fs::hard_link(source.join("bin/su"), source.join("bin/sudo")).expect("link");
    symlink("/etc/passwd", source.join("passwd")).expect("symlink");
    symlink("t".repeat(200), source.join("longlink")).expect("symlink");
    std::fs::create_dir(source.join("tmp")).expect("mkdir");
    std::fs::set_permissions(source.join("tmp"), std::fs::Permissions::from_mode(0o1777)).expect("chmod");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, source.join("pipe"), fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .expect("mkfifo");
    rustix::fs::setxattr(source.join("tmp"), "user.kept", b"1", rustix::fs::XattrFlags::empty()).expect("xattr");
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).expect("bind");
    let (_, events) = place.import(&source, "WORKDIR /srv").expect("imported");
    assert!(events.contains(&Event::Warning("1 sockets are not in the image".to_owned())), "{events:?}");
    let mut expected = tree(&source);
    expected.remove(Path::new("socket"));
    for node in expected.values_mut() {
        // Ours outside is root inside; times are kept to the second.
        (node.uid, node.gid, node.mtime.1) = (0, 0, 0);
    }
    let found = place.layer();
    for (path, node) in &expected {
        assert_eq!(found.get(path), Some(node), "{}", path.display());
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn the_same_directory_gives_the_same_layer() {
    let layers = [(), ()].map(|()| {
        let place = Place::new();
        let source = place.dir.path().join("rootfs");
        for name in ["b", "a/c", "a/b"] {
            std::fs::create_dir_all(source.join(name)).expect("mkdir");
        }
        for path in ["a/c", "a/b", "a", "b", ""] {
            let time = rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let flags = rustix::fs::AtFlags::empty();
            rustix::fs::utimensat(rustix::fs::CWD, source.join(path), &times, flags).expect("utimens");
        }
        place.import(&source, "USER 1").expect("imported");
        let store = Store::open(&place.root(), Access::Read).expect("a store");
        store.find_image("mine:1").expect("the image").layers[0].diff_id.clone()
    });
    assert_eq!(layers[0], layers[1]);
}

#[test]
fn what_is_no_root_file_system_leaves_nothing() {
    let truncated = gzip(&archive());
    let cases: [(&str, Vec<u8>, FailureKind, &str); 7] = [
        ("empty", Vec::new(), FailureKind::Invalid, "is empty"),
        ("xz", b"\xfd7zXZ\0\0\x04rest".to_vec(), FailureKind::Invalid, "compressed with xz"),
        ("bzip2", b"BZh91AY".to_vec(), FailureKind::Invalid, "compressed with bzip2"),
        ("text", b"#!/bin/sh\necho no archive\n".repeat(100), FailureKind::Corrupt, "archive is damaged"),
        ("truncated", truncated[..truncated.len() - 5].to_vec(), FailureKind::Corrupt, "ends early"),
        ("climbing", Tar::new().file("../x", "").end(), FailureKind::Corrupt, "`..`"),
        ("linking", Tar::new().hardlink("a", "/etc/passwd").end(), FailureKind::Corrupt, "is a hard link"),
    ];
    for (name, bytes, kind, words) in cases {
        let place = Place::new();
        let source = place.file("archive", &bytes);
        let failure = place.import(&source, "USER 1").expect_err(name);
        assert_eq!(failure.kind, kind, "{name}: {failure}");
        assert!(failure.message.contains(words), "{name}: {failure}");
        assert_eq!(place.kept(), Vec::<PathBuf>::new(), "{name}");
    }
    let place = Place::new();
    let failure = place.import(Path::new("/nonexistent"), "USER 1").expect_err("nothing there");
    assert_eq!(failure.kind, FailureKind::NotFound);
    let failure = place.import(Path::new("/nonexistent"), "RUN make").expect_err("no such change");
    assert_eq!(failure.kind, FailureKind::Invalid);
}
