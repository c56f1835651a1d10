//! Roots that are missing, foreign, read-only, damaged, or of a later version.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_store_is_made_for_us_alone() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    assert_eq!(mode(&root), 0o700);
    for directory in store.layout().directories() {
        assert_eq!(mode(&directory), 0o700, "{directory:?}");
    }
    let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
    let pragma =
        |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0));
    assert_eq!(pragma("journal_mode"), Ok("wal".to_owned().into()));
    assert_eq!(pragma("user_version"), Ok(1.into()));
    assert_eq!(
        store.db.read(|db| Ok(db.query_row("PRAGMA foreign_keys", [], |row| row.get::<_, i64>(0))?)).ok(),
        Some(1)
    );
}

#[test]
fn reading_makes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    let store = Store::open(&root, Access::Read).expect("an empty store");
    assert_eq!(store.list_images().expect("a list"), []);
    assert_eq!(store.list_containers().expect("a list"), []);
    assert!(!root.exists());
    assert!(matches!(store.lease([]), Err(StoreError::ReadOnly { .. })));
}

#[test]
fn a_root_that_others_may_enter_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("mkdir");
    set_mode(&root, 0o755);
    drop(Store::open(&root, Access::Write).expect("an empty directory is put right"));
    assert_eq!(mode(&root), 0o700);
    for wide in [0o701, 0o710, 0o770, 0o755, 0o704] {
        set_mode(&root, wide);
        for access in [Access::Read, Access::Write] {
            let error = Store::open(&root, access).expect_err("open to others");
            assert!(matches!(error, StoreError::WideRoot { mode, .. } if mode == wide), "{error}");
            assert_eq!(error.hint(), Some(format!("chmod 700 {}", root.display())));
        }
    }
}

#[test]
fn a_root_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // `/` belongs to root, and is nobody's store.
        let error = Store::open(std::path::Path::new("/"), Access::Write).expect_err("root's");
        assert!(matches!(error, StoreError::ForeignRoot { owner: 0, .. }), "{error}");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(dir.path(), Some(12345), None).expect("chown");
    let error = Store::open(dir.path(), Access::Write).expect_err("another user's");
    assert!(matches!(error, StoreError::ForeignRoot { owner: 12345, ours: 0, .. }), "{error}");
}

#[test]
fn a_file_is_no_root() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = Store::open(file.path(), Access::Write).expect_err("a file");
    assert_eq!(error.to_string(), format!("open the store {}", file.path().display()));
}

#[test]
fn a_later_schema_is_refused_by_its_number() {
    let (dir, store) = store();
    let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
    db.pragma_update(None, "user_version", 7).expect("a later version");
    drop((store, db));
    for access in [Access::Read, Access::Write] {
        let error = Store::open(&dir.path().join("root"), access).expect_err("too new");
        assert!(error.to_string().contains("has schema version 7; this pybox knows versions up to 1"), "{error}");
    }
}

#[test]
fn a_damaged_database_is_an_error_and_no_other_store() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    let path = store.layout().database();
    put(&store, "kept");
    drop(store);
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.path().join(format!("root/pybox.db{suffix}")));
    }
    let length = std::fs::metadata(&path).expect("the database").len();
    for (what, bytes) in [("text", vec![b'x'; 8192]), ("zeroes with a tail", [vec![0; 4096], vec![7; 4096]].concat())] {
        std::fs::write(&path, &bytes).expect("damage");
        let error = Store::open(&root, Access::Write).expect_err(what);
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("check --repair")));
        assert_eq!(std::fs::read(&path).expect("the database"), bytes, "{what}: left as it is, of {length} bytes");
    }
}

