use std::path::Path;

use pybox::engine::api::{ArchiveFormat, Event, FailureKind, Load, Save, Source};
use serde_json::json;

use super::Bench;
use super::layout::{self, Layout, Packing, tar};

/// Loads these bytes and expects to be refused with a sentence that has `why` in it, and nothing left.
fn refused(bytes: &[u8], kind: FailureKind, why: &str) {
    let bench = Bench::new();
    std::fs::write(bench.path("archive"), bytes).expect("write");
    let failure = bench.load(&bench.path("archive")).expect_err(why);
    assert!(failure.message.contains(why), "{:?} lacks {why:?}", failure.message);
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert_eq!(bench.files(), Vec::<String>::new(), "{why}");
    assert!(!bench.path("canary").exists());
}

/// An archive with one link, and one with one file, under any name.
fn raw(name: &str, kind: tar::EntryType, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

#[test]
fn what_is_no_archive_of_images_is_refused() {
    let whole = tar(&[("manifest.json", b"[]"), ("x", &[7; 3000])]);
    for (bytes, why) in [
        (b"no archive at all".to_vec(), "read the archive"),
        (vec![], "read the archive: no data"),
        (tar(&[("etc/passwd", b"root")]), "neither manifest.json nor index.json"),
        (whole[..2000].to_vec(), "read the archive"),
        (layout::gzip(&whole)[..40].to_vec(), "read the archive"),
        ([&layout::gzip(&whole)[..], b"tail"].concat(), "read the archive"),
        (tar(&[("manifest.json", b"{")]), "manifest.json of the archive: "),
        (tar(&[("index.json", b"{}"), ("oci-layout", b"{}")]), "index.json of the archive: "),
        (tar(&[("a", b"1"), ("a", b"2")]), "a of the archive: it is there twice"),
        (tar(&[("manifest.json", &vec![b' '; 5 << 20])]), "manifest.json has more than 4194304 bytes"),
    ] {
        refused(&bytes, FailureKind::Corrupt, why);
    }
}

#[test]
fn names_and_links_stay_inside() {
    let entry = |name, kind, link| raw(name, kind, link, b"");
    for (bytes, why) in [
        (raw("../canary", tar::EntryType::Regular, "", b"x"), "`..`"),
        (raw("blobs/sha256/../../../canary", tar::EntryType::Regular, "", b"x"), "`..`"),
        (entry("a/layer.tar", tar::EntryType::Symlink, "../../canary"), "leaves the archive"),
        (entry("layer.tar", tar::EntryType::Symlink, "/etc/passwd"), "leaves the archive"),
        (entry("layer.tar", tar::EntryType::Link, "../canary"), "`..`"),
        (entry("dev", tar::EntryType::Char, ""), "neither file, directory nor link"),
        (entry("pipe", tar::EntryType::Fifo, ""), "neither file, directory nor link"),
    ] {
        refused(&bytes, FailureKind::Corrupt, why);
    }
    let loop_of_links = [
        &entry("one", tar::EntryType::Symlink, "two")[..512],
        &entry("two", tar::EntryType::Symlink, "one")[..512],
        &tar(&[("manifest.json", br#"[{"Config":"one","RepoTags":null,"Layers":[]}]"#)]),
    ]
    .concat();
    refused(&loop_of_links, FailureKind::Corrupt, "the archive lacks one");
    for config in ["/etc/passwd", "../../etc/passwd", "blobs/sha256/x", ""] {
        let manifest = json!([{ "Config": config, "RepoTags": null, "Layers": [] }]).to_string();
        refused(&tar(&[("manifest.json", manifest.as_bytes())]), FailureKind::Corrupt, "the archive lacks");
    }
}

#[test]
fn content_is_what_its_digest_says() {
    let bench = Bench::new();
    let path = bench.path("layout");
    layout::simple(&path, Some("app:1"), Packing::Gzip);
    let archive = |change: &dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>>| {
        let mut files = Vec::new();
        for name in ["index.json", "oci-layout"] {
            files.push((name.to_owned(), std::fs::read(path.join(name)).expect("read")));
        }
        for blob in std::fs::read_dir(path.join("blobs/sha256")).expect("blobs") {
            let blob = blob.expect("a blob");
            let name = format!("blobs/sha256/{}", blob.file_name().to_string_lossy());
            files.push((name, std::fs::read(blob.path()).expect("read")));
        }
        files.retain_mut(|(name, bytes)| match change(name, std::mem::take(bytes)) {
            Some(changed) => {
                *bytes = changed;
                true
            }
            None => false,
        });
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        tar(&files)
    };
    let is_layer = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b]);
    std::fs::write(bench.path("good"), archive(&|_, bytes| Some(bytes))).expect("write");
    bench.load(&bench.path("good")).expect("unchanged, it is fine");

    let flipped = archive(&|_, mut bytes| {
        if is_layer(&bytes) {
            bytes[20] ^= 1;
        }
        Some(bytes)
    });
    refused(&flipped, FailureKind::Corrupt, "came where");
    let without_layers = archive(&|_, bytes| (!is_layer(&bytes)).then_some(bytes));
    refused(&without_layers, FailureKind::Corrupt, "the archive lacks layer sha256:");
    let without_config = archive(&|_, bytes| (!bytes.starts_with(br#"{"architecture"#)).then_some(bytes));
    refused(&without_config, FailureKind::Corrupt, "the archive lacks configuration sha256:");
}

#[test]
fn a_layer_that_is_not_its_diff_id_leaves_nothing() {
    let bench = Bench::new();
    let path = bench.path("layout");
    let layout = Layout::new(&path);
    let climbing = raw("../canary", tar::EntryType::Regular, "", b"x");
    let layer = layout::gzip(&climbing);
    let layer_digest = layout.blob(&layer);
    for (diff_id, why) in [
        (pybox::model::digest::Digest::of(b"another"), "../canary"),
        (pybox::model::digest::Digest::of(&climbing), "../canary"),
    ] {
        let config = json!({ "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [diff_id] } })
        .to_string();
        let manifest = json!({ "schemaVersion": 2,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": layout.blob(config.as_bytes()), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer_digest, "size": layer.len() }] })
        .to_string();
        let index = json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": layout.blob(manifest.as_bytes()), "size": manifest.len() }] });
        std::fs::write(path.join("index.json"), index.to_string()).expect("write");
        std::fs::write(path.join("oci-layout"), "{}").expect("write");
        let again = Bench::new();
        let failure = again.load(&path).expect_err(why);
        assert!(failure.message.contains(why), "{failure:?}");
        assert_eq!(again.files(), Vec::<String>::new());
    }
}

#[test]
fn a_name_is_not_taken_from_another_image() {
    let bench = Bench::new();
    let old = layout::simple(&bench.path("old"), Some("app:1"), Packing::Gzip);
    bench.load(&bench.path("old")).expect("a layout");
    let before = bench.files();
    let path = bench.path("new");
    let mut new = Layout::new(&path);
    let id = new.image(Some("app:1"), &[("etc/base", b"another")], Packing::Gzip);
    new.finish();
    let failure = bench.load(&path).expect_err("taken");
    assert_eq!(failure.kind, FailureKind::Conflict);
    let sentence = format!("docker.io/library/app:1 is the name of another image ({})", old.short());
    assert_eq!(failure.message, sentence);
    assert!(failure.hint.is_some_and(|hint| hint.contains("--force")));
    assert_eq!(bench.files(), before, "nothing half-made");

    let (loaded, events) = bench.hear(Load { source: Source::Path(path), force: true });
    assert_eq!(loaded.expect("forced")[0].id, id);
    let said = format!("docker.io/library/app:1 was the name of image {} until now", old.short());
    assert!(events.contains(&Event::Warning(said)), "{events:?}");
}

#[test]
fn saving_leaves_other_files_alone() {
    use std::os::unix::fs::FileTypeExt as _;
    let bench = Bench::new();
    layout::simple(&bench.path("layout"), Some("app:1"), Packing::Gzip);
    bench.load(&bench.path("layout")).expect("a layout");
    let save = |image: &str, target: &Path| {
        let (format, target) = (ArchiveFormat::DockerArchive, Source::Path(target.into()));
        bench.call(Save { images: vec![image.into()], format, target })
    };
    // A device node of our own where we may make one, else the real one, which nobody but root could replace.
    let null = bench.path("null");
    let device = rustix::fs::makedev(1, 3);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::CharacterDevice;
    let made = rustix::fs::mknodat(rustix::fs::CWD, &null, kind, mode, device).is_ok();
    let null = if made { null } else { "/dev/null".into() };
    if std::fs::OpenOptions::new().write(true).open(&null).is_ok() {
        save("app:1", &null).expect("written nowhere");
    }
    assert!(std::fs::metadata(&null).expect("still there").file_type().is_char_device());

    let target = bench.path("target");
    std::fs::write(&target, "precious").expect("write");
    assert_eq!(save("none", &target).expect_err("no such image").kind, FailureKind::NotFound);
    let blobs = bench.path("root/images/blobs/sha256");
    for blob in std::fs::read_dir(&blobs).expect("blobs") {
        let path = blob.expect("a blob").path();
        let mut bytes = std::fs::read(&path).expect("read");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            bytes[20] ^= 1;
            std::fs::write(&path, bytes).expect("damage");
        }
    }
    let failure = save("app:1", &target).expect_err("damaged");
    assert!(failure.message.contains("is damaged on disk"), "{failure:?}");
    assert_eq!(std::fs::read_to_string(&target).expect("read"), "precious");
    let left: Vec<_> = std::fs::read_dir(bench.path(".")).expect("list").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
}
