//! A file system without room: said, survived, and freed again.

use super::*;
use crate::store::error::Left;

#[test]
fn a_full_disk_is_said_and_removing_still_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = "mount -t tmpfs -o size=4m,mode=700 none $ROOT";
    child::succeed(child::command_after(script, "full_disk::fills", dir.path()));
}

#[test]
#[ignore = "a child of a_full_disk_is_said_and_removing_still_works"]
fn fills() {
    let store = child::store();
    let image = put(&store, "app");
    let error = store.check_space(100 << 20).expect_err("too much");
    assert!(
        matches!(error, StoreError::NoSpace { needed: Some(needed), left: Left::Bytes(_), .. } if needed == 100 << 20)
    );
    store.check_space(1 << 10).expect("a little");

    let digest = Digest::of(b"never complete");
    let mut ingest = store.ingest(&digest, Wait::No).expect("a turn").expect("not here");
    let error = loop {
        match ingest.append(&[7; 1 << 16]) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_no_space(), "{error:?}");
    assert!(error.to_string().starts_with("no space left: write "), "{error}");
    // Every last page of it.
    let filler = std::fs::File::create(child::root().join("filler")).expect("a file");
    while std::io::Write::write(&mut &filler, &[1; 512]).is_ok_and(|count| count > 0) {}

    let error = loop {
        // The log may have room for a few rows yet.
        if let Err(error) = store.insert_container(&container(&image, &rand_name()), Durability::Durable) {
            break error;
        }
    };
    assert!(error.is_no_space(), "{error:?}");
    let containers = store.list_containers().expect("reading needs no room");
    for container in containers {
        store.remove_container(&container.id, Durability::Durable).expect("removing works");
    }
    let removed = store.remove_image("app", Force::No).expect("removing works");
    assert_eq!(removed.deleted, Some(image.id));
    ingest.discard().expect("removing works");
    std::fs::remove_file(child::root().join("filler")).expect("removing works");
    store.collect_garbage(Age::Any).expect("garbage");
    assert!(store.layout().reserve().exists(), "there is a reserve again");
    put(&store, "app");
    assert_whole(&child::root());
}

#[test]
fn a_disk_without_inodes_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = "mount -t tmpfs -o size=64m,nr_inodes=200,mode=700 none $ROOT";
    child::succeed(child::command_after(script, "full_disk::takes_all_inodes", dir.path()));
}

#[test]
#[ignore = "a child of a_disk_without_inodes_is_said"]
fn takes_all_inodes() {
    let store = child::store();
    let mut count = 0;
    while std::fs::File::create(child::root().join(format!("filler-{count}"))).is_ok() {
        count += 1;
    }
    let error = store.ingest(&Digest::of(b"never begun"), Wait::No).map(drop).expect_err("no room for a file");
    assert!(matches!(error, StoreError::NoSpace { left: Left::NoInodes, .. }), "{error:?}");
    assert!(error.to_string().ends_with("(the disk has no inodes left for more files, see df -i)"), "{error}");
    assert!(error.hint().expect("a hint").contains("pybox system prune"), "{error:?}");
    for filler in 0..count {
        std::fs::remove_file(child::root().join(format!("filler-{filler}"))).expect("removing works");
    }
    put(&store, "app");
    assert_whole(&child::root());
}

fn rand_name() -> String {
    format!("c{}", super::super::atomic::random())
}
