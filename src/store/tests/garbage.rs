//! What garbage collection takes, and what it must leave.

use super::*;

fn old(path: &std::path::Path) {
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 60 * 60);
    std::fs::File::open(path).expect("it").set_modified(before).expect("a time");
}

#[test]
fn what_an_image_needs_stays() {
    let (dir, store) = store();
    let image = put(&store, "app");
    let index = Digest::of(b"index");
    store.put_blob(&index, b"index").expect("an index");
    let digests = vec![reference("app").with_digest(index.clone())];
    store.put_image(&image, &ImageNames { tags: vec![], digests }).expect("a name by digest");
    let collected = store.collect_garbage(Age::Any).expect("nothing to do");
    assert_eq!((collected.blobs, collected.layers, collected.leftovers), (0, 0, vec![]));
    assert!(store.has_blob(&index));
    assert_whole(&dir.path().join("root"));
}

#[test]
fn what_nothing_needs_goes_when_it_is_old_or_when_forced() {
    let (_dir, store) = store();
    put(&store, "kept");
    let lost = prepare(&store, &["base", "lost"], "lost");
    let count = || std::fs::read_dir(store.layout().blobs(lost.id.algorithm())).expect("list").count();
    assert_eq!(count(), 7);
    assert_eq!(store.collect_garbage(Age::Hour).expect("all is young").blobs, 0);
    old(&store.layout().blob(&lost.manifest));
    old(&store.layout().layer(&lost.layers[1].diff_id));
    let collected = store.collect_garbage(Age::Hour).expect("two are old");
    assert_eq!((collected.blobs, collected.layers), (1, 1));
    let collected = store.collect_garbage(Age::Any).expect("the rest");
    assert_eq!((collected.blobs, collected.layers, collected.leftovers), (2, 0, vec![]));
    assert_eq!(count(), 4);
    assert_eq!(std::fs::read_dir(store.layout().trash()).expect("list").count(), 0);
}

#[test]
fn a_lease_keeps_what_a_pull_needs() {
    let (_dir, store) = store();
    let image = prepare(&store, &["one", "two"], "x");
    let lease = store.lease([&image.id, &image.layers[0].blob]).expect("a lease");
    let more = [&image.manifest, &image.layers[0].diff_id, &image.layers[1].diff_id, &image.layers[1].blob];
    store.extend_lease(&lease, more).expect("more");
    let collected = store.collect_garbage(Age::Any).expect("nothing to do");
    assert_eq!((collected.blobs, collected.layers), (0, 0));
    store.put_image(&image, &tagged("x")).expect("an image");
    store.release(lease).expect("an end");
    assert_eq!(store.collect_garbage(Age::Any).expect("nothing to do").blobs, 0);

    let other = prepare(&store, &["three"], "y");
    let lease = store.lease([&other.id]).expect("a lease");
    let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
    db.execute("UPDATE leases SET boot = 'another'", []).expect("another boot");
    let collected = store.collect_garbage(Age::Any).expect("all of it");
    assert_eq!((collected.blobs, collected.layers), (3, 1));
    store.release(lease).expect("gone already");
}

#[test]
fn what_killed_processes_left_goes() {
    let (_dir, store) = store();
    let image = put(&store, "app");
    let layer = Digest::of(b"layer");
    let held = store.begin_layer(&Digest::of(b"held"), Wait::No).expect("a turn").expect("not here");
    std::mem::drop(store.begin_layer(&layer, Wait::No).expect("a turn"));
    let blob = Digest::of(b"blob");
    let mut ingest = store.ingest(&blob, Wait::No).expect("a turn").expect("not here");
    ingest.append(b"bl").expect("room");
    drop(ingest);
    let [with_row, young, orphan] = ["a", "b", "c"].map(|name| container(&image, name));
    store.insert_container(&with_row, Durability::Durable).expect("a row");
    for container in [&with_row, &young, &orphan] {
        store.create_bundle(&container.id).expect("a bundle");
    }
    old(&store.layout().container(&with_row.id));
    old(&store.layout().container(&orphan.id));
    std::fs::write(store.layout().trash().join("left"), "").expect("trash");

    let collected = store.collect_garbage(Age::Hour).expect("garbage");
    assert_eq!(collected.leftovers, Vec::<std::path::PathBuf>::new());
    assert!(held.diff().exists(), "somebody unpacks it");
    assert!(store.layout().ingest(&blob).exists(), "somebody may go on");
    assert!(store.layout().container(&with_row.id).exists() && store.layout().container(&young.id).exists());
    assert!(!store.layout().container(&orphan.id).exists());
    let left: Vec<_> =
        std::fs::read_dir(store.layout().layers()).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "two of the image, one held: {left:?}");
    store.collect_garbage(Age::Any).expect("more");
    assert!(!store.layout().ingest(&blob).exists());
    assert_eq!(std::fs::read_dir(store.layout().trash()).expect("list").count(), 0);
}

#[test]
fn collecting_never_breaks_those_who_put() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (root, done) = (&root, &done);
        scope.spawn(move || {
            let store = Store::open(root, Access::Write).expect("the store");
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.collect_garbage(Age::Any).expect("a collection");
            }
        });
        let putters: Vec<_> = (0..4)
            .map(|putter| {
                scope.spawn(move || {
                    let store = Store::open(root, Access::Write).expect("the store");
                    for n in 0..15 {
                        put_leased(&store, &format!("p{putter}-{n}"));
                        if n % 3 == 0 {
                            store.remove_image(&format!("p{putter}-{n}"), Force::No).expect("removed");
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = putters.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert_eq!(store.list_images().expect("a list").len(), 40);
    assert_whole(&root);
}

/// As a pull does: a lease first, then what is missing. The shared layer may be
/// unpacked by another at the same time.
fn put_leased(store: &Store, name: &str) {
    let layers =
        ["base", name].map(|layer| (Digest::of(layer.as_bytes()), Digest::of(format!("unpacked {layer}").as_bytes())));
    let lease = store.lease(layers.iter().flat_map(|(blob, diff_id)| [blob, diff_id])).expect("a lease");
    let image = loop {
        // Documents are not under the lease before they are written: that is what makes the collector's race.
        let image = prepare(store, &["base", name], name);
        store.extend_lease(&lease, [&image.id, &image.manifest]).expect("a lease");
        match store.put_image(&image, &tagged(name)) {
            Ok(_) => break image,
            Err(StoreError::MissingBlob(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    store.release(lease).expect("an end");
    assert_eq!(store.find_image(name).expect("it").id, image.id);
}