#[test]
fn a_lost_database_is_made_again_from_what_lies_beside_it() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    let image = put(&store, "kept");
    let mut kept = container(&image, "one");
    kept.request.image = "kept".to_owned();
    store.create_bundle(&kept.id).expect("a bundle").keep(&kept).expect("a copy");
    store.insert_container(&kept, Durability::Durable).expect("a row");
    let database = store.layout().database();
    drop(store);
    // Whoever looks first, and whatever has become of it.
    for (access, damage) in [
        (Access::Read, None),
        (Access::Write, None),
        (Access::Read, Some(vec![])),
        (Access::Write, Some(vec![9; 9000])),
    ] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(root.join(format!("pybox.db{suffix}")));
        }
        if let Some(bytes) = &damage {
            std::fs::write(&database, bytes).expect("damage");
        }
        if Store::damage(&root).expect("looked").is_some() {
            let aside = Store::make_new_database(&root).expect("made");
            assert_eq!(std::fs::read(aside).ok(), damage);
        }
        let store = Store::open(&root, access).expect("a store");
        assert_eq!(store.list_containers().expect("a list"), [kept.clone()]);
        assert_eq!(store.find_image("kept").expect("its name").id, image.id);
        assert_eq!(Store::damage(&root).expect("looked"), None);
        assert_whole(&root);
    }
    // One that was removed does not come back.
    let store = Store::open(&root, Access::Write).expect("a store");
    store.remove_container(&kept.id, Durability::Durable).expect("removed");
    assert!(!store.adopt(&kept.id).expect("looked"));
}

#[test]
fn a_store_whose_making_was_interrupted_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("mkdir");
    set_mode(&root, 0o700);
    std::fs::write(root.join("pybox.db"), "").expect("an empty database");
    assert_eq!(Store::open(&root, Access::Read).expect("nothing yet").list_images().expect("a list"), []);
    let store = Store::open(&root, Access::Write).expect("a store");
    put(&store, "x");
    assert_whole(&root);
}

#[test]
fn sixteen_processes_make_one_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| child::succeed(child::command("open::opens", &root, "")));
        }
    });
    assert_whole(&root);
}

#[test]
#[ignore = "a child of sixteen_processes_make_one_store"]
fn opens() {
    drop(child::store());
}

#[test]
fn a_read_only_root_is_read() {
    for close in ["with a log", "without a log"] {
        let (dir, store) = store();
        let root = dir.path().join("root");
        put(&store, "kept");
        if close == "without a log" {
            let db = rusqlite::Connection::open(store.layout().database()).expect("the database");
            drop(store);
            db.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("a checkpoint");
            drop(db);
            assert!(!root.join("pybox.db-shm").exists(), "the last one out removes it");
        } else {
            drop(store);
            assert!(root.join("pybox.db-wal").exists());
        }
        let script = "mount --bind $ROOT $ROOT; mount -o remount,bind,ro $ROOT";
        child::succeed(child::command_after(script, "open::reads_only", &root));
    }
}

#[test]
#[ignore = "a child of a_read_only_root_is_read"]
fn reads_only() {
    let root = child::root();
    assert!(std::fs::write(root.join("probe"), "").is_err(), "it is read-only");
    let store = Store::open(&root, Access::Read).expect("a store to read");
    let image = store.find_image("kept").expect("the image");
    assert_eq!(store.layer_dirs(&image).expect("its layers").len(), 2);
    assert_eq!(store.list_images().expect("a list").len(), 1);
    for error in [
        Store::open(&root, Access::Write)
            .and_then(|store| store.remove_image("kept", Force::No))
            .expect_err("read-only"),
        store.remove_image("kept", Force::No).expect_err("read-only"),
    ] {
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    }
}

/// Not a check but a figure, for `--run-ignored only -- --nocapture` on a quiet machine.
#[test]
#[ignore = "prints how long a store takes to open and to find an image"]
fn how_long_an_image_takes_to_find() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    (0..200).for_each(|n| drop(put(&store, &format!("i{n}"))));
    drop(store);
    let mut times: Vec<_> = (0..500)
        .map(|n| {
            let start = std::time::Instant::now();
            let store = Store::open(&root, Access::Write).expect("the store");
            let image = store.find_image(&format!("i{}", n % 200)).expect("the image");
            assert_eq!(store.layer_dirs(&image).expect("its layers").len(), 2);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("open, find, layers: median {:?}, fastest {:?}", times[250], times[0]);
}
