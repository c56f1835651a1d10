use std::collections::BTreeMap;
use std::path::Path;

use pybox::engine::api::{ArchiveFormat, Save, Source};
use pybox::model::digest::Digest;

use super::layout::{self, Layout, Packing, gzip, zstd};
use super::{Bench, judge};

/// Blobs of a layout or a store, by name.
fn blobs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let blob = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a blob"))
    };
    std::fs::read_dir(path).expect("blobs").map(blob).collect()
}

fn save(bench: &Bench, names: &[&str], format: ArchiveFormat, name: &str) -> String {
    let path = bench.path(name);
    let images = names.iter().map(ToString::to_string).collect();
    let saved = bench.call(Save { images, format, target: Source::Path(path.clone()) }).expect("saved");
    assert_eq!(saved.bytes, std::fs::metadata(&path).expect("the archive").len());
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn every_packing_comes_back_byte_for_byte() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let bench = Bench::new();
        let id = layout::simple(&bench.path("layout"), Some("127.0.0.1:5000/app:1"), packing);
        let loaded = bench.load(&bench.path("layout")).expect("a layout");
        assert_eq!(loaded.len(), 1);
        assert_eq!((&loaded[0].id, loaded[0].references[0].to_string().as_str()), (&id, "127.0.0.1:5000/app:1"));
        assert_eq!(blobs(&bench.path("root/images/blobs/sha256")), blobs(&bench.path("layout/blobs/sha256")));
        let tops: Vec<_> = std::fs::read_dir(bench.path("root/images/layers"))
            .expect("layers")
            .filter_map(|layer| std::fs::read(layer.expect("a layer").path().join("diff/etc/top")).ok())
            .collect();
        assert_eq!(tops, [b"top"]);

        for format in [ArchiveFormat::DockerArchive, ArchiveFormat::OciArchive] {
            let archive = save(&bench, &["127.0.0.1:5000/app:1"], format, "out.tar");
            let again = Bench::new();
            assert_eq!(again.load(Path::new(&archive)).expect("our own archive"), loaded);
            assert_eq!(blobs(&again.path("root/images/blobs/sha256")), blobs(&bench.path("layout/blobs/sha256")));
        }
    }
}

#[test]
fn skopeo_and_umoci_read_what_is_saved() {
    let bench = Bench::new();
    let id = layout::simple(&bench.path("layout"), Some("127.0.0.1:5000/app:1"), Packing::Gzip);
    bench.load(&bench.path("layout")).expect("a layout");

    let docker = save(&bench, &["127.0.0.1:5000/app:1"], ArchiveFormat::DockerArchive, "docker.tar");
    let config = judge("skopeo", &["inspect", "--config", "--raw", &format!("docker-archive:{docker}")]);
    assert_eq!(Digest::of(config.as_bytes()), id);
    let by_name = format!("docker-archive:{docker}:127.0.0.1:5000/app:1");
    let inspected: serde_json::Value = serde_json::from_str(&judge("skopeo", &["inspect", &by_name])).expect("JSON");
    assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(2));
    // A full copy reads and checks every layer.
    let copy = bench.path("copy");
    judge("skopeo", &["copy", "--quiet", &by_name, &format!("oci:{}:app", copy.display())]);
    let layers = judge("umoci", &["stat", "--json", "--image", &format!("{}:app", copy.display())]);
    assert!(layers.contains("\"history\""), "{layers}");

    let oci = save(&bench, &["127.0.0.1:5000/app:1"], ArchiveFormat::OciArchive, "oci.tar");
    let manifest = judge("skopeo", &["inspect", "--raw", &format!("oci-archive:{oci}:127.0.0.1:5000/app:1")]);
    assert!(bench.path("layout/blobs/sha256").join(Digest::of(manifest.as_bytes()).hex()).exists(), "the very bytes");
}

