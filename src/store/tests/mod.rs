//! Tests of the room on real files. What needs another process, a full disk or
//! a read-only file system runs this test binary again as a child, see [`child`].

mod blobs;
mod child;
mod containers;
mod crash;
mod full_disk;
mod garbage;
mod images;
mod layers;
mod open;

use super::bundle::BundleFile;
use super::containers::Container;
use super::image::{ImageNames, NewImage, TagName};
use super::layers::{LayerStats, Settle};
use super::{Access, Age, Durability, Force, Store, StoreError, Wait};
use crate::model::digest::Digest;
use crate::model::id::ContainerId;
use crate::model::lifecycle::Lifecycle;
use crate::model::reference::Reference;

const PATIENT: Wait = Wait::Until(std::time::Duration::from_secs(20));

/// A new store in a directory of its own.
fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("root"), Access::Write).expect("a store");
    (dir, store)
}

fn reference(text: &str) -> Reference {
    text.parse().expect(text)
}

fn tagged(text: &str) -> ImageNames {
    ImageNames { tags: vec![TagName { reference: reference(text), target: None }], digests: vec![] }
}

/// Puts blobs and unpacked layers of an image with these layers into the store, but not the image itself.
fn prepare(store: &Store, layers: &[&str], label: &str) -> NewImage {
    let mut diff_ids = Vec::new();
    let mut descriptors = Vec::new();
    for layer in layers {
        let blob = Digest::of(layer.as_bytes());
        store.put_blob(&blob, layer.as_bytes()).expect("a layer blob");
        let diff_id = Digest::of(format!("unpacked {layer}").as_bytes());
        if let Some(ingest) = store.begin_layer(&diff_id, PATIENT).expect("a turn") {
            std::fs::write(ingest.diff().join("file"), layer).expect("a file");
            let stats = LayerStats { bytes: layer.len() as u64, entries: 1 };
            store.commit_layer(ingest, &stats, Settle::Later).expect("a layer");
        }
        diff_ids.push(format!("\"{diff_id}\""));
        descriptors.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{},"digest":"{blob}"}}"#,
            layer.len()
        ));
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":{{"Labels":{{"l":"{label}"}}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let id = Digest::of(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{id}"}},"layers":[{}]}}"#,
        config.len(),
        descriptors.join(",")
    );
    let digest = Digest::of(manifest.as_bytes());
    store.put_blob(&id, config.as_bytes()).expect("a configuration");
    store.put_blob(&digest, manifest.as_bytes()).expect("a manifest");
    NewImage::describe(&digest, manifest.as_bytes(), config.as_bytes()).expect("an image")
}

/// Puts an image of two layers, the lower one shared by all.
fn put(store: &Store, name: &str) -> NewImage {
    let image = prepare(store, &["base", name], name);
    store.put_image(&image, &tagged(name)).expect("an image");
    image
}

fn container(image: &NewImage, name: &str) -> Container {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    Container {
        id: ContainerId::from_random(&bytes),
        name: name.parse().expect(name),
        image: image.id.clone(),
        manifest: image.manifest.clone(),
        created: 1,
        auto_remove: false,
        lifecycle: Lifecycle::Created,
        request: crate::model::container::ContainerRequest { image: "x".into(), ..Default::default() },
    }
}

fn running() -> Lifecycle {
    let process = |pid| crate::model::lifecycle::ProcessIdentity { pid, started_ticks: 1, boot_id: "b".into() };
    Lifecycle::Running { init: process(2), monitor: process(1), since: 5 }
}

/// What SECURITY.md 4.2 asks of a store at rest: I1 (rows), I2 (blobs), I3 (references), I4 (layers).
fn assert_whole(root: &std::path::Path) {
    let db = rusqlite::Connection::open(root.join("pybox.db")).expect("the database");
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(check, "ok");
    let broken: i64 =
        db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(broken, 0, "foreign keys");
    for blob in std::fs::read_dir(root.join("images/blobs/sha256")).expect("the blobs") {
        let blob = blob.expect("a blob");
        let bytes = std::fs::read(blob.path()).expect("its bytes");
        assert_eq!(Digest::of(&bytes).hex(), blob.file_name().to_string_lossy());
    }
    let store = Store::open(root, Access::Write).expect("the store");
    for summary in store.list_images().expect("the images") {
        let image = store.find_image(&summary.id.to_string()).expect("the image");
        store.read_blob(&image.manifest, 1 << 20).expect("its manifest");
        store.read_blob(&image.id, 1 << 20).expect("its configuration");
        assert!(image.layers.iter().all(|layer| store.has_blob(&layer.blob)));
        for dir in store.layer_dirs(&image).expect("its layers") {
            assert!(dir.join("file").exists(), "{dir:?}");
        }
    }
}
