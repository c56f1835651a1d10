//! Unpacked layers: begun, committed, aborted, and found after a kill.

use super::*;

fn begin(store: &Store, diff_id: &Digest) -> super::super::layers::LayerIngest {
    store.begin_layer(diff_id, Wait::No).expect("a turn").expect("not here yet")
}

#[test]
fn a_layer_is_there_whole_or_not_at_all() {
    let (_dir, store) = store();
    let diff_id = Digest::of(b"layer");
    for settle in [Settle::Now, Settle::Later] {
        let _ = std::fs::remove_dir_all(store.layout().layer(&diff_id));
        let ingest = begin(&store, &diff_id);
        assert!(matches!(store.begin_layer(&diff_id, Wait::No), Err(StoreError::Busy { .. })));
        std::fs::write(ingest.diff().join("f"), "x").expect("a file");
        assert!(!store.has_layer(&diff_id));
        let stats = LayerStats { bytes: 1, entries: 2 };
        store.commit_layer(ingest, &stats, settle).expect("a layer");
        assert_eq!(store.layer_stats(&diff_id), Some(stats));
        assert!(store.begin_layer(&diff_id, Wait::No).expect("a turn").is_none());
        assert_eq!(std::fs::read_to_string(store.layout().layer_diff(&diff_id).join("f")).expect("a file"), "x");
    }
}

#[test]
fn what_was_aborted_or_killed_is_cleared_away() {
    let (_dir, store) = store();
    let diff_id = Digest::of(b"layer");
    let ingest = begin(&store, &diff_id);
    std::fs::write(ingest.diff().join("f"), "x").expect("a file");
    assert_eq!(store.abort_layer(ingest), Vec::<std::path::PathBuf>::new());
    std::mem::drop(begin(&store, &diff_id));
    let half = store.layout().layer(&diff_id);
    std::fs::create_dir(&half).expect("a directory without marker");
    let ingest = begin(&store, &diff_id);
    assert_eq!(ingest.leftovers(), Vec::<std::path::PathBuf>::new());
    store.commit_layer(ingest, &LayerStats::default(), Settle::Later).expect("a layer");
    let left: Vec<_> = std::fs::read_dir(store.layout().layers()).expect("list").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read_dir(store.layout().trash()).expect("list").count(), 0);
}

#[test]
fn a_layer_of_another_boot_is_in_doubt_until_settled() {
    let (_dir, store) = store();
    let image = put(&store, "x");
    let set_boot = |boot: &str| {
        let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
        db.execute("UPDATE layers SET boot = ?", [boot]).expect("another boot");
        for layer in &image.layers {
            let marker = store.layout().layer(&layer.diff_id).join("complete");
            std::fs::write(marker, format!(r#"{{"bytes":1,"entries":1,"boot":"{boot}"}}"#)).expect("write");
        }
    };
    set_boot("another");
    let found = store.find_image("x").expect("the image");
    assert!(matches!(store.layer_dirs(&found), Err(StoreError::MissingLayer(_))));
    assert!(!store.has_layer(&image.layers[0].diff_id));
    assert_eq!(store.settle_layers().expect("nothing to do"), 0);

    prepare(&store, &["base", "x"], "x");
    let found = store.find_image("x").expect("the image");
    assert_eq!(store.layer_dirs(&found).expect("unpacked again").len(), 2);
    assert_eq!(store.settle_layers().expect("synced"), 2);
    assert_eq!(store.settle_layers().expect("nothing left"), 0);
    let marker = std::fs::read_to_string(store.layout().layer(&image.layers[0].diff_id).join("complete")).expect("it");
    assert!(marker.contains("\"boot\":null"), "{marker}");
}

#[test]
fn the_uppermost_layer_comes_first() {
    let (_dir, store) = store();
    let image = put(&store, "x");
    let dirs = store.layer_dirs(&store.find_image("x").expect("the image")).expect("its layers");
    let expected: Vec<_> = image.layers.iter().rev().map(|layer| store.layout().layer_diff(&layer.diff_id)).collect();
    assert_eq!(dirs, expected);
    std::fs::remove_dir_all(store.layout().layer(&image.layers[1].diff_id)).expect("deleted under our feet");
    let error = store.layer_dirs(&store.find_image("x").expect("the image")).expect_err("one is missing");
    assert_eq!(error.to_string(), format!("layer {} is not unpacked", image.layers[1].diff_id));
}

#[test]
fn the_init_layer_is_made_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, store) = store();
    let diff = store.init_layer().expect("the layer");
    for (name, mode) in [
        ("", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("etc/hosts", 0o644),
        ("run/.containerenv", 0o644),
        (".dockerenv", 0o644),
    ] {
        let metadata = std::fs::metadata(diff.join(name)).expect(name);
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
    }
    assert_eq!(std::fs::read_link(diff.join("etc/mtab")).expect("a link"), std::path::Path::new("/proc/mounts"));
    std::fs::write(diff.join("kept"), "").expect("a trace");
    assert_eq!(store.init_layer().expect("the same"), diff);
    assert!(diff.join("kept").exists());
    std::fs::remove_file(diff.join("../complete-1")).expect("as an older version would have it");
    store.init_layer().expect("a new one");
    assert!(!diff.join("kept").exists() && diff.join("etc/hosts").exists());
    assert_eq!(std::fs::read_dir(store.layout().trash()).expect("list").count(), 0);
}