#[test]
fn what_skopeo_writes_is_read() {
    let bench = Bench::new();
    let id = layout::simple(&bench.path("layout"), Some("app:1"), Packing::Gzip);
    let from = format!("oci:{}:app:1", bench.path("layout").display());
    for (kind, named) in [("docker-archive", true), ("oci-archive", true), ("docker-archive", false)] {
        let file = bench.path(&format!("{kind}-{named}.tar"));
        let name = if named { ":127.0.0.1:5000/x:2" } else { "" };
        judge("skopeo", &["copy", "--quiet", &from, &format!("{kind}:{}{name}", file.display())]);
        let again = Bench::new();
        let loaded = again.load(&file).expect(kind);
        let names: Vec<_> = loaded[0].references.iter().map(ToString::to_string).collect();
        assert_eq!(names, if named { vec!["127.0.0.1:5000/x:2"] } else { vec![] }, "{kind}");
        assert_eq!(loaded[0].id, id, "{kind}");
        assert_eq!(again.load(&file).expect("the same again"), loaded);
    }
}

#[test]
fn compressed_archives_are_read() {
    let bench = Bench::new();
    layout::simple(&bench.path("layout"), Some("app:1"), Packing::Gzip);
    let loaded = bench.load(&bench.path("layout")).expect("a layout");
    let archive = save(&bench, &["app:1"], ArchiveFormat::DockerArchive, "out.tar");
    let bytes = std::fs::read(archive).expect("the archive");
    for packed in [gzip(&bytes), zstd(&bytes)] {
        let again = Bench::new();
        std::fs::write(again.path("packed"), packed).expect("write");
        assert_eq!(again.load(&again.path("packed")).expect("compressed"), loaded);
    }
}

#[test]
fn several_images_share_an_archive() {
    let bench = Bench::new();
    let path = bench.path("layout");
    let mut layout = Layout::new(&path);
    let base: (&str, &[u8]) = ("etc/base", b"base");
    let one = layout.image(Some("app:1"), &[base, ("one", b"1")], Packing::Gzip);
    let two = layout.image(Some("app:2"), &[base, ("two", b"2")], Packing::Gzip);
    let three = layout.image(None, &[base], Packing::Gzip);
    layout.finish();
    bench.load(&path).expect("a layout");
    bench
        .call(pybox::engine::api::Tag { image: "app:1".into(), reference: "second:9".parse().expect("a name") })
        .expect("a name");
    let names = ["app:1", "second:9", "app:2", three.hex()];
    for format in [ArchiveFormat::DockerArchive, ArchiveFormat::OciArchive] {
        let archive = save(&bench, &names, format, "out.tar");
        let again = Bench::new();
        let loaded = again.load(Path::new(&archive)).expect("three images");
        let found: Vec<_> = loaded
            .iter()
            .map(|image| (&image.id, image.references.iter().map(|name| name.to_string()).collect::<Vec<_>>()))
            .collect();
        let library = |name: &str| format!("docker.io/library/{name}");
        assert_eq!(
            found,
            [(&one, vec![library("app:1"), library("second:9")]), (&two, vec![library("app:2")]), (&three, vec![])]
        );
    }
}

#[test]
fn an_old_docker_archive_is_read() {
    let bench = Bench::new();
    let layers = [layout::tar(&[("etc/base", b"base")]), layout::tar(&[("etc/top", b"top")])];
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers",
            "diff_ids": [Digest::of(&layers[0]), Digest::of(&layers[1]), Digest::of(&layers[0])] },
    })
    .to_string();
    let id = Digest::of(config.as_bytes());
    let manifest = serde_json::json!([{
        "Config": format!("{}.json", id.hex()), "RepoTags": ["app:old"],
        "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"],
    }])
    .to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).expect("in memory");
    };
    append(&format!("{}.json", id.hex()), config.as_bytes());
    append("one/VERSION", b"1.0");
    append("one/json", b"{}");
    append("one/layer.tar", &layers[0]);
    append("two/layer.tar", &layers[1]);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "three/layer.tar", "../one/layer.tar").expect("in memory");
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).expect("in memory");
    };
    append("manifest.json", manifest.as_bytes());
    append("repositories", b"{}");
    std::fs::write(bench.path("old.tar"), archive.into_inner().expect("in memory")).expect("write");

    let loaded = bench.load(&bench.path("old.tar")).expect("an old archive");
    assert_eq!((&loaded[0].id, loaded[0].references[0].to_string()), (&id, "docker.io/library/app:old".to_owned()));
    // Two layers, the configuration, and the manifest that was written for it.
    assert_eq!(bench.files().iter().filter(|name| name.starts_with("blobs/")).count(), 4);
    let again = save(&bench, &["app:old"], ArchiveFormat::DockerArchive, "new.tar");
    judge("skopeo", &["inspect", &format!("docker-archive:{again}")]);
}
