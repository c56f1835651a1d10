//! Processes killed at every step of putting and removing an image.

use super::*;

const STEPS: [&str; 9] =
    ["lease", "half a blob", "blob", "layer begun", "layer filled", "layer", "documents", "image", "released"];

/// Kills this process if it is the step that the parent wants it to die at.
fn reach(step: &str) {
    if child::extra() == step {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).expect("a signal");
    }
}

#[test]
fn killed_at_any_step_the_store_is_whole() {
    for step in STEPS {
        let (dir, store) = store();
        let root = dir.path().join("root");
        put(&store, "other");
        let ended = child::command("crash::puts", &root, step).output().expect("a child");
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
        assert_eq!(signal, Some(9), "{step}: {}", String::from_utf8_lossy(&ended.stdout));
        assert_whole(&root);
        let names = store.list_images().expect("a list").len();
        assert_eq!(names, if matches!(step, "image" | "released") { 2 } else { 1 }, "{step}");
        // The next one needs no cleaning up, goes on where the first stopped, and garbage goes.
        child::succeed(child::command("crash::puts", &root, "nowhere"));
        assert_whole(&root);
        store.remove_image("new", Force::No).expect("removed");
        let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
        db.execute("UPDATE leases SET expires = 0", []).expect("time passes");
        assert_eq!(store.collect_garbage(Age::Any).expect("garbage").leftovers, Vec::<std::path::PathBuf>::new());
        assert_eq!(std::fs::read_dir(store.layout().layers()).expect("list").count(), 2, "{step}");
        assert_eq!(std::fs::read_dir(store.layout().ingests()).expect("list").count(), 0, "{step}");
        assert_whole(&root);
    }
}

#[test]
#[ignore = "a child of killed_at_any_step_the_store_is_whole"]
fn puts() {
    let store = child::store();
    let content = b"twelve bytes";
    let (blob, diff_id) = (Digest::of(content), Digest::of(b"diff"));
    let lease = store.lease([&blob, &diff_id]).expect("a lease");
    reach("lease");
    if let Some(mut ingest) = store.ingest(&blob, Wait::No).expect("a turn") {
        let offset = usize::try_from(ingest.offset()).expect("small");
        if offset == 0 {
            ingest.append(&content[..6]).expect("room");
            reach("half a blob");
        }
        ingest.append(&content[offset.max(6)..]).expect("room");
        ingest.commit().expect("the right bytes");
    }
    reach("blob");
    if let Some(ingest) = store.begin_layer(&diff_id, Wait::No).expect("a turn") {
        reach("layer begun");
        std::fs::write(ingest.diff().join("file"), "x").expect("a file");
        reach("layer filled");
        store.commit_layer(ingest, &LayerStats::default(), Settle::Now).expect("a layer");
    }
    reach("layer");
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let id = Digest::of(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"c","size":1,"digest":"{id}"}},"layers":[{{"mediaType":"l","size":12,"digest":"{blob}"}}]}}"#
    );
    let digest = Digest::of(manifest.as_bytes());
    store.put_blob(&id, config.as_bytes()).expect("a configuration");
    store.put_blob(&digest, manifest.as_bytes()).expect("a manifest");
    reach("documents");
    let new = NewImage::describe(&digest, manifest.as_bytes(), config.as_bytes()).expect("an image");
    store.put_image(&new, &tagged("new")).expect("an image");
    reach("image");
    store.release(lease).expect("an end");
    reach("released");
}
